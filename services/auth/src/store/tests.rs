use roadstead_testkit::test_dir;
use rusqlite::Connection;

use super::*;

fn open(directory: &Path) -> Store {
    Store::open(directory, Clock::system()).unwrap()
}

/// What is asked for must cost the same however many identities and bindings there are.
#[test]
fn statements_search_indexes() {
    let directory = test_dir();
    drop(open(directory.path()));
    let database = Connection::open(directory.path().join("auth.db")).unwrap();
    for statement in [
        bindings::AT,
        bindings::HERE,
        bindings::OF,
        bindings::WITHIN,
        bindings::WITHIN_OF,
        bindings::CONDITIONS_OF,
        groups::BY_PATH,
        groups::WITHIN,
        identities::BY_ID,
        identities::BY_NAME,
        identities::BY_SUBJECT,
        identities::OF_ISSUER,
        identities::OF_ISSUERS,
        identities::WITH_KEYS,
        identities::WITHIN,
        identities::BY_AUDIENCE,
        identities::BY_AUDIENCE_OF_ISSUERS,
        policies::AT,
        policies::WITHIN,
        roles::BY_NAME,
        roles::WITHIN,
    ] {
        let mut plan = database
            .prepare(&format!("EXPLAIN QUERY PLAN {statement}"))
            .unwrap();
        for parameter in 1..=plan.parameter_count() {
            plan.raw_bind_parameter(parameter, "x").unwrap();
        }
        let mut rows = plan.raw_query();
        let mut searches = 0;
        while let Some(row) = rows.next().unwrap() {
            let step: String = row.get("detail").unwrap();
            // The rows of an inner statement that searched.
            let scans = step.starts_with("SCAN") && !step.contains("subquery");
            assert!(
                !scans && !step.ends_with("B-TREE FOR ORDER BY"),
                "{step} in {statement}"
            );
            searches += usize::from(step.starts_with("SEARCH"));
        }
        assert!(searches > 0, "{statement}");
    }
}

#[expect(
    clippy::redundant_closure_for_method_calls,
    reason = "the method is that of a snapshot of one lifetime"
)]
async fn revision(store: &Store) -> u64 {
    let read = store.snapshot("revision", |snapshot| snapshot.revision());
    read.await.unwrap()
}

#[tokio::test]
async fn the_revision_rises_once_in_a_transaction_that_changes_and_is_told_when_it_is_kept() {
    let directory = test_dir();
    let store = open(directory.path());
    let told = store.revisions();
    let before = revision(&store).await;
    let twice = store
        .write("twice", |tx| Ok((tx.change()?, tx.change()?)))
        .await
        .unwrap();
    assert_eq!(twice, (before + 1, before + 1));
    assert_eq!(*told.borrow(), before + 1);
    let lost: Result<()> = store
        .write("lost", |tx| {
            tx.change()?;
            Err(Error::PageTokenInvalid)
        })
        .await;
    lost.unwrap_err();
    store.write("nothing", |_| Ok(())).await.unwrap();
    assert_eq!((revision(&store).await, *told.borrow()), (before + 1, before + 1));
}

#[test]
fn what_is_below_a_path_begins_with_it_and_a_slash() {
    for (path, name, is_below) in [
        ("acme", "acme/web", true),
        ("acme", "acme", false),
        ("acme", "acme-two", false),
        ("acme", "acme0", false),
        ("acme", "acme.web", false),
        ("", "zz", true),
    ] {
        let (first, end) = below(path);
        let found = name >= first.as_str() && name < end.as_str();
        assert_eq!(found, is_below, "{name} below {path}");
    }
}
