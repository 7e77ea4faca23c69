use roadstead_events::OpenError;
use roadstead_runtime::DirectoryError;
use rusqlite::Connection;

use crate::harness::{Harness, PULL, event};

#[tokio::test]
async fn a_second_process_is_refused() {
    let harness = Harness::start().await;
    assert!(matches!(
        harness.build().await,
        Err(OpenError::Directory(DirectoryError::InUse(_)))
    ));
}

#[tokio::test]
async fn a_log_of_a_newer_program_is_refused_unless_it_is_compatible() {
    let mut harness = Harness::start().await;
    harness
        .publish(vec![event("kept", PULL, "acme/web")])
        .await
        .unwrap();
    harness.stop().await;
    let newer = |version: i64, min_compatible: i64| {
        let log = Connection::open(harness.database()).unwrap();
        log.execute(
            "INSERT INTO schema_migrations (version, name, min_compatible, release, applied_at)
             VALUES (?1, 'later', ?2, '9.9.9', 0)",
            [version, min_compatible],
        )
        .unwrap();
    };
    newer(98, 1);
    let opened = harness.reopen().await.unwrap();
    drop(opened.server);
    opened.tasks.stop(crate::harness::DEADLINE).await;
    newer(99, 99);
    let Err(refused) = harness.reopen().await else {
        panic!("the log was opened")
    };
    assert!(
        matches!(&refused, OpenError::SchemaTooNew { needed: 99, written_by, .. } if written_by == "9.9.9")
    );
    assert!(refused.to_string().contains("9.9.9"), "{refused}");
}
