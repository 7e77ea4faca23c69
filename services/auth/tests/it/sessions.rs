//! Logins of people: refresh tokens, how they are replaced, and how sessions end.

use std::time::Duration;

use roadstead_authn::VerifyError;
use roadstead_proto::auth::v1::{
    CreateBindingRequest, DeleteIdentityRequest, ExchangeRequest, ExchangeResponse, GetIdentityRequest,
    GetLoginOptionsRequest, IssueRegistryTokenRequest, Narrowing, RefreshRequest,
    binding_service_client::BindingServiceClient, iam_identity::Rule,
    identity_service_client::IdentityServiceClient, token_service_client::TokenServiceClient,
};
use roadstead_rpc::{ErrorReason, Peer};
use roadstead_testkit::OidcIssuer;
use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{AUDIENCE, Auth, by, config, eventually, group, issuer, refused};

const CLIENT: &str = "roadstead-cli";
const PULL_WEB: &str = "repository:acme/web:pull";
const DAY: Duration = Duration::from_hours(24);

struct Setup {
    issuer: OidcIssuer,
    auth: Auth,
}

async fn setup() -> Setup {
    setup_with(json!({})).await
}

async fn setup_with(more: Value) -> Setup {
    let (issuer, clock, time) = issuer().await;
    let mut configured = json!({
        "dev": true,
        "issuers": [{
            "issuer": issuer.url(),
            "audience": AUDIENCE,
            "allow_private": true,
            "login": { "client_id": CLIENT, "client_secret": "not-so-secret", "scopes": ["email"] },
        }],
    });
    for (key, value) in more.as_object().unwrap() {
        configured[key] = value.clone();
    }
    let auth = Auth::start(config(configured), clock, time).await;
    Setup { issuer, auth }
}

impl Setup {
    fn identity_token(&self, claims: &Value) -> String {
        let mut all = json!({ "aud": CLIENT, "sub": "alice" });
        for (key, value) in claims.as_object().unwrap() {
            all[key] = value.clone();
        }
        self.issuer.issue(&all)
    }

    async fn log_in(&self) -> ExchangeResponse {
        self.log_in_narrowed(None).await
    }

    async fn log_in_narrowed(&self, narrowing: Option<Narrowing>) -> ExchangeResponse {
        let request = ExchangeRequest {
            identity_token: self.identity_token(&json!({})),
            session: true,
            narrowing,
            ..ExchangeRequest::default()
        };
        self.auth.exchange_as(request).await.unwrap()
    }

    /// Makes Alice a puller of `acme`.
    async fn let_alice_pull(&self, id: &str) {
        let owner = self.auth.owner().await;
        let request = CreateBindingRequest {
            identity: id.to_owned(),
            role: "registry.pull".to_owned(),
            resource: Some(group("acme")),
            conditions: Vec::new(),
        };
        BindingServiceClient::new(self.auth.channel(Peer::Gateway))
            .create_binding(by(&owner, request))
            .await
            .unwrap();
    }

    async fn keep(&self, access_token: &str) -> String {
        let answer = self.auth.ask_registry_token(offline(access_token)).await.unwrap();
        assert!(!answer.refresh_token.is_empty());
        answer.refresh_token
    }
}

fn offline(credential: &str) -> IssueRegistryTokenRequest {
    IssueRegistryTokenRequest {
        credential: credential.to_owned(),
        scopes: vec![PULL_WEB.to_owned()],
        offline: true,
        ..IssueRegistryTokenRequest::default()
    }
}

#[tokio::test]
async fn a_person_is_known_from_the_first_login() {
    let setup = setup().await;
    let answer = setup.log_in().await;
    let [alice] = answer.identities.as_slice() else {
        panic!("one identity, not {:?}", answer.identities)
    };
    assert_eq!(alice.kind, "human");
    assert!(alice.id.starts_with("idn_") && alice.id.len() == 36);
    assert!(!answer.refresh_token.is_empty());
    assert_eq!(answer.refresh_expires_in, 7 * 24 * 3600);
    // The address is taken from a later token that vouches for it, and from no other.
    let owner = setup.auth.owner().await;
    for (claims, expected) in [
        (
            json!({ "email": "mallory@example.com", "email_verified": false }),
            "",
        ),
        (json!({ "email": "mallory@example.com" }), ""),
        (
            json!({ "email": "alice@example.com", "email_verified": true }),
            "alice@example.com",
        ),
    ] {
        setup.auth.exchange(&setup.identity_token(&claims)).await.unwrap();
        let request = GetIdentityRequest {
            identity: alice.id.clone(),
        };
        let found = IdentityServiceClient::new(setup.auth.channel(Peer::Gateway))
            .get_identity(by(&owner, request))
            .await
            .unwrap()
            .into_inner();
        let Some(Rule::Human(human)) = found.identity.unwrap().rule else {
            panic!("Alice is a person")
        };
        assert_eq!(
            (human.subject.as_str(), human.email.as_str()),
            ("alice", expected)
        );
    }
}

#[rstest]
#[case::not_asked_for(CLIENT, false)]
#[case::no_login(AUDIENCE, true)]
#[tokio::test]
async fn only_a_login_that_asks_gets_a_session(#[case] audience: &str, #[case] session: bool) {
    let setup = setup().await;
    let request = ExchangeRequest {
        identity_token: setup.identity_token(&json!({ "aud": audience })),
        session,
        ..ExchangeRequest::default()
    };
    let answer = setup.auth.exchange_as(request).await.unwrap();
    assert!(answer.refresh_token.is_empty() && answer.refresh_expires_in == 0);
}

#[tokio::test]
async fn a_refresh_token_is_replaced_each_time() {
    let setup = setup().await;
    let mut answer = setup.log_in().await;
    let verifier = setup.auth.verifier().await;
    for _ in 0..3 {
        setup.auth.time.advance(Duration::from_mins(40));
        let next = setup.auth.refresh(&answer.refresh_token).await.unwrap();
        assert_ne!(next.refresh_token, answer.refresh_token);
        assert_eq!(next.identities, answer.identities);
        assert_eq!(next.identity.as_ref().unwrap().subject, "alice");
        verifier.access(&next.access_token).unwrap();
        answer = next;
    }
}

#[tokio::test]
async fn the_token_before_gives_the_same_one_for_half_a_minute() {
    let setup = setup().await;
    let first = setup.log_in().await.refresh_token;
    let second = setup.auth.refresh(&first).await.unwrap().refresh_token;
    setup.auth.time.advance(Duration::from_secs(30));
    assert_eq!(setup.auth.refresh(&first).await.unwrap().refresh_token, second);
    setup.auth.refresh(&second).await.unwrap();
}

#[tokio::test]
async fn a_token_that_is_shown_again_later_ends_the_session() {
    let setup = setup().await;
    let verifier = setup.auth.verifier().await;
    let login = setup.log_in().await;
    let second = setup.auth.refresh(&login.refresh_token).await.unwrap();
    setup.auth.time.advance(Duration::from_secs(31));
    assert_eq!(
        refused(setup.auth.refresh(&login.refresh_token).await),
        ErrorReason::TokenInvalid
    );
    // Nobody knows which of the two is the thief: the current token is over too, and so are the access tokens.
    assert_eq!(
        refused(setup.auth.refresh(&second.refresh_token).await),
        ErrorReason::TokenInvalid
    );
    for token in [&login.access_token, &second.access_token] {
        assert_eq!(
            refused(setup.auth.registry_token(token, &[PULL_WEB]).await),
            ErrorReason::TokenInvalid
        );
        eventually("the end of the session", || {
            matches!(verifier.access(token), Err(VerifyError::Revoked(_)))
        })
        .await;
    }
    // Another session of the same person goes on.
    let other = setup.log_in().await;
    setup.auth.refresh(&other.refresh_token).await.unwrap();
}

#[tokio::test]
async fn a_token_from_long_before_ends_the_session_at_once() {
    let setup = setup().await;
    let first = setup.log_in().await.refresh_token;
    let second = setup.auth.refresh(&first).await.unwrap().refresh_token;
    let third = setup.auth.refresh(&second).await.unwrap().refresh_token;
    assert_eq!(
        refused(setup.auth.refresh(&first).await),
        ErrorReason::TokenInvalid
    );
    assert_eq!(
        refused(setup.auth.refresh(&third).await),
        ErrorReason::TokenInvalid
    );
}

#[tokio::test]
async fn a_session_that_is_not_used_ends() {
    let setup = setup().await;
    let login = setup.log_in().await;
    setup.auth.time.advance(Duration::from_secs(7 * 24 * 3600 - 1));
    let next = setup.auth.refresh(&login.refresh_token).await.unwrap();
    setup.auth.time.advance(7 * DAY);
    assert_eq!(
        refused(setup.auth.refresh(&next.refresh_token).await),
        ErrorReason::TokenExpired
    );
}

#[tokio::test]
async fn a_session_ends_however_much_it_is_used() {
    let setup = setup_with(json!({ "session_ttl": "10d" })).await;
    let mut answer = setup.log_in().await;
    for _ in 0..2 {
        setup.auth.time.advance(4 * DAY);
        answer = setup.auth.refresh(&answer.refresh_token).await.unwrap();
    }
    assert_eq!(answer.refresh_expires_in, 2 * 24 * 3600);
    setup.auth.time.advance(2 * DAY);
    assert_eq!(
        refused(setup.auth.refresh(&answer.refresh_token).await),
        ErrorReason::TokenExpired
    );
}

#[tokio::test]
async fn logging_out_ends_everything_that_came_of_the_login() {
    let setup = setup().await;
    let login = setup.log_in().await;
    setup.let_alice_pull(&login.identities[0].id).await;
    let verifier = setup.auth.verifier().await;
    let registry = setup
        .auth
        .registry_token(&login.access_token, &[PULL_WEB])
        .await
        .unwrap();
    assert_eq!(registry.granted_scopes, [PULL_WEB]);
    verifier.registry(&registry.token).unwrap();
    let kept = setup.keep(&login.access_token).await;
    let of_kept = setup.auth.registry_token(&kept, &[PULL_WEB]).await.unwrap();

    // Any of its tokens will do, also one that was replaced.
    let next = setup.auth.refresh(&login.refresh_token).await.unwrap();
    setup.auth.revoke_session(&login.refresh_token).await;
    for token in [&registry.token, &of_kept.token] {
        eventually("the end of the registry token", || {
            matches!(verifier.registry(token), Err(VerifyError::Revoked(_)))
        })
        .await;
        assert_eq!(
            refused(setup.auth.readable(token).await),
            ErrorReason::TokenInvalid
        );
    }
    assert_eq!(
        refused(setup.auth.refresh(&next.refresh_token).await),
        ErrorReason::TokenInvalid
    );
    for credential in [&login.access_token, &next.access_token, &kept] {
        assert_eq!(
            refused(setup.auth.registry_token(credential, &[PULL_WEB]).await),
            ErrorReason::TokenInvalid
        );
    }
    // Again, and of what is no token, is no error.
    setup.auth.revoke_session(&login.refresh_token).await;
    setup.auth.revoke_session("rsr_ses_1.1.AAAA").await;
    setup.auth.revoke_session("").await;
}

#[tokio::test]
async fn a_session_survives_a_restart() {
    let setup = setup().await;
    let login = setup.log_in().await;
    let configured = config(json!({
        "issuers": [{
            "issuer": setup.issuer.url(),
            "audience": AUDIENCE,
            "jwks": json!({ "keys": [setup.issuer.key().jwk()] }).to_string(),
            "login": { "client_id": CLIENT },
        }],
        "dev": true,
    }));
    let (clock, time) = (setup.auth.clock.clone(), setup.auth.time.clone());
    let directory = setup.auth.stop().await;
    let again = Auth::start_in(directory, configured, crate::harness::local(), clock, time)
        .await
        .unwrap();
    again.refresh(&login.refresh_token).await.unwrap();
}

#[tokio::test]
async fn what_a_client_keeps_stays_for_half_a_day() {
    let setup = setup().await;
    let login = setup.log_in().await;
    setup.let_alice_pull(&login.identities[0].id).await;
    let kept = setup.keep(&login.access_token).await;
    for _ in 0..2 {
        setup.auth.time.advance(Duration::from_secs(6 * 3600 - 1));
        let answer = setup.auth.registry_token(&kept, &[PULL_WEB]).await.unwrap();
        assert_eq!(answer.granted_scopes, [PULL_WEB]);
    }
    // What comes of it does not outlive it, and it makes nothing that does.
    let last = setup.auth.ask_registry_token(offline(&kept)).await.unwrap();
    assert_eq!((last.expires_in, last.refresh_token.as_str()), (2, ""));
    setup.auth.time.advance(Duration::from_secs(2));
    assert_eq!(
        refused(setup.auth.registry_token(&kept, &[PULL_WEB]).await),
        ErrorReason::TokenExpired
    );
}

#[tokio::test]
async fn each_refresh_token_is_good_for_one_thing() {
    let setup = setup().await;
    let login = setup.log_in().await;
    let kept = setup.keep(&login.access_token).await;
    assert_eq!(
        refused(setup.auth.refresh(&kept).await),
        ErrorReason::TokenInvalid
    );
    assert_eq!(
        refused(setup.auth.registry_token(&login.refresh_token, &[]).await),
        ErrorReason::TokenInvalid
    );
    assert_eq!(
        refused(setup.auth.refresh(&login.access_token).await),
        ErrorReason::TokenInvalid
    );
    assert_eq!(refused(setup.auth.refresh("").await), ErrorReason::TokenMissing);
    // Another generation of what is kept was never given.
    let other = kept.replacen(".1.", ".2.", 1);
    assert_eq!(
        refused(setup.auth.registry_token(&other, &[]).await),
        ErrorReason::TokenInvalid
    );
    // Both are still good.
    setup.auth.refresh(&login.refresh_token).await.unwrap();
    setup.auth.registry_token(&kept, &[]).await.unwrap();
}

#[tokio::test]
async fn a_session_stays_as_narrow_as_it_was_begun() {
    let setup = setup().await;
    let narrow = |resource: &str| {
        Some(Narrowing {
            resources: vec![resource.to_owned()],
            capabilities: vec!["repo.pull".to_owned()],
        })
    };
    let login = setup.log_in_narrowed(narrow("acme/web")).await;
    setup.let_alice_pull(&login.identities[0].id).await;
    let scopes = [PULL_WEB, "repository:acme/api:pull"];
    let next = setup.auth.refresh(&login.refresh_token).await.unwrap();
    for token in [
        &login.access_token,
        &next.access_token,
        &setup.keep(&next.access_token).await,
    ] {
        let answer = setup.auth.registry_token(token, &scopes).await.unwrap();
        assert_eq!(answer.granted_scopes, [PULL_WEB]);
    }
    // Further is possible, wider is not.
    let refresh = async |narrowing| {
        let request = RefreshRequest {
            refresh_token: next.refresh_token.clone(),
            narrowing,
            ..RefreshRequest::default()
        };
        setup.auth.refresh_as(request).await
    };
    assert_eq!(
        refused(refresh(narrow("acme")).await),
        ErrorReason::ArgumentInvalid
    );
    let further = refresh(narrow("acme/web/inner")).await.unwrap();
    let answer = setup
        .auth
        .registry_token(&further.access_token, &scopes)
        .await
        .unwrap();
    assert!(answer.granted_scopes.is_empty());
}

#[tokio::test]
async fn a_person_who_was_deleted_has_nothing_left() {
    let setup = setup().await;
    let login = setup.log_in().await;
    let id = login.identities[0].id.clone();
    setup.let_alice_pull(&id).await;
    let kept = setup.keep(&login.access_token).await;
    let owner = setup.auth.owner().await;
    IdentityServiceClient::new(setup.auth.channel(Peer::Gateway))
        .delete_identity(by(&owner, DeleteIdentityRequest { identity: id }))
        .await
        .unwrap();
    for credential in [&login.access_token, &kept] {
        assert_eq!(
            refused(setup.auth.registry_token(credential, &[PULL_WEB]).await),
            ErrorReason::TokenInvalid
        );
    }
    // Their session is over as well: somebody who is made again has the same id, and whoever stole the token would share it.
    assert_eq!(
        refused(setup.auth.refresh(&login.refresh_token).await),
        ErrorReason::TokenInvalid
    );
}

#[tokio::test]
async fn a_registry_without_sessions_of_clients_gives_none() {
    let setup = setup_with(json!({ "client_session_ttl": "0s" })).await;
    let login = setup.log_in().await;
    let answer = setup
        .auth
        .ask_registry_token(offline(&login.access_token))
        .await
        .unwrap();
    assert!(answer.refresh_token.is_empty() && !answer.token.is_empty());
}

#[tokio::test]
async fn everybody_may_ask_how_to_log_in() {
    let setup = setup().await;
    let answer = TokenServiceClient::new(setup.auth.channel(Peer::Gateway))
        .get_login_options(GetLoginOptionsRequest {})
        .await
        .unwrap()
        .into_inner();
    let [option] = answer.options.as_slice() else {
        panic!("one way to log in")
    };
    assert_eq!(
        (
            option.issuer.as_str(),
            option.client_id.as_str(),
            option.client_secret.as_str()
        ),
        (setup.issuer.url(), CLIENT, "not-so-secret")
    );
    assert_eq!(option.scopes, ["email"]);
}
