//! The succession of our own signing keys.

use std::{collections::BTreeSet, time::Duration};

use roadstead_authn::PinnedKeys;
use roadstead_proto::auth::v1::{
    KeySet, ListKeySetsRequest, TokenKind, key_service_client::KeyServiceClient,
};
use roadstead_rpc::Peer;
use serde_json::{Value, json};

use crate::harness::{Auth, config, stopped_clock};

const DAY: Duration = Duration::from_hours(24);
const MINUTE: Duration = Duration::from_mins(1);

fn daily() -> roadstead_auth::Config {
    config(json!({ "dev": true, "key_rotation": "1d" }))
}

async fn start() -> Auth {
    let (clock, time) = stopped_clock();
    Auth::start(daily(), clock, time).await
}

/// What is published of registry tokens.
async fn published(auth: &Auth) -> KeySet {
    let mut client = KeyServiceClient::new(auth.channel(Peer::Gateway));
    let answer = client.list_key_sets(ListKeySetsRequest {}).await.unwrap();
    let sets = answer.into_inner().key_sets;
    sets.into_iter()
        .find(|set| set.kind() == TokenKind::Registry)
        .unwrap()
}

async fn key_ids(auth: &Auth) -> BTreeSet<String> {
    let jwks: Value = serde_json::from_str(&published(auth).await.jwks_json).unwrap();
    let keys = jwks["keys"].as_array().unwrap();
    keys.iter()
        .map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect()
}

async fn signed(auth: &Auth) -> (String, String) {
    let token = auth.registry_token("", &[]).await.unwrap().token;
    let key_id = jsonwebtoken::decode_header(&token).unwrap().kid.unwrap();
    (token, key_id)
}

#[tokio::test]
async fn keys_follow_each_other_without_a_token_that_somebody_cannot_verify() {
    let auth = start().await;
    let (_, first) = signed(&auth).await;
    assert_eq!(key_ids(&auth).await, [first.clone()].into());
    auth.time.advance(Duration::from_mins(24 * 60 - 1));
    assert_eq!(key_ids(&auth).await.len(), 1);

    // The successor is published, and does not sign before everybody has it.
    auth.time.advance(MINUTE);
    let before = published(&auth).await;
    let both = key_ids(&auth).await;
    assert!(both.len() == 2 && both.contains(&first));
    auth.time.advance(Duration::from_secs(10 * 60 - 1));
    let (last_of_first, signer) = signed(&auth).await;
    assert_eq!(signer, first);
    auth.time.advance(Duration::from_secs(1));
    let (first_of_second, second) = signed(&auth).await;
    assert!(second != first && both.contains(&second));
    // Whoever asked at the first possible moment verifies both.
    let pinned = PinnedKeys::from_key_set(&before).unwrap();
    let now = auth.clock.unix_seconds();
    for token in [&last_of_first, &first_of_second] {
        assert!(
            pinned
                .verify::<roadstead_authn::RegistryClaims>(token, now)
                .is_some()
        );
    }

    // The old one stays for what it signed, also where a push outlives its token.
    auth.time.advance(Duration::from_secs(8 * 3600 - 1));
    assert_eq!(key_ids(&auth).await, both);
    auth.time.advance(Duration::from_secs(1));
    assert_eq!(key_ids(&auth).await, [second].into());
}

#[tokio::test]
async fn keys_follow_each_other_for_years() {
    let auth = start().await;
    let mut seen = BTreeSet::new();
    for _ in 0..30 {
        auth.time.advance(DAY);
        let ids = key_ids(&auth).await;
        assert!((1..=2).contains(&ids.len()), "{ids:?}");
        let (token, signer) = signed(&auth).await;
        assert!(ids.contains(&signer));
        auth.readable(&token).await.unwrap();
        seen.insert(signer);
    }
    assert!(seen.len() >= 29, "each day has its own");
}

#[tokio::test]
async fn successors_outlive_a_restart() {
    let auth = start().await;
    auth.time.advance(DAY);
    let ids = key_ids(&auth).await;
    auth.time.advance(10 * MINUTE);
    let (token, signer) = signed(&auth).await;
    let (clock, time) = (auth.clock.clone(), auth.time.clone());
    let directory = auth.stop().await;
    let again = Auth::start_in(directory, daily(), crate::harness::local(), clock, time)
        .await
        .unwrap();
    assert_eq!(key_ids(&again).await, ids);
    assert_eq!(signed(&again).await.1, signer);
    again.readable(&token).await.unwrap();
}

#[tokio::test]
async fn a_clock_that_leaps_takes_no_key_away() {
    let auth = start().await;
    let (token, first) = signed(&auth).await;
    let start = auth.clock.now();
    auth.time.set(start + 40 * DAY);
    assert!(key_ids(&auth).await.contains(&first));
    auth.time.set(start + 80 * DAY);
    assert!(key_ids(&auth).await.contains(&first));
    // The clock is set right, and what was signed before is still good.
    auth.time.set(start + MINUTE);
    auth.readable(&token).await.unwrap();
}
