//! Issuers' keys: when they are fetched, from where, and what happens when they cannot be.

use std::{fs, time::Duration};

use roadstead_proto::auth::v1::{ExchangeRequest, token_service_client::TokenServiceClient};
use roadstead_rpc::{ErrorReason, Peer, reason, retry_after};
use roadstead_testkit::{Fault, OidcIssuer, SigningKey, TestCertificates};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tonic::Code;

use crate::harness::{AUDIENCE, Auth, config, eventually, issuer, stopped_clock, trusting};

const MINUTE: Duration = Duration::from_mins(1);

fn token(issuer: &OidcIssuer) -> String {
    issuer.issue(&json!({ "aud": AUDIENCE, "exp": 1_900_000_000 }))
}

#[tokio::test]
async fn unknown_keys_make_one_fetch_a_minute() {
    let (issuer, clock, time) = issuer().await;
    let auth = Auth::start(trusting(&issuer), clock, time).await;
    let unknown = issuer.issue_with(&SigningKey::es256("made-up"), &json!({ "aud": AUDIENCE }));
    for expected in [1, 1, 1] {
        assert_eq!(auth.refusal(&unknown).await, ErrorReason::TokenInvalid);
        assert_eq!(issuer.key_fetches(), expected);
    }
    auth.time.advance(MINUTE);
    for expected in [2, 2] {
        assert_eq!(auth.refusal(&unknown).await, ErrorReason::TokenInvalid);
        assert_eq!(issuer.key_fetches(), expected);
    }
}

#[tokio::test]
async fn rotated_keys_are_found_and_old_ones_dropped() {
    let (issuer, clock, time) = issuer().await;
    let auth = Auth::start(trusting(&issuer), clock, time).await;
    let old = token(&issuer);
    auth.exchange(&old).await.unwrap();
    issuer.rotate();
    auth.time.advance(MINUTE);
    auth.exchange(&token(&issuer)).await.unwrap();
    auth.time.advance(MINUTE);
    assert_eq!(auth.refusal(&old).await, ErrorReason::TokenInvalid);
}

#[tokio::test]
async fn many_exchanges_at_once_make_one_fetch() {
    let (issuer, clock, time) = issuer().await;
    let auth = Auth::start(trusting(&issuer), clock, time).await;
    let mut exchanges = JoinSet::new();
    for _ in 0..16 {
        let mut client = TokenServiceClient::new(auth.channel(Peer::Gateway));
        let request = ExchangeRequest {
            identity_token: token(&issuer),
            ..ExchangeRequest::default()
        };
        exchanges.spawn(async move { client.exchange(request).await });
    }
    for outcome in exchanges.join_all().await {
        outcome.unwrap();
    }
    assert_eq!((issuer.discoveries(), issuer.key_fetches()), (1, 1));
}

#[tokio::test]
async fn old_keys_serve_while_new_ones_are_fetched() {
    let (issuer, clock, time) = issuer().await;
    let auth = Auth::start(trusting(&issuer), clock, time).await;
    let token = token(&issuer);
    auth.exchange(&token).await.unwrap();
    auth.time.advance(4 * MINUTE);
    auth.exchange(&token).await.unwrap();
    assert_eq!(issuer.key_fetches(), 1);
    auth.time.advance(2 * MINUTE);
    auth.exchange(&token).await.unwrap();
    eventually("a fetch in the background", || issuer.key_fetches() == 2).await;
}

#[tokio::test]
async fn an_absent_issuer_is_felt_after_an_hour() {
    let (issuer, clock, time) = issuer().await;
    let auth = Auth::start(trusting(&issuer), clock, time).await;
    let token = token(&issuer);
    auth.exchange(&token).await.unwrap();
    issuer.set_fault(Some(Fault::Unavailable));
    for _ in 0..3 {
        auth.time.advance(20 * MINUTE);
        auth.exchange(&token).await.unwrap();
    }
    auth.time.advance(MINUTE);
    assert_eq!(auth.refusal(&token).await, ErrorReason::IssuerUnavailable);
}

#[tokio::test]
async fn an_issuer_that_comes_back_is_asked_again() {
    let (issuer, clock, time) = issuer().await;
    let auth = Auth::start(trusting(&issuer), clock, time).await;
    issuer.set_fault(Some(Fault::Unavailable));
    let status = auth.exchange(&token(&issuer)).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status)),
        (Code::Unavailable, ErrorReason::IssuerUnavailable)
    );
    let wait = retry_after(&status).expect("the caller is told when to come back");
    issuer.set_fault(None);
    let asked = issuer.discoveries();
    assert_eq!(
        auth.refusal(&token(&issuer)).await,
        ErrorReason::IssuerUnavailable
    );
    assert_eq!(
        issuer.discoveries(),
        asked,
        "an issuer that just failed is left alone"
    );
    auth.time.advance(wait);
    auth.exchange(&token(&issuer)).await.unwrap();
}

#[tokio::test]
async fn an_issuer_that_fails_again_is_left_alone_for_longer() {
    let (issuer, clock, time) = issuer().await;
    let auth = Auth::start(trusting(&issuer), clock, time).await;
    issuer.set_fault(Some(Fault::Unavailable));
    for (asked, pause) in (1..).zip([5, 10, 20, 40, 60, 60]) {
        let status = auth.exchange(&token(&issuer)).await.unwrap_err();
        assert_eq!(issuer.discoveries(), asked);
        assert_eq!(retry_after(&status), Some(Duration::from_secs(pause)));
        auth.time.advance(Duration::from_secs(pause - 1));
        let status = auth.exchange(&token(&issuer)).await.unwrap_err();
        assert_eq!(retry_after(&status), Some(Duration::from_secs(1)));
        assert_eq!(issuer.discoveries(), asked, "it is left alone");
        auth.time.advance(Duration::from_secs(1));
    }
    issuer.set_fault(None);
    auth.exchange(&token(&issuer)).await.unwrap();
    // It begins anew after a success.
    issuer.set_fault(Some(Fault::Unavailable));
    auth.time.advance(Duration::from_hours(2));
    let status = auth.exchange(&token(&issuer)).await.unwrap_err();
    assert_eq!(retry_after(&status), Some(Duration::from_secs(5)));
}

#[tokio::test]
async fn an_issuer_does_not_speak_for_another() {
    let (first, clock, time) = issuer().await;
    let second = OidcIssuer::start(clock.clone()).await;
    let trusted =
        |issuer: &OidcIssuer| json!({ "issuer": issuer.url(), "audience": AUDIENCE, "allow_private": true });
    let configured = config(json!({ "dev": true, "issuers": [trusted(&first), trusted(&second)] }));
    let auth = Auth::start(configured, clock, time).await;
    // Both have keys of the same id, of which the ES256 ones differ.
    let (own, other) = (first.es256_key(), second.es256_key());
    assert_eq!(own.kid(), other.kid());
    let claims = json!({ "aud": AUDIENCE });
    auth.exchange(&first.issue_with(&own, &claims)).await.unwrap();
    auth.exchange(&second.issue_with(&other, &claims)).await.unwrap();
    for swapped in [
        first.issue_with(&other, &claims),
        second.issue_with(&own, &claims),
    ] {
        assert_eq!(auth.refusal(&swapped).await, ErrorReason::TokenInvalid);
    }
}

#[tokio::test]
async fn keys_that_were_swapped_are_good_no_longer_than_they_are_published() {
    let (issuer, clock, time) = issuer().await;
    let auth = Auth::start(trusting(&issuer), clock, time).await;
    let own = vec![issuer.key(), issuer.es256_key()];
    let thief = SigningKey::es256("second");
    let claims = json!({ "aud": AUDIENCE, "exp": 1_900_000_000 });
    let stolen = issuer.issue_with(&thief, &claims);
    auth.exchange(&issuer.issue_with(&own[1], &claims)).await.unwrap();
    assert_eq!(auth.refusal(&stolen).await, ErrorReason::TokenInvalid);
    // For a while somebody else has the place where the keys are; a key of the same id does not hide that they changed.
    issuer.publish(vec![thief]);
    auth.time.advance(6 * MINUTE);
    let _ = auth.exchange(&stolen).await;
    eventually("the other keys", || issuer.key_fetches() == 2).await;
    issuer.publish(own.clone());
    auth.time.advance(6 * MINUTE);
    let _ = auth.exchange(&stolen).await;
    eventually("the own keys again", || issuer.key_fetches() == 3).await;
    eventually_refused(&auth, &stolen).await;
    auth.exchange(&issuer.issue_with(&own[1], &claims)).await.unwrap();
}

/// Waits until what was fetched in the background is in use.
async fn eventually_refused(auth: &Auth, token: &str) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while auth.exchange(token).await.is_ok() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the token of other keys is still believed"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(auth.refusal(token).await, ErrorReason::TokenInvalid);
}

#[rstest]
#[case::path("../../keys")]
#[case::query("first' OR '1'='1")]
#[case::other_case("FIRST")]
#[case::white_space(" first")]
#[case::empty("")]
#[case::url("https://issuer.example/key")]
#[case::control("first\u{0}")]
#[case::long(&"x".repeat(8000))]
#[tokio::test]
async fn a_key_id_is_a_name_and_nothing_else(#[case] kid: &str) {
    let (issuer, clock, time) = issuer().await;
    let auth = Auth::start(trusting(&issuer), clock, time).await;
    auth.exchange(&token(&issuer)).await.unwrap();
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
    header.kid = Some(kid.to_owned());
    // Signed by a good key under a name that is not its own, so that only the name is wrong.
    let named = issuer
        .es256_key()
        .sign_with(header, &issuer.claims(&json!({ "aud": AUDIENCE })));
    assert_eq!(auth.refusal(&named).await, ErrorReason::TokenInvalid);
}

#[tokio::test]
async fn an_unknown_key_of_an_absent_issuer_is_not_called_invalid() {
    let (issuer, clock, time) = issuer().await;
    let auth = Auth::start(trusting(&issuer), clock, time).await;
    auth.exchange(&token(&issuer)).await.unwrap();
    issuer.rotate();
    issuer.set_fault(Some(Fault::Unavailable));
    auth.time.advance(MINUTE);
    assert_eq!(
        auth.refusal(&token(&issuer)).await,
        ErrorReason::IssuerUnavailable
    );
}

#[rstest]
#[case::unavailable(Fault::Unavailable)]
#[case::silent(Fault::Silent)]
#[case::oversized(Fault::Oversized)]
#[case::redirect(Fault::Redirect)]
#[case::document_of_another(Fault::OtherIssuer)]
#[case::no_keys(Fault::NoKeys)]
#[tokio::test]
async fn a_misbehaving_issuer_is_unavailable(#[case] fault: Fault) {
    let (issuer, clock, time) = issuer().await;
    let auth = Auth::start(trusting(&issuer), clock, time).await;
    issuer.set_fault(Some(fault));
    assert_eq!(
        auth.refusal(&token(&issuer)).await,
        ErrorReason::IssuerUnavailable
    );
    issuer.set_fault(None);
    auth.time.advance(MINUTE);
    auth.exchange(&token(&issuer)).await.unwrap();
}

#[rstest]
#[case::cloud_credentials("http://169.254.169.254/latest/meta-data")]
#[case::cloud_credentials_over_tls("https://169.254.169.254/keys")]
#[case::plain_beyond_loopback("http://issuer.example/keys")]
#[case::file("file:///etc/passwd")]
#[case::unspecified("http://0.0.0.0:1/keys")]
#[tokio::test]
async fn keys_are_not_fetched_from_anywhere(#[case] uri: &str) {
    let (issuer, clock, time) = issuer().await;
    let auth = Auth::start(trusting(&issuer), clock, time).await;
    issuer.set_jwks_uri(uri);
    assert_eq!(
        auth.refusal(&token(&issuer)).await,
        ErrorReason::IssuerUnavailable
    );
    assert_eq!(issuer.key_fetches(), 0);
}

#[tokio::test]
async fn private_addresses_are_refused_unless_allowed() {
    let (issuer, clock, time) = issuer().await;
    let configured = config(json!({
        "dev": true,
        "issuers": [{ "issuer": issuer.url(), "audience": AUDIENCE }],
    }));
    let auth = Auth::start(configured, clock, time).await;
    assert_eq!(
        auth.refusal(&token(&issuer)).await,
        ErrorReason::IssuerUnavailable
    );
    assert_eq!(issuer.discoveries(), 0);
}

#[rstest]
#[case::as_configured(true, true, true)]
#[case::name_of_a_private_address(false, true, false)]
#[case::unknown_authority(true, false, false)]
#[tokio::test]
async fn an_issuer_with_an_authority_of_its_own(
    #[case] allow_private: bool,
    #[case] with_roots: bool,
    #[case] expected: bool,
) {
    let certificates = TestCertificates::mint();
    let (clock, time) = stopped_clock();
    let issuer = OidcIssuer::start_tls(clock.clone(), &certificates).await;
    let directory = roadstead_testkit::test_dir();
    let roots = directory.path().join("roots.pem");
    fs::write(&roots, certificates.authority_pem()).unwrap();
    let configured = config(json!({
        "issuers": [{
            "issuer": issuer.url(),
            "audience": AUDIENCE,
            "allow_private": allow_private,
            "ca_file": if with_roots { json!(roots) } else { Value::Null },
        }],
    }));
    let auth = Auth::start(configured, clock, time).await;
    let outcome = auth.exchange(&token(&issuer)).await;
    assert_eq!(outcome.is_ok(), expected);
    assert_eq!(issuer.key_fetches(), usize::from(expected));
    if let Err(status) = outcome {
        assert_eq!(reason(&status), ErrorReason::IssuerUnavailable);
    }
}
