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
            context: None,
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
