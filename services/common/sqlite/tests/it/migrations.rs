use roadstead_runtime::DirectoryError;
use roadstead_sqlite::{Migration, OpenError, Options};
use rusqlite::Connection;

use crate::support::{Error, FIRST, OPTIONS, count, insert, open, open_with};

const SECOND: Migration = Migration {
    version: 2,
    name: "colours",
    min_compatible: 1,
    sql: "ALTER TABLE things ADD COLUMN colour TEXT",
};

#[tokio::test]
async fn what_is_missing_is_applied_once() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path());
    let kept: Result<(), Error> = database.write("keep", |tx| insert(tx, "kept", 0)).await;
    kept.unwrap();
    drop(database);
    let both = Options {
        migrations: &[FIRST, SECOND],
        ..OPTIONS
    };
    for _ in 0..2 {
        let database = open_with(directory.path(), both).unwrap();
        assert_eq!(count(&database).await, 1);
        drop(database);
        let beside = Connection::open(directory.path().join("test.db")).unwrap();
        let applied: Vec<u32> = beside
            .prepare("SELECT version FROM schema_migrations ORDER BY version")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        assert_eq!(applied, [1, 2]);
    }
    // The release before it still works with the result.
    assert_eq!(count(&open(directory.path())).await, 1);
}

#[tokio::test]
async fn a_schema_that_needs_a_newer_program_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let breaking = Migration {
        min_compatible: 2,
        ..SECOND
    };
    let options = Options {
        migrations: Box::leak(Box::new([FIRST, breaking])),
        ..OPTIONS
    };
    drop(open_with(directory.path(), options).unwrap());
    let refused = open_with(directory.path(), OPTIONS).unwrap_err();
    assert!(
        matches!(
            refused,
            OpenError::SchemaTooNew {
                found: 2,
                needed: 2,
                known: 1,
                ..
            }
        ),
        "{refused}"
    );
}

#[tokio::test]
async fn bookkeeping_of_an_older_release_is_taken_over_once() {
    let directory = tempfile::tempdir().unwrap();
    let beside = Connection::open(directory.path().join("test.db")).unwrap();
    beside.execute_batch(FIRST.sql).unwrap();
    beside
        .execute_batch("CREATE TABLE account (release TEXT); INSERT INTO account VALUES ('0.0.1')")
        .unwrap();
    drop(beside);
    let options = Options {
        migrations: &[FIRST, SECOND],
        take_over: Some(|connection| {
            connection
                .execute_batch("INSERT INTO schema_migrations SELECT 1, 'things', 1, release, 0 FROM account")
        }),
        ..OPTIONS
    };
    for _ in 0..2 {
        assert_eq!(count(&open_with(directory.path(), options).unwrap()).await, 0);
    }
    let beside = Connection::open(directory.path().join("test.db")).unwrap();
    let releases = "SELECT group_concat(release) FROM schema_migrations WHERE version = 1";
    let taken: String = beside.query_row(releases, [], |row| row.get(0)).unwrap();
    assert_eq!(taken, "0.0.1");
}

#[tokio::test]
async fn one_process_has_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(directory.path());
    assert!(matches!(
        open_with(directory.path(), OPTIONS),
        Err(OpenError::Directory(DirectoryError::InUse(_)))
    ));
    drop(first);
    open(directory.path());
}

#[test]
fn migrations_are_numbered_without_gaps() {
    assert!(Migration::are_in_order(&[FIRST, SECOND]));
    assert!(!Migration::are_in_order(&[SECOND]));
    assert!(!Migration::are_in_order(&[SECOND, FIRST]));
    let impossible = Migration {
        min_compatible: 3,
        ..SECOND
    };
    assert!(!Migration::are_in_order(&[FIRST, impossible]));
}
