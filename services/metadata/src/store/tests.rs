use roadstead_testkit::test_dir;
use rusqlite::{Row, StatementStatus};

use super::*;
use crate::domain::intervals::Interval;

/// What is asked for must cost the same however much else is stored.
#[test]
fn statements_search_indexes_and_sort_nothing() {
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
        uploads::CLAIM_ABANDONED,
        uploads::FORGET_FINISHED,
        grants::FORGET,
        deletions::CLAIM,
        repositories::PAGE,
        tags::PAGE,
        tags::HISTORY,
        tags::NEXT_VERSION,
        tags::OF_MANIFEST,
        referrers::PAGE,
        referrers::PAGE_OF_TYPE,
        mounts::SOURCES,
        manifests::PARENTS,
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
            let slow = step.starts_with("SCAN") || step.ends_with("FOR ORDER BY");
            assert!(!slow, "{step} in {statement}");
            steps += usize::from(step.starts_with("SEARCH"));
        }
        assert!(steps > 0, "{statement}");
    }
}

/// Compiling a statement costs more than running it.
#[tokio::test]
async fn a_statement_is_compiled_once_whatever_is_bound() {
    let directory = test_dir();
    let store = open(directory.path());
    let compiled_again = store
        .read("get", |database| {
            for tag in ["a", "b", "c"] {
                let mut statement = database.prepare_cached(manifests::sql::GET_BY_TAG)?;
                assert!(!statement.exists(["r", tag])?);
            }
            let statement = database.prepare_cached(manifests::sql::GET_BY_TAG)?;
            Ok(statement.get_status(StatementStatus::RePrepare))
        })
        .await
        .unwrap();
    assert_eq!(compiled_again, 0);
}

/// A page of the catalog must not cost what lies before it, for a caller who may read little of it.
#[tokio::test]
async fn a_page_of_names_reads_no_other_names() {
    let directory = test_dir();
    let store = open(directory.path());
    let fill = "WITH RECURSIVE number (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n < 9999)
        INSERT INTO repositories SELECT NULL, n, printf('r/%05d', n), 0 FROM number";
    store
        .write("fill", |tx| Ok(tx.execute(fill, []).map(|_| ())?))
        .await
        .unwrap();
    let database = Connection::open(directory.path().join("metadata.db")).unwrap();
    let interval = |start: &str, end: &str| Interval {
        start: start.to_owned(),
        end: end.to_owned(),
    };
    for (last, start) in [
        ("", "r/09990"),
        ("r/09995", ""),
        ("r/09995", "r/09990"),
        ("r/00001", "r/09990"),
    ] {
        let intervals = [interval(start, "r/09999")];
        let (names, more) = repositories::page(&database, &intervals, last, 2).unwrap();
        let first = if last > start { "r/09996" } else { "r/09990" };
        assert_eq!((names[0].as_str(), names.len(), more), (first, 2, true));
        let statement = database.prepare_cached(repositories::PAGE).unwrap();
        let steps = statement.reset_status(StatementStatus::VmStep);
        assert!(steps < 200, "{steps} steps after {last:?} from {start:?}");
    }
}

#[tokio::test]
async fn a_claim_fits_a_message_and_leaves_the_rest() {
    let directory = test_dir();
    let store = open(directory.path());
    let large = "INSERT INTO outbox (id, event, created_at, leased_until, attempts)
        VALUES (?1, zeroblob(3 * 1024 * 1024), 0, 0, 0)";
    for id in ["a", "b", "c"] {
        store
            .write("large", move |tx| Ok(tx.execute(large, [id]).map(|_| ())?))
            .await
            .unwrap();
    }
    for expected in ["a", "b", "c"] {
        let claimed = store.claim_events(10).await.unwrap();
        let ids: Vec<_> = claimed.into_iter().map(|event| event.id).collect();
        assert_eq!(ids, [expected]);
    }
}

#[tokio::test]
async fn a_lease_from_before_the_clock_was_set_back_does_not_last() {
    let directory = test_dir();
    let (clock, time) = Clock::fixed(std::time::UNIX_EPOCH + Duration::from_hours(500_000));
    let store = Store::open(directory.path(), &Config::default(), clock).unwrap();
    let one = "INSERT INTO outbox (id, event, created_at, leased_until, attempts) VALUES ('a', x'', 0, 0, 0)";
    store
        .write("one", |tx| Ok(tx.execute(one, []).map(|_| ())?))
        .await
        .unwrap();
    assert_eq!(store.claim_events(10).await.unwrap().len(), 1);
    assert_eq!(store.claim_events(10).await.unwrap().len(), 0);
    time.set(std::time::UNIX_EPOCH + Duration::from_hours(400_000));
    assert_eq!(store.claim_events(10).await.unwrap().len(), 1);
}

fn open(directory: &Path) -> Store {
    Store::open(directory, &Config::default(), Clock::system()).unwrap()
}

fn detail(row: &Row<'_>) -> String {
    row.get("detail").unwrap()
}
