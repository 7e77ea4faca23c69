//! Verification with keys from an auth service, in-process.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use roadstead_authn::{PinnedKeys, RegistryClaims, Verifier, VerifyError, token_hash};
use roadstead_proto::auth::v1::{KeySet, TokenKind, WatchResponse, watermark::Subject};
use roadstead_rpc::{ErrorReason, Peer, TaskSet, reason};
use roadstead_testkit::{RegistryToken, TestAuthority, TestKeys};
use roadstead_types::{Action, Clock, ClockControl, Principal, RepositoryName};
use rstest::rstest;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tonic::Status;

const NOW: i64 = 1_800_000_000;
const PULL_WEB: &str = "repository:acme/web:pull";

struct Setup {
    keys: TestKeys,
    authority: TestAuthority,
    verifier: Verifier,
    time: ClockControl,
    _tasks: TaskSet,
}

fn clock() -> (Clock, ClockControl) {
    let now: SystemTime = UNIX_EPOCH + Duration::from_secs(NOW.unsigned_abs());
    Clock::fixed(now)
}

async fn setup() -> Setup {
    let (clock, time) = clock();
    let keys = TestKeys::new(clock.clone());
    let authority = keys.authority();
    let tasks = TaskSet::new(CancellationToken::new());
    let verifier = Verifier::new(authority.channel(Peer::Gateway), clock, &tasks);
    verifier.wait_ready().await;
    Setup {
        keys,
        authority,
        verifier,
        time,
        _tasks: tasks,
    }
}

fn alice() -> Principal {
    Principal::new("https://issuer.example", "alice")
}

fn web() -> RepositoryName {
    RepositoryName::parse("acme/web").unwrap()
}

fn invalid<C>(outcome: &Result<Arc<C>, VerifyError<C>>) -> bool {
    matches!(outcome, Err(VerifyError::Invalid))
}

#[tokio::test]
async fn a_registry_token_is_read() {
    let Setup { keys, verifier, .. } = setup().await;
    let token = keys
        .registry_token(&alice())
        .access(PULL_WEB)
        .denied("repository:acme/web:push")
        .sign();
    let claims = verifier.registry(&token).unwrap();
    assert_eq!(claims.principal, alice());
    assert_eq!((claims.issued_at, claims.expires_at), (NOW, NOW + 300));
    assert!(claims.allows(&web(), Action::Pull) && !claims.allows(&web(), Action::Push));
    assert!(claims.was_denied(&web(), Action::Push) && !claims.was_denied(&web(), Action::Pull));
    assert!(!claims.allows_catalog());
    assert!(!claims.allows(&RepositoryName::parse("acme/web/x").unwrap(), Action::Pull));
    let again = verifier.registry(&token).unwrap();
    assert!(
        Arc::ptr_eq(&claims, &again),
        "what was learnt about a token is remembered"
    );
}

#[tokio::test]
async fn an_access_token_is_read() {
    let Setup { keys, verifier, .. } = setup().await;
    let claims = verifier.access(&keys.sign_access_token(&alice())).unwrap();
    assert_eq!(
        (claims.principal.clone(), claims.expires_at),
        (alice(), NOW + 3600)
    );
    // Nobody has no access token.
    assert!(invalid(
        &verifier.access(&keys.sign_access_token(&Principal::anonymous()))
    ));
}

#[tokio::test]
async fn nobody_has_a_registry_token() {
    let Setup { keys, verifier, .. } = setup().await;
    let token = keys.sign_registry_token(&Principal::anonymous(), &["registry:catalog:*"]);
    let claims = verifier.registry(&token).unwrap();
    assert!(claims.principal.is_anonymous() && claims.allows_catalog());
}

#[tokio::test]
async fn kinds_are_not_confused() {
    let Setup { keys, verifier, .. } = setup().await;
    // Each first as what it is, so that a memory shared between kinds would show.
    let registry = keys.sign_registry_token(&alice(), &[PULL_WEB]);
    let access = keys.sign_access_token(&alice());
    verifier.registry(&registry).unwrap();
    verifier.access(&access).unwrap();
    assert!(invalid(&verifier.access(&registry)));
    assert!(invalid(&verifier.registry(&access)));
    // A registry token dressed as an access token, and the other way round, under the keys they have.
    let dressed = keys
        .registry_token(&alice())
        .token_type("roadstead-access+jwt")
        .claim("iss", json!(keys.origin()));
    assert!(invalid(&verifier.access(&dressed.sign())) && invalid(&verifier.registry(&dressed.sign())));
}

#[rstest]
#[case::other_type(|token: RegistryToken<'_>| token.token_type("JWT").sign())]
#[case::type_in_other_case(|token: RegistryToken<'_>| token.token_type("Roadstead-Registry+JWT").sign())]
#[case::other_issuer(|token: RegistryToken<'_>| token.claim("iss", json!("http://127.0.0.1:5001/token")).sign())]
#[case::issuer_of_access_tokens(|token: RegistryToken<'_>| token.claim("iss", json!("http://127.0.0.1:5000")).sign())]
#[case::issuer_list(|token: RegistryToken<'_>| token.claim("iss", json!(["http://127.0.0.1:5000/token"])).sign())]
#[case::other_audience(|token: RegistryToken<'_>| token.claim("aud", json!("127.0.0.1:5001")).sign())]
#[case::audience_list(|token: RegistryToken<'_>| token.claim("aud", json!(["127.0.0.1:5000"])).sign())]
#[case::no_audience(|token: RegistryToken<'_>| token.claim("aud", Value::Null).sign())]
#[case::not_yet(|token: RegistryToken<'_>| token.claim("nbf", json!(NOW + 6)).sign())]
#[case::issued_later(|token: RegistryToken<'_>| token.claim("iat", json!(NOW + 6)).sign())]
#[case::no_end(|token: RegistryToken<'_>| token.claim("exp", Value::Null).sign())]
#[case::no_access(|token: RegistryToken<'_>| token.claim("access", Value::Null).sign())]
#[case::unknown_action(|token: RegistryToken<'_>| token.claim("access", json!([{ "type": "repository", "name": "a", "actions": ["admin"] }])).sign())]
#[case::two_subjects(|token: RegistryToken<'_>| token.claim("sub", json!("mallory")).sign())]
#[case::changed(|token: RegistryToken<'_>| with_claims_changed(&token.sign()))]
#[case::unsigned(|token: RegistryToken<'_>| unsigned(&token.sign()))]
#[case::cut(|token: RegistryToken<'_>| token.sign().rsplit_once('.').unwrap().0.to_owned())]
#[case::nothing(|_: RegistryToken<'_>| String::new())]
#[case::huge(|token: RegistryToken<'_>| token.claim("jti", json!("x".repeat(70_000))).sign())]
#[tokio::test]
async fn a_token_with_one_thing_wrong_is_invalid(#[case] spoil: fn(RegistryToken<'_>) -> String) {
    let Setup { keys, verifier, .. } = setup().await;
    let good = keys.registry_token(&alice()).access(PULL_WEB);
    verifier.registry(&good.sign()).unwrap();
    assert!(invalid(&verifier.registry(&spoil(good))));
    // Also not when it is old: only a token of which all else holds has expired.
    let old = keys.registry_token(&alice()).access(PULL_WEB).expired();
    if let Err(VerifyError::Expired(_)) = verifier.registry(&spoil(old)) {
        panic!("a token that is invalid was called expired");
    }
}

fn with_claims_changed(token: &str) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    let mut claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    claims["access"][0]["actions"] = json!(["push"]);
    format!(
        "{}.{}.{}",
        parts[0],
        URL_SAFE_NO_PAD.encode(claims.to_string()),
        parts[2]
    )
}

fn unsigned(token: &str) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    let mut header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[0]).unwrap()).unwrap();
    header["alg"] = json!("none");
    format!("{}.{}.", URL_SAFE_NO_PAD.encode(header.to_string()), parts[1])
}

#[tokio::test]
async fn small_differences_of_clocks_are_forgiven_before_but_not_after() {
    let Setup {
        keys, verifier, time, ..
    } = setup().await;
    let early = keys
        .registry_token(&alice())
        .claim("nbf", json!(NOW + 5))
        .claim("iat", json!(NOW + 5))
        .sign();
    verifier.registry(&early).unwrap();
    let token = keys
        .registry_token(&alice())
        .access(PULL_WEB)
        .lives(Duration::from_mins(1))
        .sign();
    time.advance(Duration::from_secs(59));
    verifier.registry(&token).unwrap();
    time.advance(Duration::from_secs(1));
    // It is remembered as good from a second ago.
    let Err(VerifyError::Expired(claims)) = verifier.registry(&token) else {
        panic!("the token has expired")
    };
    assert!(claims.allows(&web(), Action::Pull));
}

#[tokio::test]
async fn an_expired_token_keeps_its_claims() {
    let Setup { keys, verifier, .. } = setup().await;
    let token = keys.registry_token(&alice()).access(PULL_WEB).expired().sign();
    let Err(VerifyError::Expired(claims)) = verifier.registry(&token) else {
        panic!("the token has expired")
    };
    assert_eq!(claims.principal, alice());
    let stranger = keys.with_new_keys();
    assert!(invalid(
        &verifier.registry(&stranger.registry_token(&alice()).expired().sign())
    ));
}

#[tokio::test]
async fn without_keys_nothing_is_decided() {
    let (clock, _time) = clock();
    let keys = TestKeys::new(clock.clone());
    let authority = keys.authority();
    authority.set_down(true);
    let tasks = TaskSet::new(CancellationToken::new());
    let verifier = Verifier::new(authority.channel(Peer::Metadata), clock, &tasks);
    let token = keys.sign_registry_token(&alice(), &[]);
    let error = verifier.registry(&token).unwrap_err();
    assert!(matches!(error, VerifyError::KeysUnavailable));
    assert_eq!(reason(&Status::from(error)), ErrorReason::Unavailable);
    authority.set_down(false);
    verifier.wait_ready().await;
    verifier.registry(&token).unwrap();
    assert!(tasks.stop(Duration::from_secs(5)).await.is_empty());
}

#[tokio::test]
async fn keys_serve_while_auth_is_away() {
    let Setup {
        keys,
        authority,
        verifier,
        ..
    } = setup().await;
    authority.set_down(true);
    let calls = authority.key_calls();
    eventually("a failed refresh", || authority.key_calls() > calls).await;
    verifier
        .registry(&keys.sign_registry_token(&alice(), &[]))
        .unwrap();
}

#[tokio::test]
async fn new_keys_are_taken_over_and_old_decisions_forgotten() {
    let Setup {
        keys,
        authority,
        verifier,
        ..
    } = setup().await;
    let old = keys.sign_registry_token(&alice(), &[]);
    verifier.registry(&old).unwrap();
    let successor = keys.with_new_keys();
    let new = successor.sign_registry_token(&alice(), &[]);
    let calls = authority.key_calls();
    assert!(invalid(&verifier.registry(&new)));
    assert_eq!(
        authority.key_calls(),
        calls,
        "an unknown key makes no request wait for the network"
    );
    authority.publish(successor);
    eventually("the new keys", || verifier.registry(&new).is_ok()).await;
    assert!(invalid(&verifier.registry(&old)));
}

#[rstest]
#[case::as_published(|_: &mut KeySet| {}, true)]
#[case::no_kind(|set: &mut KeySet| set.kind = 0, false)]
#[case::other_kind(|set: &mut KeySet| set.set_kind(TokenKind::Access), false)]
#[case::other_type(|set: &mut KeySet| "JWT".clone_into(&mut set.token_type), false)]
#[case::no_issuer(|set: &mut KeySet| set.issuer.clear(), false)]
#[case::no_audience(|set: &mut KeySet| set.audience.clear(), false)]
#[case::no_keys(|set: &mut KeySet| "[]".clone_into(&mut set.jwks_json), false)]
fn a_key_set_pins_everything(#[case] change: fn(&mut KeySet), #[case] usable: bool) {
    let keys = TestKeys::new(clock().0);
    let mut set = KeySet {
        kind: TokenKind::Registry.into(),
        issuer: format!("{}/token", keys.origin()),
        audience: keys.service().to_owned(),
        token_type: "roadstead-registry+jwt".to_owned(),
        jwks_json: serde_json::to_string(&keys.registry_jwks()).unwrap(),
    };
    change(&mut set);
    assert_eq!(PinnedKeys::from_key_set(&set).is_ok(), usable);
}

#[test]
fn a_symmetric_key_is_left_out() {
    let secret = b"0123456789abcdef0123456789abcdef";
    let jwks = json!({ "keys": [{ "kty": "oct", "kid": "k", "k": URL_SAFE_NO_PAD.encode(secret) }] });
    let set = KeySet {
        kind: TokenKind::Registry.into(),
        issuer: "i".to_owned(),
        audience: "a".to_owned(),
        token_type: "roadstead-registry+jwt".to_owned(),
        jwks_json: jwks.to_string(),
    };
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    header.typ = Some("roadstead-registry+jwt".to_owned());
    header.kid = Some("k".to_owned());
    let claims = json!({
        "iss": "i", "aud": "a", "sub": "", "jti": "1", "access": [],
        "iat": NOW, "nbf": NOW, "exp": NOW + 60,
    });
    let token =
        jsonwebtoken::encode(&header, &claims, &jsonwebtoken::EncodingKey::from_secret(secret)).unwrap();
    assert!(
        PinnedKeys::from_key_set(&set)
            .unwrap()
            .verify::<RegistryClaims>(&token, NOW)
            .is_none()
    );
}

#[test]
fn a_token_hash_is_its_sha256() {
    let hash = token_hash("abc");
    assert_eq!(hash[..4], [0xba, 0x78, 0x16, 0xbf]);
    assert_eq!(hash[28..], [0xf2, 0x00, 0x15, 0xad]);
}

fn identity() -> Subject {
    Subject::Identity("idn_alice".to_owned())
}

fn token_of(keys: &TestKeys, revision: u64) -> RegistryToken<'_> {
    keys.registry_token(&alice())
        .access(PULL_WEB)
        .claim("rev", json!(revision))
        .claim("ids", json!(["idn_alice"]))
}

fn revoked<C>(outcome: &Result<Arc<C>, VerifyError<C>>) -> bool {
    matches!(outcome, Err(VerifyError::Revoked(_)))
}

#[tokio::test]
async fn a_token_of_the_previous_release_is_read() {
    let Setup { keys, verifier, .. } = setup().await;
    let token = keys.registry_token(&alice()).access(PULL_WEB).sign();
    let claims = verifier.registry(&token).unwrap();
    assert_eq!(claims.provenance.revision, 0);
    assert!(claims.provenance.identities.is_empty() && claims.provenance.credential.is_none());
    let access = verifier.access(&keys.sign_access_token(&alice())).unwrap();
    assert!(access.scope.is_none() && access.capabilities.is_none());
}

#[tokio::test]
async fn a_denial_says_why() {
    let Setup { keys, verifier, .. } = setup().await;
    let denied = json!([
        { "type": "repository", "name": "acme/web", "actions": ["push"], "why": "no binding gives it" },
        { "type": "repository", "name": "acme/web", "actions": ["delete"] },
    ]);
    let token = keys.registry_token(&alice()).claim("denied", denied).sign();
    let claims = verifier.registry(&token).unwrap();
    let why = |action| claims.denial(&web(), action).map(|denied| denied.why.as_deref());
    assert_eq!(why(Action::Push), Some(Some("no binding gives it")));
    assert_eq!(why(Action::Delete), Some(None));
    assert_eq!(why(Action::Pull), None);
}

#[tokio::test]
async fn a_revoked_token_is_refused_although_it_is_remembered() {
    let Setup {
        keys,
        authority,
        verifier,
        time,
        ..
    } = setup().await;
    let token = token_of(&keys, authority.revocations().revision()).sign();
    verifier.registry(&token).unwrap();
    let revision = authority.revocations().revoke(identity());
    eventually("the revocation", || revoked(&verifier.registry(&token))).await;
    let error = verifier.registry(&token).unwrap_err();
    assert_eq!(reason(&Status::from(error)), ErrorReason::TokenInvalid);
    // What is decided since then is good, also for the same identity.
    verifier.registry(&token_of(&keys, revision).sign()).unwrap();
    // A push grant does not bring an expired one back.
    time.advance(Duration::from_mins(10));
    assert!(revoked(&verifier.registry(&token)));
    let expired = token_of(&keys, revision).expired().sign();
    assert!(matches!(
        verifier.registry(&expired),
        Err(VerifyError::Expired(_))
    ));
}

#[tokio::test]
async fn an_access_token_ends_with_its_session_and_not_with_a_binding() {
    let Setup {
        keys,
        authority,
        verifier,
        ..
    } = setup().await;
    let token = keys
        .access_token(&alice())
        .claim("rev", json!(authority.revocations().revision()))
        .claim("ids", json!(["idn_alice"]))
        .claim("cred", json!("session:ses_1"))
        .sign();
    let registry = token_of(&keys, authority.revocations().revision()).sign();
    authority.revocations().revoke(identity());
    eventually("the revocation", || revoked(&verifier.registry(&registry))).await;
    verifier.access(&token).unwrap();
    authority
        .revocations()
        .revoke(Subject::Credential("session:ses_1".to_owned()));
    eventually("the end of the session", || revoked(&verifier.access(&token))).await;
}

#[tokio::test]
async fn what_was_missed_is_asked_for() {
    let Setup {
        keys,
        authority,
        verifier,
        ..
    } = setup().await;
    let revocations = authority.revocations();
    let token = token_of(&keys, revocations.revision()).sign();
    verifier.registry(&token).unwrap();
    revocations.revoke_untold(identity());
    let streams = revocations.streams();
    // The next change does not follow what was told last.
    revocations.revoke(Subject::Identity("idn_other".to_owned()));
    eventually("the missed revocation", || revoked(&verifier.registry(&token))).await;
    assert_eq!(revocations.streams(), streams + 1);
}

#[tokio::test]
async fn a_stream_that_ends_is_taken_up_again() {
    let Setup {
        keys,
        authority,
        verifier,
        ..
    } = setup().await;
    let revocations = authority.revocations();
    let token = token_of(&keys, revocations.revision()).sign();
    verifier.registry(&token).unwrap();
    revocations.close_streams();
    revocations.revoke_untold(identity());
    eventually("the missed revocation", || revoked(&verifier.registry(&token))).await;
}

#[tokio::test]
async fn what_is_revoked_stays_so_while_auth_is_away() {
    let Setup {
        keys,
        authority,
        verifier,
        ..
    } = setup().await;
    let revocations = authority.revocations();
    let token = token_of(&keys, revocations.revision()).sign();
    revocations.revoke(identity());
    eventually("the revocation", || revoked(&verifier.registry(&token))).await;
    authority.set_down(true);
    revocations.close_streams();
    let calls = authority.key_calls();
    eventually("a failed refresh", || authority.key_calls() > calls).await;
    assert!(revoked(&verifier.registry(&token)));
    verifier
        .registry(&token_of(&keys, revocations.revision()).sign())
        .unwrap();
}

#[tokio::test]
async fn a_snapshot_that_lacks_a_mark_takes_it_back() {
    let Setup {
        keys,
        authority,
        verifier,
        ..
    } = setup().await;
    let revocations = authority.revocations();
    let token = token_of(&keys, revocations.revision()).sign();
    let revision = revocations.revoke(identity());
    eventually("the revocation", || revoked(&verifier.registry(&token))).await;
    revocations.forget();
    // A message that cannot follow makes the verifier ask anew.
    revocations.send(&WatchResponse {
        revision: revision + 2,
        previous: revision + 1,
        ..WatchResponse::default()
    });
    eventually("the new snapshot", || verifier.registry(&token).is_ok()).await;
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(15);
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
