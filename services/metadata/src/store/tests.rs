use roadstead_testkit::test_dir;
use rusqlite::Row;

use super::*;

/// What a pull asks for must cost the same however much is stored.
#[test]
fn point_reads_only_search_indexes() {
    let directory = test_dir();
    drop(open(directory.path()));
    let database = Connection::open(directory.path().join("metadata.db")).unwrap();
    for statement in [
        manifests::sql::HEAD_BY_TAG,
        manifests::sql::GET_BY_TAG,
        manifests::sql::HEAD_BY_DIGEST,
        manifests::sql::GET_BY_DIGEST,
        blobs::RESOLVE,
        grants::IS_LIVE,
        uploads::FIND,
    ] {
        let mut plan = database
            .prepare(&format!("EXPLAIN QUERY PLAN {statement}"))
            .unwrap();
        for parameter in 1..=plan.parameter_count() {
            plan.raw_bind_parameter(parameter, "x").unwrap();
        }
        let mut rows = plan.raw_query();
        let mut steps = 0;
        while let Some(row) = rows.next().unwrap() {
            let step = detail(row);
            assert!(!step.starts_with("SCAN"), "{step} in {statement}");
            steps += usize::from(step.starts_with("SEARCH"));
        }
        assert!(steps > 0, "{statement}");
    }
}

fn open(directory: &Path) -> Store {
    Store::open(directory, &Config::default(), Clock::system()).unwrap()
}

fn insert(tx: &Tx<'_>, key: &str, bytes: usize) -> Result<()> {
    deletions::queue(tx, &format!("{key}{}", "x".repeat(bytes)), 0)
}

async fn queued(store: &Store) -> i64 {
    let count = "SELECT count(*) FROM object_deletions";
    store
        .read("count", |connection| {
            Ok(connection.query_row(count, [], |row| row.get(0))?)
        })
        .await
        .unwrap()
}

#[tokio::test]
async fn a_request_that_panics_takes_nothing_with_it() {
    let directory = test_dir();
    let store = open(directory.path());
    let panicking = store.write("panic", |tx| -> Result<()> {
        insert(tx, "lost", 0)?;
        panic!("on purpose")
    });
    let (panicked, kept) = tokio::join!(panicking, store.write("keep", |tx| insert(tx, "kept", 0)));
    assert!(matches!(panicked, Err(Error::Internal(_))));
    kept.unwrap();
    assert_eq!(queued(&store).await, 1);
}

#[tokio::test]
async fn a_full_disk_is_said_and_passes() {
    let directory = test_dir();
    let store = open(directory.path());
    let limit = |pages: u32| {
        store.write("limit", move |tx| {
            tx.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
            Ok(())
        })
    };
    limit(1).await.unwrap();
    let full = store
        .write("large", |tx| insert(tx, "large", 1_000_000))
        .await
        .unwrap_err();
    assert_eq!(
        roadstead_rpc::reason(&full.into()),
        roadstead_rpc::ErrorReason::StorageFull
    );
    assert_eq!(queued(&store).await, 0);
    limit(1_000_000).await.unwrap();
    store
        .write("large", |tx| insert(tx, "large", 1_000_000))
        .await
        .unwrap();
    assert_eq!(queued(&store).await, 1);
}

#[tokio::test]
async fn more_listings_than_connections_wait_for_each_other() {
    let directory = test_dir();
    let store = open(directory.path());
    let scans = (0..64).map(|_| {
        store.scan("scan", |connection| {
            Ok(connection.query_row("SELECT count(*) FROM tags", [], |row| row.get::<_, i64>(0))?)
        })
    });
    for scan in scans.collect::<Vec<_>>() {
        assert_eq!(scan.await.unwrap(), 0);
    }
    let panicked = store
        .scan("panic", |_| -> Result<()> { panic!("on purpose") })
        .await;
    assert!(matches!(panicked, Err(Error::Internal(_))));
    for _ in 0..64 {
        store.scan("after", |_| Ok(())).await.unwrap();
    }
}

fn detail(row: &Row<'_>) -> String {
    row.get("detail").unwrap()
}
