use std::time::UNIX_EPOCH;

use roadstead_testkit::test_dir;
use roadstead_types::RepositoryPrefix;

use super::*;
use crate::{
    domain::{Identity, Rule},
    store::Tx,
};

const NOW: i64 = 1_800_000_000_000;

fn put(tx: &Tx<'_>, id: &str, expires_at: i64, revoked: bool) -> Result<(), Error> {
    tx.insert_identity(&Identity {
        id: id.to_owned(),
        group: RepositoryPrefix::EVERYTHING,
        name: None,
        description: String::new(),
        rule: Rule::PullToken,
        created_at: 0,
        created_by: String::new(),
        expires_at: Some(expires_at),
        last_used_at: None,
    })?;
    tx.insert_pull_token(id, id, &[0; 32], &[])?;
    if revoked {
        tx.end_pull_token(id)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_pull_token_is_forgotten_ninety_days_after_its_end() {
    let directory = test_dir();
    let start = UNIX_EPOCH + Duration::from_millis(NOW.unsigned_abs());
    let (clock, _time) = Clock::fixed(start);
    let upkeep = Upkeep {
        store: Store::open(directory.path(), clock.clone()).unwrap(),
        uses: Arc::default(),
        refusals: Arc::default(),
        clock,
        revocations_limit: 1,
    };
    let day = 24 * 3600 * 1000;
    upkeep
        .store
        .write("put", move |tx| {
            put(tx, "ptk_expired", NOW, false)?;
            put(tx, "ptk_revoked", NOW + 300 * day, true)?;
            put(tx, "ptk_good", NOW + 300 * day, false)
        })
        .await
        .unwrap();
    let left_at = async |then| {
        upkeep.forget_pull_tokens(then).await.unwrap();
        let left = upkeep
            .store
            .scan("left", |snapshot| snapshot.pull_tokens_within("", true, "", 10));
        let ids = left.await.unwrap().into_iter().map(|row| row.id);
        ids.collect::<Vec<_>>()
    };
    assert_eq!(left_at(NOW + 90 * day - 1).await.len(), 3);
    assert_eq!(left_at(NOW + 90 * day).await, ["ptk_good"]);
}
