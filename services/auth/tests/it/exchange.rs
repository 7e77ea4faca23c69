//! Identity tokens: which are believed.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use roadstead_rpc::ErrorReason;
use roadstead_testkit::{OidcIssuer, SigningKey};
use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{AUDIENCE, Auth, issuer, trusting};

async fn trusting_auth() -> (OidcIssuer, Auth) {
    let (issuer, clock, time) = issuer().await;
    let auth = Auth::start(trusting(&issuer), clock, time).await;
    (issuer, auth)
}

#[tokio::test]
async fn an_identity_token_gives_an_access_token_of_an_hour() {
    let (issuer, auth) = trusting_auth().await;
    let answer = auth
        .exchange(&issuer.issue(&json!({ "aud": AUDIENCE, "sub": "ci" })))
        .await
        .unwrap();
    assert_eq!(answer.expires_in, 3600);
    assert_eq!(answer.issued_at, auth.clock.unix_seconds());
    let identity = answer.identity.unwrap();
    assert_eq!(
        (identity.issuer.as_str(), identity.subject.as_str()),
        (issuer.url(), "ci")
    );
}

#[tokio::test]
async fn an_identity_without_a_grant_gets_a_token_too() {
    let (issuer, auth) = trusting_auth().await;
    auth.exchange(&issuer.issue(&json!({ "aud": AUDIENCE, "sub": "stranger" })))
        .await
        .unwrap();
}

#[rstest]
#[case::rs256(SigningKey::rs256("k"))]
#[case::rs384(SigningKey::rs256("k").with_algorithm(Algorithm::RS384))]
#[case::rs512(SigningKey::rs256("k").with_algorithm(Algorithm::RS512))]
#[case::ps256(SigningKey::rs256("k").with_algorithm(Algorithm::PS256))]
#[case::ps384(SigningKey::rs256("k").with_algorithm(Algorithm::PS384))]
#[case::ps512(SigningKey::rs256("k").with_algorithm(Algorithm::PS512))]
#[case::es256(SigningKey::es256("k"))]
#[case::es384(SigningKey::es384("k"))]
#[case::ed25519(SigningKey::ed25519("k"))]
#[case::without_key_id(SigningKey::es256("k").without_kid())]
#[tokio::test]
async fn every_accepted_algorithm_verifies(#[case] key: SigningKey) {
    let (issuer, auth) = trusting_auth().await;
    issuer.publish(vec![key.clone()]);
    auth.exchange(&issuer.issue_with(&key, &json!({ "aud": AUDIENCE })))
        .await
        .unwrap();
}

#[rstest]
#[case::wrong_audience(json!({ "aud": "another" }), ErrorReason::TokenInvalid)]
#[case::no_audience(json!({}), ErrorReason::TokenInvalid)]
#[case::also_for_others(json!({ "aud": [AUDIENCE, "another"] }), ErrorReason::TokenInvalid)]
#[case::audience_in_other_case(json!({ "aud": "Roadstead" }), ErrorReason::TokenInvalid)]
#[case::other_issuer(json!({ "aud": AUDIENCE, "iss": "https://issuer.example" }), ErrorReason::IssuerUntrusted)]
#[case::no_issuer(json!({ "aud": AUDIENCE, "iss": null }), ErrorReason::TokenInvalid)]
#[case::issuer_list(json!({ "aud": AUDIENCE, "iss": ["a"] }), ErrorReason::TokenInvalid)]
#[case::no_subject(json!({ "aud": AUDIENCE, "sub": null }), ErrorReason::IdentityUnknown)]
#[case::empty_subject(json!({ "aud": AUDIENCE, "sub": "" }), ErrorReason::IdentityUnknown)]
#[case::long_subject(json!({ "aud": AUDIENCE, "sub": "x".repeat(1025) }), ErrorReason::IdentityUnknown)]
#[case::subject_with_a_line_end(json!({ "aud": AUDIENCE, "sub": "ci\n" }), ErrorReason::IdentityUnknown)]
#[case::no_end(json!({ "aud": AUDIENCE, "exp": null }), ErrorReason::TokenInvalid)]
#[case::end_in_text(json!({ "aud": AUDIENCE, "exp": "1900000000" }), ErrorReason::TokenInvalid)]
#[case::no_issue(json!({ "aud": AUDIENCE, "iat": null }), ErrorReason::TokenInvalid)]
#[case::null_begin(json!({ "aud": AUDIENCE, "nbf": "soon" }), ErrorReason::TokenInvalid)]
#[case::issued_tomorrow(json!({ "aud": AUDIENCE, "iat": 1_800_086_400, "exp": 1_800_086_500 }), ErrorReason::TokenInvalid)]
#[case::good_in_a_minute(json!({ "aud": AUDIENCE, "nbf": 1_800_000_060 }), ErrorReason::TokenInvalid)]
#[case::expired(json!({ "aud": AUDIENCE, "exp": 1_800_000_000 }), ErrorReason::TokenExpired)]
#[tokio::test]
async fn a_signed_token_with_these_claims_is_refused(#[case] claims: Value, #[case] expected: ErrorReason) {
    let (issuer, auth) = trusting_auth().await;
    assert_eq!(auth.refusal(&issuer.issue(&claims)).await, expected);
}

#[rstest]
#[case::single_audience_list(json!({ "aud": [AUDIENCE] }))]
#[case::clock_ahead(json!({ "aud": AUDIENCE, "iat": 1_800_000_020, "nbf": 1_800_000_020 }))]
#[case::fractions(json!({ "aud": AUDIENCE, "iat": 1_799_999_999.5, "exp": 1_800_000_100.25 }))]
#[case::last_second(json!({ "aud": AUDIENCE, "exp": 1_800_000_001 }))]
#[tokio::test]
async fn a_signed_token_with_these_claims_is_believed(#[case] claims: Value) {
    let (issuer, auth) = trusting_auth().await;
    auth.exchange(&issuer.issue(&claims)).await.unwrap();
}

#[tokio::test]
async fn a_token_ages() {
    let (issuer, auth) = trusting_auth().await;
    let token = issuer.issue(&json!({ "aud": AUDIENCE }));
    auth.time.advance(Duration::from_secs(299));
    auth.exchange(&token).await.unwrap();
    auth.time.advance(Duration::from_secs(1));
    assert_eq!(auth.refusal(&token).await, ErrorReason::TokenExpired);
}

#[tokio::test]
async fn look_alike_issuers_are_strangers() {
    let (issuer, auth) = trusting_auth().await;
    let (url, port) = (issuer.url(), issuer.port());
    let other_port = if port == u16::MAX { port - 1 } else { port + 1 };
    for look_alike in [
        format!("{url}/"),
        format!("{url}/."),
        format!("{url}?"),
        format!("{url}#"),
        format!(" {url}"),
        format!("HTTP://127.0.0.1:{port}"),
        format!("https://127.0.0.1:{port}"),
        format!("http://127.0.0.1.:{port}"),
        format!("http://127.0.0.1:0{port}"),
        format!("http://localhost:{port}"),
        format!("http://user@127.0.0.1:{port}"),
        format!("http://127.0.0.1:{other_port}"),
        "http://127.0.0.1".to_owned(),
    ] {
        let token = issuer.issue(&json!({ "aud": AUDIENCE, "iss": look_alike }));
        assert_eq!(
            auth.refusal(&token).await,
            ErrorReason::IssuerUntrusted,
            "{look_alike}"
        );
    }
    assert_eq!(
        issuer.discoveries(),
        0,
        "a stranger's token makes nobody ask for keys"
    );
}

#[tokio::test]
async fn unsigned_tokens_are_refused() {
    let (issuer, auth) = trusting_auth().await;
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = encode(&issuer.claims(&json!({ "aud": AUDIENCE })));
    for algorithm in ["none", "None", "NONE", ""] {
        let header = encode(&json!({ "alg": algorithm, "typ": "JWT", "kid": "first" }));
        for signature in ["", "AAAA"] {
            let token = format!("{header}.{claims}.{signature}");
            assert_eq!(
                auth.refusal(&token).await,
                ErrorReason::TokenInvalid,
                "{algorithm:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_public_key_is_no_secret_to_sign_with() {
    let (issuer, auth) = trusting_auth().await;
    let jwk = issuer.key().jwk();
    let modulus = jwk["n"].as_str().unwrap();
    let secrets = [
        jwk.to_string().into_bytes(),
        modulus.as_bytes().to_vec(),
        URL_SAFE_NO_PAD.decode(modulus).unwrap(),
    ];
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        let mut header = Header::new(algorithm);
        header.kid = Some("first".to_owned());
        for secret in &secrets {
            let claims = issuer.claims(&json!({ "aud": AUDIENCE }));
            let token = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(secret)).unwrap();
            assert_eq!(auth.refusal(&token).await, ErrorReason::TokenInvalid);
        }
    }
}

#[tokio::test]
async fn a_stranger_signing_under_a_known_key_id_is_refused() {
    let (issuer, auth) = trusting_auth().await;
    for stranger in [
        SigningKey::es256("second"),
        SigningKey::es256("first"),
        SigningKey::es256("x").without_kid(),
    ] {
        let token = issuer.issue_with(&stranger, &json!({ "aud": AUDIENCE }));
        assert_eq!(auth.refusal(&token).await, ErrorReason::TokenInvalid);
    }
}

#[tokio::test]
async fn a_key_brought_along_is_not_used() {
    let (issuer, auth) = trusting_auth().await;
    let stranger = SigningKey::es256("second");
    let mut header = Header::new(Algorithm::ES256);
    header.jwk = Some(serde_json::from_value(stranger.jwk()).unwrap());
    header.jku = Some(format!("{}/keys", issuer.url()));
    let token = stranger.sign_with(header, &issuer.claims(&json!({ "aud": AUDIENCE })));
    assert_eq!(auth.refusal(&token).await, ErrorReason::TokenInvalid);
}

#[rstest]
#[case::access_token("at+jwt")]
#[case::logout_token("logout+jwt")]
#[case::our_access_token("roadstead-access+jwt")]
#[tokio::test]
async fn other_types_of_token_are_no_identity(#[case] token_type: &str) {
    let (issuer, auth) = trusting_auth().await;
    let token = issuer
        .key()
        .sign(token_type, &issuer.claims(&json!({ "aud": AUDIENCE })));
    assert_eq!(auth.refusal(&token).await, ErrorReason::TokenInvalid);
}

#[tokio::test]
async fn a_token_with_critical_extensions_is_refused() {
    let (issuer, auth) = trusting_auth().await;
    let mut header = Header::new(Algorithm::RS256);
    header.crit = Some(vec!["exp".to_owned()]);
    let token = issuer
        .key()
        .sign_with(header, &issuer.claims(&json!({ "aud": AUDIENCE })));
    assert_eq!(auth.refusal(&token).await, ErrorReason::TokenInvalid);
}

#[tokio::test]
async fn a_changed_token_is_refused() {
    let (issuer, auth) = trusting_auth().await;
    let token = issuer.issue(&json!({ "aud": AUDIENCE, "sub": "ci" }));
    let forged = URL_SAFE_NO_PAD.encode(
        issuer
            .claims(&json!({ "aud": AUDIENCE, "sub": "root" }))
            .to_string(),
    );
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(
        auth.refusal(&format!("{}.{forged}.{}", parts[0], parts[2])).await,
        ErrorReason::TokenInvalid
    );
    assert_eq!(
        auth.refusal(&format!("{}.{}.", parts[0], parts[1])).await,
        ErrorReason::TokenInvalid
    );
}

#[rstest]
#[case::nothing("", ErrorReason::TokenMissing)]
#[case::words("password", ErrorReason::TokenInvalid)]
#[case::dots("..", ErrorReason::TokenInvalid)]
#[case::five_parts("a.b.c.d.e", ErrorReason::TokenInvalid)]
#[tokio::test]
async fn what_is_no_token_is_refused(#[case] token: &str, #[case] expected: ErrorReason) {
    let (_issuer, auth) = trusting_auth().await;
    assert_eq!(auth.refusal(token).await, expected);
    assert_eq!(auth.refusal(&"x".repeat(40_000)).await, ErrorReason::TokenInvalid);
}

#[tokio::test]
async fn our_own_tokens_are_no_identity() {
    let (issuer, auth) = trusting_auth().await;
    let access = auth.access_token(&issuer, json!({ "sub": "ci" })).await;
    assert_eq!(auth.refusal(&access).await, ErrorReason::TokenInvalid);
    let registry = auth.registry_token(&access, &[]).await.unwrap().token;
    assert_eq!(auth.refusal(&registry).await, ErrorReason::TokenInvalid);
}
