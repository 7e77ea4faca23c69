//! Registry tokens: what they say, and which tokens are good for what.

use std::time::Duration;

use roadstead_authn::{Verifier, VerifyError};
use roadstead_proto::auth::v1::{
    IssueRegistryTokenRequest, ListKeySetsRequest, TokenKind, key_service_client::KeyServiceClient,
    token_service_client::TokenServiceClient,
};
use roadstead_rpc::{ErrorReason, Peer, reason};
use roadstead_testkit::{OidcIssuer, SigningKey, TestKeys, test_dir};
use roadstead_types::{Action, Principal, RepositoryName};
use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{AUDIENCE, Auth, config, issuer, public, refused, trusting};

const PULL_WEB: &str = "repository:acme/web:pull";

struct Setup {
    issuer: OidcIssuer,
    auth: Auth,
    verifier: Verifier,
}

async fn setup() -> Setup {
    let (issuer, clock, time) = issuer().await;
    let auth = Auth::start(trusting(&issuer), clock, time).await;
    let verifier = auth.verifier().await;
    Setup {
        issuer,
        auth,
        verifier,
    }
}

fn repository(name: &str) -> RepositoryName {
    RepositoryName::parse(name).unwrap()
}

#[tokio::test]
async fn a_token_says_what_is_granted_and_what_is_not() {
    let Setup {
        issuer,
        auth,
        verifier,
    } = setup().await;
    let access = auth.access_token(&issuer, json!({ "sub": "ci" })).await;
    let scopes = [
        "repository:acme/web:pull,push,delete",
        "repository:other/web:pull",
        "registry:catalog:*",
        PULL_WEB,
    ];
    let answer = auth.registry_token(&access, &scopes).await.unwrap();
    assert_eq!(
        answer.granted_scopes,
        ["repository:acme/web:pull,push", "registry:catalog:*"]
    );
    assert_eq!(
        (answer.expires_in, answer.issued_at),
        (300, auth.clock.unix_seconds())
    );

    let claims = verifier.registry(&answer.token).unwrap();
    let (web, other) = (repository("acme/web"), repository("other/web"));
    assert_eq!(claims.principal, Principal::new(issuer.url(), "ci"));
    assert!(claims.allows(&web, Action::Pull) && claims.allows(&web, Action::Push));
    assert!(!claims.allows(&web, Action::Delete) && claims.was_denied(&web, Action::Delete));
    assert!(!claims.allows(&other, Action::Pull) && claims.was_denied(&other, Action::Pull));
    // What was not asked for is neither granted nor denied.
    assert!(!claims.allows(&repository("acme/api"), Action::Pull));
    assert!(!claims.was_denied(&repository("acme/api"), Action::Pull));
    assert!(claims.allows_catalog());
}

#[tokio::test]
async fn nobody_gets_a_token_that_lists_the_public() {
    let Setup { auth, verifier, .. } = setup().await;
    let answer = auth
        .registry_token("", &[PULL_WEB, "registry:catalog:*"])
        .await
        .unwrap();
    assert_eq!(answer.granted_scopes, ["registry:catalog:*"]);
    let claims = verifier.registry(&answer.token).unwrap();
    assert!(claims.principal.is_anonymous() && claims.denied.is_empty() && claims.allows_catalog());
    assert!(!claims.allows(&repository("acme/web"), Action::Pull));
    let empty = auth.registry_token("", &[]).await.unwrap();
    assert!(verifier.registry(&empty.token).unwrap().access.is_empty());
}

#[tokio::test]
async fn grants_by_pattern_and_claims_reach_the_token() {
    let (issuer, clock, time) = issuer().await;
    let configured = config(json!({
        "dev": true,
        "issuers": [{ "issuer": issuer.url(), "audience": AUDIENCE, "allow_private": true }],
        "grants": [{
            "issuer": issuer.url(),
            "subject_pattern": "repo:acme/[a-z]+:ref:refs/heads/main",
            "claims": { "repository_owner": "acme" },
            "prefix": "acme",
            "actions": ["*"],
        }],
    }));
    let auth = Auth::start(configured, clock, time).await;
    let granted = async |claims: Value| {
        let access = auth.access_token(&issuer, claims).await;
        auth.registry_token(&access, &["repository:acme/web:*"])
            .await
            .unwrap()
            .granted_scopes
    };
    let main = "repo:acme/web:ref:refs/heads/main";
    let all = ["repository:acme/web:pull,push,delete"];
    assert_eq!(
        granted(json!({ "sub": main, "repository_owner": "acme" })).await,
        all
    );
    for (subject, owner) in [
        (main, "evil"),
        ("repo:acme/web:ref:refs/heads/main2", "acme"),
        ("x:repo:acme/web:ref:refs/heads/main", "acme"),
        ("repo:acme/web/x:ref:refs/heads/main", "acme"),
    ] {
        let claims = json!({ "sub": subject, "repository_owner": owner });
        assert!(granted(claims).await.is_empty(), "{subject} {owner}");
    }
    assert!(granted(json!({ "sub": main })).await.is_empty());
}

#[tokio::test]
async fn scopes_that_are_none_are_refused() {
    let Setup { auth, .. } = setup().await;
    assert_eq!(
        refused(auth.registry_token("", &["garbage"]).await),
        ErrorReason::ScopeInvalid
    );
}

#[rstest]
#[case::ours("127.0.0.1:5000", None)]
#[case::unsaid("", None)]
#[case::another("registry.example", Some(ErrorReason::ArgumentInvalid))]
#[case::start_of_ours("127.0.0.1", Some(ErrorReason::ArgumentInvalid))]
#[tokio::test]
async fn tokens_are_for_this_service(#[case] service: &str, #[case] expected: Option<ErrorReason>) {
    let Setup { auth, .. } = setup().await;
    let request = IssueRegistryTokenRequest {
        service: service.to_owned(),
        ..Default::default()
    };
    let outcome = auth.ask_registry_token(request).await;
    assert_eq!(outcome.err().map(|status| reason(&status)), expected);
}

#[tokio::test]
async fn each_kind_of_token_is_good_for_one_thing() {
    let Setup {
        issuer,
        auth,
        verifier,
    } = setup().await;
    let identity = issuer.issue(&json!({ "aud": AUDIENCE, "sub": "ci" }));
    let access = auth.exchange(&identity).await.unwrap().access_token;
    let registry = auth.registry_token(&access, &[PULL_WEB]).await.unwrap().token;

    assert_eq!(
        refused(auth.registry_token(&registry, &[]).await),
        ErrorReason::TokenInvalid
    );
    assert_eq!(
        refused(auth.registry_token(&identity, &[]).await),
        ErrorReason::TokenInvalid
    );
    assert_eq!(
        refused(auth.registry_token("password", &[]).await),
        ErrorReason::TokenInvalid
    );
    assert!(matches!(verifier.registry(&access), Err(VerifyError::Invalid)));
    assert!(matches!(verifier.registry(&identity), Err(VerifyError::Invalid)));
    assert!(matches!(verifier.access(&registry), Err(VerifyError::Invalid)));
    assert_eq!(
        verifier.access(&access).unwrap().principal,
        Principal::new(issuer.url(), "ci")
    );
}

#[tokio::test]
async fn a_token_of_another_registry_is_refused() {
    let Setup {
        issuer,
        auth,
        verifier,
    } = setup().await;
    let elsewhere = Auth::start_in(
        std::sync::Arc::new(test_dir()),
        trusting(&issuer),
        public("http://127.0.0.1:5001", "127.0.0.1:5001"),
        auth.clock.clone(),
        auth.time.clone(),
    )
    .await
    .unwrap();
    let access = elsewhere.access_token(&issuer, json!({ "sub": "ci" })).await;
    let registry = elsewhere
        .registry_token(&access, &[PULL_WEB])
        .await
        .unwrap()
        .token;
    assert_eq!(
        refused(auth.registry_token(&access, &[]).await),
        ErrorReason::TokenInvalid
    );
    assert_eq!(refused(auth.readable(&registry).await), ErrorReason::TokenInvalid);
    assert!(matches!(verifier.registry(&registry), Err(VerifyError::Invalid)));
    // The same address with other keys.
    let impostor = TestKeys::new(auth.clock.clone());
    let ci = Principal::new(issuer.url(), "ci");
    assert_eq!(
        refused(auth.registry_token(&impostor.sign_access_token(&ci), &[]).await),
        ErrorReason::TokenInvalid
    );
    assert!(matches!(
        verifier.registry(&impostor.sign_registry_token(&ci, &[PULL_WEB])),
        Err(VerifyError::Invalid)
    ));
}

#[tokio::test]
async fn tokens_expire() {
    let Setup {
        issuer,
        auth,
        verifier,
    } = setup().await;
    let access = auth.access_token(&issuer, json!({ "sub": "ci" })).await;
    let registry = auth.registry_token(&access, &[PULL_WEB]).await.unwrap().token;
    auth.time.advance(Duration::from_secs(299));
    verifier.registry(&registry).unwrap();
    auth.time.advance(Duration::from_secs(1));
    let Err(VerifyError::Expired(claims)) = verifier.registry(&registry) else {
        panic!("the token has expired")
    };
    assert!(claims.allows(&repository("acme/web"), Action::Pull));
    assert_eq!(refused(auth.readable(&registry).await), ErrorReason::TokenExpired);
    auth.time.advance(Duration::from_secs(3299));
    auth.registry_token(&access, &[]).await.unwrap();
    auth.time.advance(Duration::from_secs(1));
    assert_eq!(
        refused(auth.registry_token(&access, &[]).await),
        ErrorReason::TokenExpired
    );
}

#[tokio::test]
async fn readable_prefixes_are_those_of_the_bearer() {
    let (issuer, clock, time) = issuer().await;
    let configured = config(json!({
        "dev": true,
        "issuers": [{ "issuer": issuer.url(), "audience": AUDIENCE, "allow_private": true }],
        "grants": [
            { "issuer": issuer.url(), "subject": "ci", "prefix": "acme", "actions": ["pull"] },
            { "issuer": issuer.url(), "subject": "ci", "prefix": "acme/web", "actions": ["pull", "push"] },
            { "issuer": issuer.url(), "subject": "ci", "prefix": "sink", "actions": ["push"] },
            { "issuer": issuer.url(), "claims": { "team": "tools" }, "prefix": "tools", "actions": ["pull"] },
        ],
    }));
    let auth = Auth::start(configured, clock, time).await;
    let access = auth
        .access_token(&issuer, json!({ "sub": "ci", "team": "tools" }))
        .await;
    let registry = auth.registry_token(&access, &[]).await.unwrap().token;
    for token in [&access, &registry] {
        let answer = auth.readable(token).await.unwrap();
        assert_eq!(answer.prefixes, ["acme", "tools"]);
        assert_eq!(answer.identity.unwrap().subject, "ci");
    }
    let nobody = auth.registry_token("", &[]).await.unwrap().token;
    let answer = auth.readable(&nobody).await.unwrap();
    assert!(answer.prefixes.is_empty() && answer.identity.is_none());
    // Without a token it is what everybody may.
    let answer = auth.readable("").await.unwrap();
    assert!(answer.prefixes.is_empty() && answer.identity.is_none());
}

#[tokio::test]
async fn published_keys_are_public_and_of_one_kind_each() {
    let Setup { auth, .. } = setup().await;
    let mut client = KeyServiceClient::new(auth.channel(Peer::Events));
    let answer = client
        .list_key_sets(ListKeySetsRequest {})
        .await
        .unwrap()
        .into_inner();
    assert!(answer.max_age > 0);
    let kinds: Vec<_> = answer
        .key_sets
        .iter()
        .map(roadstead_proto::auth::v1::KeySet::kind)
        .collect();
    assert_eq!(kinds, [TokenKind::Access, TokenKind::Registry]);
    let issuers: Vec<_> = answer.key_sets.iter().map(|set| set.issuer.as_str()).collect();
    assert_eq!(issuers, ["http://127.0.0.1:5000", "http://127.0.0.1:5000/token"]);
    let mut key_ids = Vec::new();
    for set in &answer.key_sets {
        assert_eq!(set.audience, "127.0.0.1:5000");
        let jwks: Value = serde_json::from_str(&set.jwks_json).unwrap();
        for key in jwks["keys"].as_array().unwrap() {
            let members: Vec<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
            assert!(!members.contains(&"d"), "a private key is published: {members:?}");
            assert_eq!(
                (&key["alg"], &key["use"], &key["crv"]),
                (&json!("ES256"), &json!("sig"), &json!("P-256"))
            );
            key_ids.push(key["kid"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(key_ids.len(), 2);
    assert_ne!(key_ids[0], key_ids[1]);
}

#[tokio::test]
async fn a_stranger_under_a_published_key_id_is_refused() {
    let Setup {
        issuer,
        auth,
        verifier,
    } = setup().await;
    let access = auth.access_token(&issuer, json!({ "sub": "ci" })).await;
    let token = auth.registry_token(&access, &[PULL_WEB]).await.unwrap().token;
    let header = jsonwebtoken::decode_header(&token).unwrap();
    let claims: Value = jsonwebtoken::dangerous::insecure_decode_claims(&token).unwrap();
    let forged = SigningKey::es256("any").sign_with(header, &claims);
    assert!(matches!(verifier.registry(&forged), Err(VerifyError::Invalid)));
    verifier.registry(&token).unwrap();
}

#[tokio::test]
async fn only_the_gateway_asks_for_tokens() {
    let Setup { auth, .. } = setup().await;
    for peer in [Peer::Metadata, Peer::Events, Peer::Blobs] {
        let mut client = TokenServiceClient::new(auth.channel(peer));
        let status = client
            .issue_registry_token(IssueRegistryTokenRequest::default())
            .await
            .unwrap_err();
        assert_eq!(reason(&status), ErrorReason::PeerRefused, "{peer}");
    }
}
