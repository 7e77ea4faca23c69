use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc,
    },
    thread,
};

use roadstead_sqlite::{Failure, Tx};
use rusqlite::Connection;

use crate::support::{Error, count, insert, open};

/// What of the log is merged at once; a size that the crate promises.
const LOG_LIMIT: u64 = 64 * 1024 * 1024;

#[tokio::test]
async fn one_that_fails_takes_no_other_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path());
    // Held up, so that those behind it share a commit.
    let (go, wait) = mpsc::channel::<()>();
    let first = database.write("wait", move |tx| {
        wait.recv().unwrap();
        insert(tx, "first", 0)
    });
    let refused = database.write("refuse", |tx| -> Result<(), Error> {
        insert(tx, "lost", 0)?;
        Err(Error::Refused)
    });
    let panicked = database.write("panic", |tx| -> Result<(), Error> {
        insert(tx, "lost too", 0)?;
        panic!("on purpose")
    });
    let last = database.write("keep", |tx| insert(tx, "last", 0));
    let release = async { go.send(()).unwrap() };
    let (first, refused, panicked, last, ()) = tokio::join!(first, refused, panicked, last, release);
    first.unwrap();
    last.unwrap();
    assert!(matches!(refused, Err(Error::Refused)));
    assert!(matches!(panicked, Err(Error::Failure(Failure::Internal(_)))));
    assert_eq!(count(&database).await, 2);
}

#[tokio::test]
async fn a_full_disk_is_said_and_passes() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path());
    let limit = |pages: u32| {
        database.write("limit", move |tx| -> Result<(), Error> {
            tx.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
            Ok(())
        })
    };
    limit(1).await.unwrap();
    let large = || database.write("large", |tx| insert(tx, "large", 1_000_000));
    let Err(Error::Failure(failure)) = large().await else {
        panic!("there was room")
    };
    assert_eq!(failure.classify().1, roadstead_rpc::ErrorReason::StorageFull);
    assert_eq!(count(&database).await, 0);
    limit(1_000_000).await.unwrap();
    large().await.unwrap();
    assert_eq!(count(&database).await, 1);
}

#[tokio::test]
async fn what_follows_a_commit_follows_no_other_outcome() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path());
    let told = Arc::new(AtomicU32::new(0));
    let tell = |tx: &Tx<'_>, told: &Arc<AtomicU32>| {
        let told = told.clone();
        tx.after_commit(move || {
            told.fetch_add(1, Ordering::Relaxed);
        });
    };
    let to = told.clone();
    let kept: Result<(), Error> = database
        .write("keep", move |tx| {
            tell(tx, &to);
            insert(tx, "kept", 0)
        })
        .await;
    kept.unwrap();
    assert_eq!(told.load(Ordering::Relaxed), 1);
    let to = told.clone();
    let refused: Result<(), Error> = database
        .write("refuse", move |tx| {
            tell(tx, &to);
            Err(Error::Refused)
        })
        .await;
    refused.unwrap_err();
    assert_eq!(told.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_follows_a_commit_does_not_wait_for_its_caller() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path());
    let (tell, told) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let mut write = Box::pin(database.write("gone", move |tx| -> Result<(), Error> {
        tx.after_commit(move || tell.send(()).unwrap());
        wait.recv().unwrap();
        insert(tx, "kept", 0)
    }));
    // Queued at the first poll; then its caller goes away.
    assert!(futures::poll!(&mut write).is_pending());
    drop(write);
    go.send(()).unwrap();
    tokio::task::spawn_blocking(move || told.recv().unwrap())
        .await
        .unwrap();
    assert_eq!(count(&database).await, 1);
}

#[tokio::test]
async fn a_snapshot_is_of_one_moment_and_ends_with_its_work() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path());
    let other = open_beside(directory.path());
    let rows = |connection: &Connection| -> Result<i64, Error> {
        Ok(connection.query_row("SELECT count(*) FROM things", [], |row| row.get(0))?)
    };
    let seen: Result<(i64, i64), Error> = database
        .snapshot("twice", |connection| {
            let before = rows(connection)?;
            other
                .execute("INSERT INTO things VALUES ('between', x'')", [])
                .unwrap();
            Ok((before, rows(connection)?))
        })
        .await;
    assert_eq!(seen.unwrap(), (0, 0));
    let failed: Result<(), Error> = database.snapshot("fail", |_| Err(Error::Refused)).await;
    failed.unwrap_err();
    for _ in 0..4 {
        let seen: Result<i64, Error> = database.snapshot("again", rows).await;
        assert_eq!(seen.unwrap(), 1);
    }
}

fn open_beside(directory: &std::path::Path) -> Connection {
    Connection::open(directory.join("test.db")).unwrap()
}

#[tokio::test]
async fn more_reads_than_connections_wait_for_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path());
    let scan = || {
        database.scan("scan", |connection| -> Result<i64, Error> {
            Ok(connection.query_row("SELECT count(*) FROM things", [], |row| row.get(0))?)
        })
    };
    for scanned in futures::future::join_all((0..64).map(|_| scan())).await {
        assert_eq!(scanned.unwrap(), 0);
    }
    let panicked: Result<(), Error> = database.scan("panic", |_| panic!("on purpose")).await;
    assert!(matches!(panicked, Err(Error::Failure(Failure::Internal(_)))));
    for scanned in futures::future::join_all((0..64).map(|_| scan())).await {
        scanned.unwrap();
    }
}

/// Readers that overlap without end keep the log from being begun anew by itself.
#[tokio::test]
async fn the_log_stays_bounded_under_constant_reading() {
    const ROW: u32 = 1024 * 1024;
    let directory = tempfile::tempdir().unwrap();
    let database = open(directory.path());
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (connection, stop) = (open_beside(directory.path()), stop.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let snapshot = connection.unchecked_transaction().unwrap();
                    let some = "SELECT sum(length(content)) FROM (SELECT content FROM things LIMIT 2)";
                    snapshot
                        .query_row(some, [], |row| row.get::<_, Option<i64>>(0))
                        .unwrap();
                }
            })
        })
        .collect();
    let mut longest = 0;
    for number in 0..3 * LOG_LIMIT / u64::from(ROW) {
        database
            .write("large", move |tx| insert(tx, &number.to_string(), ROW))
            .await
            .unwrap();
        let log = std::fs::metadata(directory.path().join("test.db-wal")).unwrap();
        longest = longest.max(log.len());
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().unwrap();
    }
    assert!(longest > LOG_LIMIT / 2, "{longest}: nothing was put to the test");
    assert!(longest < 2 * LOG_LIMIT, "{longest}");
}
