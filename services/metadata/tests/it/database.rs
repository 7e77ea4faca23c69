use roadstead_metadata::{BuildError, RepositoryConfig};
use roadstead_runtime::{DirectoryError, Validate as _};
use roadstead_sqlite::OpenError;
use rusqlite::Connection;

use crate::harness::*;

#[tokio::test]
async fn what_was_answered_is_there_after_the_process_died() {
    let rig = Rig::start().await;
    let digest = rig.push_image("acme/web", "v1", "a").await;
    // What a crash leaves: the files as they are between two commits, with the log not merged.
    let (files, copy) = (rig.database(), roadstead_testkit::test_dir());
    std::fs::create_dir(copy.path().join("metadata")).unwrap();
    for suffix in ["", "-wal"] {
        let name = format!("metadata/metadata.db{suffix}");
        std::fs::copy(
            files.with_file_name(format!("metadata.db{suffix}")),
            copy.path().join(name),
        )
        .unwrap();
    }
    let crashed = Connection::open(copy.path().join("metadata/metadata.db")).unwrap();
    let tags: i64 = crashed
        .query_row("SELECT count(*) FROM tags", [], |row| row.get(0))
        .unwrap();
    let events: i64 = crashed
        .query_row("SELECT count(*) FROM outbox", [], |row| row.get(0))
        .unwrap();
    assert_eq!((tags, events), (1, 3));

    let rig = rig.reopen(|_| ()).await.unwrap();
    assert_eq!(rig.get("acme/web", "v1").await.unwrap().digest, digest);
    assert_eq!(rig.history("acme/web", "v1").await.len(), 1);
    assert_eq!(rig.drain().await.len(), 3);
}

#[tokio::test]
async fn one_process_has_the_directory() {
    let rig = Rig::start().await;
    assert!(matches!(
        rig.build_another().await,
        Err(BuildError::Database(OpenError::Directory(DirectoryError::InUse(
            _
        ))))
    ));
}

fn record_migration(rig: &Rig, min_compatible: u32) {
    let database = Connection::open(rig.database()).unwrap();
    database
        .execute(
            "INSERT INTO schema_migrations (version, name, min_compatible, release, applied_at)
             VALUES (99, 'future', ?1, '7.8.9', 0)",
            [min_compatible],
        )
        .unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_refused_with_the_version_it_needs() {
    let rig = Rig::start().await;
    let Err(error) = rig.reopen(|rig| record_migration(rig, 98)).await else {
        panic!("it was opened")
    };
    assert!(
        matches!(
            error,
            BuildError::Database(OpenError::SchemaTooNew {
                found: 99,
                needed: 98,
                ..
            })
        ),
        "{error}"
    );
    let text = error.to_string();
    assert!(text.contains("98") && text.contains("7.8.9"), "{text}");
}

#[tokio::test]
async fn a_newer_schema_that_is_compatible_is_served() {
    let rig = Rig::start().await;
    let digest = rig.push_image("acme/web", "v1", "a").await;
    let rig = rig.reopen(|rig| record_migration(rig, 1)).await.unwrap();
    assert_eq!(rig.get("acme/web", "v1").await.unwrap().digest, digest);
}

#[tokio::test]
async fn of_writes_that_share_a_commit_only_the_failed_are_rolled_back() {
    let rig = std::sync::Arc::new(Rig::start().await);
    let mut pushes = tokio::task::JoinSet::new();
    for number in 0..40 {
        let rig = rig.clone();
        pushes.spawn(async move {
            if number % 2 == 0 {
                rig.put("acme/web", &format!("t{number}"), &index(&[]))
                    .await
                    .is_ok()
            } else {
                let missing = roadstead_types::Digest::sha256(&[number]).to_string();
                rig.put("acme/web", &format!("t{number}"), &index(&[&missing]))
                    .await
                    .is_ok()
            }
        });
    }
    let accepted = pushes
        .join_all()
        .await
        .into_iter()
        .filter(|accepted| *accepted)
        .count();
    assert_eq!(accepted, 20);
    assert_eq!(rig.drain().await.len(), 20);
}

#[test]
fn bad_configuration_is_told_all_at_once() {
    let mut bad = config();
    bad.repositories.push(bad.repositories[0].clone());
    bad.repositories.push(RepositoryConfig {
        prefix: "Bad".to_owned(),
        manifest_validation: None,
    });
    bad.max_tags_per_push = 9;
    bad.manifest_size_limit = usize::MAX;
    bad.object_delete_delay = bad.locator_ttl / 2;
    let mut problems = Vec::new();
    bad.validate(&mut problems);
    assert_eq!(problems.len(), 5, "{problems:?}");
    let mut problems = Vec::new();
    config().validate(&mut problems);
    assert!(problems.is_empty(), "{problems:?}");
}
