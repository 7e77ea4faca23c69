//! Pull tokens: their life, and what they are good for.

use std::time::Duration;

use roadstead_authn::VerifyError;
use roadstead_proto::{
    auth::v1::{
        CreateBindingRequest, CreateIdentityRequest, CreatePullTokenRequest, CreatePullTokenResponse,
        ExchangeRequest, IssueRegistryTokenRequest, ListPullTokensRequest, PullToken, Resource,
        RevokePullTokenRequest, RotatePullTokenRequest, RotatePullTokenResponse, StaticKeys,
        binding_service_client::BindingServiceClient, create_identity_request,
        identity_service_client::IdentityServiceClient, pull_token_service_client::PullTokenServiceClient,
    },
    common::v1::RequestContext,
};
use roadstead_rpc::{ErrorReason, Peer, RpcChannel};
use roadstead_testkit::{OidcIssuer, SigningKey};
use rstest::rstest;
use serde_json::json;
use tonic::Status;

use crate::harness::{Auth, by, eventually, group, issuer, refused, repository, trusting};

const PULL_WEB: &str = "repository:acme/web:pull";
const DAY: u64 = 24 * 3600;

struct Setup {
    issuer: OidcIssuer,
    auth: Auth,
    owner: String,
}

async fn setup() -> Setup {
    let (issuer, clock, time) = issuer().await;
    let auth = Auth::start(trusting(&issuer), clock, time).await;
    let owner = auth.owner().await;
    Setup { issuer, auth, owner }
}

fn wanted(name: &str, resources: Vec<Resource>) -> CreatePullTokenRequest {
    CreatePullTokenRequest {
        name: name.to_owned(),
        resources,
        ..CreatePullTokenRequest::default()
    }
}

impl Setup {
    fn client(&self) -> PullTokenServiceClient<RpcChannel> {
        PullTokenServiceClient::new(self.auth.channel(Peer::Gateway))
    }

    async fn create(&self, request: CreatePullTokenRequest) -> CreatePullTokenResponse {
        self.create_as(&self.owner, request).await.unwrap()
    }

    async fn create_as(
        &self,
        access_token: &str,
        request: CreatePullTokenRequest,
    ) -> Result<CreatePullTokenResponse, Status> {
        let answer = self.client().create_pull_token(by(access_token, request)).await;
        answer.map(tonic::Response::into_inner)
    }

    async fn rotate(&self, request: RotatePullTokenRequest) -> RotatePullTokenResponse {
        let answer = self.client().rotate_pull_token(by(&self.owner, request)).await;
        answer.unwrap().into_inner()
    }

    async fn revoke(&self, id: &str) -> Result<(), Status> {
        let request = RevokePullTokenRequest { id: id.to_owned() };
        self.client()
            .revoke_pull_token(by(&self.owner, request))
            .await
            .map(|_| ())
    }

    async fn list(&self, access_token: &str, group: &str, all: bool) -> Vec<PullToken> {
        let request = ListPullTokensRequest {
            group: group.to_owned(),
            all,
            ..ListPullTokensRequest::default()
        };
        let answer = self.client().list_pull_tokens(by(access_token, request)).await;
        answer.unwrap().into_inner().pull_tokens
    }

    async fn web_token(&self) -> CreatePullTokenResponse {
        self.create(wanted("staging", vec![repository("acme/web")])).await
    }

    async fn granted(&self, token: &str, scopes: &[&str]) -> Vec<String> {
        let answer = self.auth.registry_token(token, scopes).await;
        answer.unwrap().granted_scopes
    }
}

#[tokio::test]
async fn a_pull_token_pulls_what_it_is_for_and_does_nothing_else() {
    let setup = setup().await;
    let made = setup.web_token().await;
    assert_eq!(made.username, "staging");
    let about = made.pull_token.unwrap();
    assert!(about.id.starts_with("ptk_") && about.name == "acme/staging");
    assert_eq!(about.resources, [repository("acme/web")]);
    assert_eq!(about.created_by, "dev (http://127.0.0.1:5000/dev)");
    let now = setup.auth.clock.unix_seconds();
    assert_eq!(about.expires_at, now + 30 * 24 * 3600);
    let granted = setup
        .granted(
            &made.token,
            &[
                "repository:acme/web:pull,push,delete",
                "repository:acme/web/inner:pull",
                "repository:acme/api:pull",
            ],
        )
        .await;
    assert_eq!(granted, [PULL_WEB]);
    let registry = setup.auth.registry_token(&made.token, &[PULL_WEB]).await.unwrap();
    let claims = setup.auth.verifier().await.registry(&registry.token).unwrap();
    assert_eq!(claims.principal.issuer, "http://127.0.0.1:5000/pull-tokens");
    assert_eq!(claims.principal.subject, about.id);
    assert_eq!(
        claims.provenance.credential,
        Some(format!("pull-token:{}", about.id))
    );
    // It is no access token, and docker is given nothing to keep in its place.
    let outcome = setup
        .create_as(&made.token, wanted("x", vec![group("acme")]))
        .await;
    assert_eq!(refused(outcome), ErrorReason::TokenInvalid);
    let request = IssueRegistryTokenRequest {
        credential: made.token,
        offline: true,
        ..IssueRegistryTokenRequest::default()
    };
    let answer = setup.auth.ask_registry_token(request).await.unwrap();
    assert_eq!(answer.refresh_token, "");
}

#[tokio::test]
async fn a_pull_token_of_a_group_pulls_all_below_it() {
    let setup = setup().await;
    let made = setup
        .create(wanted("all", vec![group("acme"), repository("beta/web")]))
        .await;
    let scopes = [
        "repository:acme/web/x:pull",
        "repository:beta/web:pull",
        "repository:beta/api:pull",
    ];
    assert_eq!(setup.granted(&made.token, &scopes).await, scopes[..2]);
}

#[tokio::test]
async fn a_secret_that_is_not_exactly_right_is_none() {
    let setup = setup().await;
    let first = setup.web_token().await.token;
    let second = setup
        .create(wanted("other", vec![repository("acme/web")]))
        .await
        .token;
    let (first_id, first_secret) = first.rsplit_once('_').unwrap_or_default();
    let (id, _) = second.split_at(first_id.len());
    for wrong in [
        // The secret of one with the id of the other.
        format!("{id}{}", &first[first_id.len()..]),
        format!("{first}A"),
        first[..first.len() - 1].to_owned(),
        first.to_uppercase(),
        format!("rspt_{}_{}", "0".repeat(32), first_secret),
        "rspt_".to_owned(),
    ] {
        if wrong == first || wrong == second {
            continue;
        }
        let outcome = setup.auth.registry_token(&wrong, &[PULL_WEB]).await;
        assert_eq!(refused(outcome), ErrorReason::TokenInvalid, "{wrong}");
    }
}

/// The id of a pull token is no secret: it is in lists and in the audit.
#[tokio::test]
async fn registered_keys_whose_subject_is_a_pull_token_are_not_the_pull_token() {
    let setup = setup().await;
    let id = setup.web_token().await.pull_token.unwrap().id;
    let now = setup.auth.clock.unix_seconds();
    let key = SigningKey::es256("thief");
    let request = CreateIdentityRequest {
        group: String::new(),
        name: "thief".to_owned(),
        description: String::new(),
        rule: Some(create_identity_request::Rule::Static(StaticKeys {
            issuer: "https://thief.example".to_owned(),
            subject: id.clone(),
            audience: String::new(),
            jwks_json: json!({ "keys": [key.jwk()] }).to_string(),
            expires_at: now + 3600,
        })),
    };
    IdentityServiceClient::new(setup.auth.channel(Peer::Gateway))
        .create_identity(by(&setup.owner, request))
        .await
        .unwrap();
    let claims = json!({
        "iss": "https://thief.example", "sub": id, "aud": "127.0.0.1:5000", "iat": now, "exp": now + 300,
    });
    let token = key.sign("JWT", &claims);
    let named = ExchangeRequest {
        identity_token: token.clone(),
        identity: id,
        ..ExchangeRequest::default()
    };
    assert_eq!(
        refused(setup.auth.exchange_as(named).await),
        ErrorReason::IdentityUnknown
    );
    let answer = setup.auth.exchange(&token).await.unwrap();
    let found: Vec<String> = answer
        .identities
        .into_iter()
        .map(|identity| identity.name)
        .collect();
    assert_eq!(found, ["thief"]);
    assert!(setup.granted(&answer.access_token, &[PULL_WEB]).await.is_empty());
}

#[tokio::test]
async fn a_revoked_token_ends_with_all_that_came_of_it() {
    let setup = setup().await;
    let made = setup.web_token().await;
    let id = made.pull_token.unwrap().id;
    let verifier = setup.auth.verifier().await;
    let registry = setup.auth.registry_token(&made.token, &[PULL_WEB]).await.unwrap();
    verifier.registry(&registry.token).unwrap();
    let revoked_at = tokio::time::Instant::now();
    setup.revoke(&id).await.unwrap();
    eventually("the end of the registry token", || {
        matches!(verifier.registry(&registry.token), Err(VerifyError::Revoked(_)))
    })
    .await;
    assert!(revoked_at.elapsed() < Duration::from_secs(5));
    assert_eq!(
        refused(setup.auth.registry_token(&made.token, &[PULL_WEB]).await),
        ErrorReason::TokenInvalid
    );
    assert_eq!(refused(setup.revoke(&id).await), ErrorReason::NotFound);
    assert!(setup.list(&setup.owner, "acme", false).await.is_empty());
    let listed = setup.list(&setup.owner, "acme", true).await;
    assert_eq!(listed.len(), 1);
    assert!(listed[0].revoked_at > 0 && listed[0].name == "acme/staging");
    // Its name is free.
    let next = setup.web_token().await;
    assert_eq!(setup.granted(&next.token, &[PULL_WEB]).await, [PULL_WEB]);
}

#[tokio::test]
async fn a_rotated_token_has_two_secrets_for_as_long_as_was_said() {
    let setup = setup().await;
    let made = setup.web_token().await;
    let request = RotatePullTokenRequest {
        id: "acme/staging".to_owned(),
        ttl: 0,
        overlap: 3600,
    };
    let next = setup.rotate(request).await;
    assert_ne!(next.token, made.token);
    assert_eq!(next.username, made.username);
    let (before, after) = (made.pull_token.unwrap(), next.pull_token.unwrap());
    assert_eq!((&before.id, before.expires_at), (&after.id, after.expires_at));
    setup.auth.time.advance(Duration::from_secs(3599));
    for token in [&made.token, &next.token] {
        assert_eq!(setup.granted(token, &[PULL_WEB]).await, [PULL_WEB]);
    }
    setup.auth.time.advance(Duration::from_secs(1));
    assert_eq!(
        refused(setup.auth.registry_token(&made.token, &[]).await),
        ErrorReason::TokenInvalid
    );
    assert_eq!(setup.granted(&next.token, &[PULL_WEB]).await, [PULL_WEB]);
}

#[tokio::test]
async fn without_an_overlap_the_old_secret_ends_now() {
    let setup = setup().await;
    let made = setup.web_token().await;
    let id = made.pull_token.unwrap().id;
    let verifier = setup.auth.verifier().await;
    let registry = setup.auth.registry_token(&made.token, &[PULL_WEB]).await.unwrap();
    let request = RotatePullTokenRequest {
        id,
        ttl: 2 * DAY,
        overlap: 0,
    };
    let next = setup.rotate(request).await;
    let now = setup.auth.clock.unix_seconds();
    assert_eq!(next.pull_token.unwrap().expires_at, now + 2 * 24 * 3600);
    assert_eq!(
        refused(setup.auth.registry_token(&made.token, &[]).await),
        ErrorReason::TokenInvalid
    );
    eventually("the end of the registry token", || {
        matches!(verifier.registry(&registry.token), Err(VerifyError::Revoked(_)))
    })
    .await;
    let registry = setup.auth.registry_token(&next.token, &[PULL_WEB]).await.unwrap();
    verifier.registry(&registry.token).unwrap();
}

#[tokio::test]
async fn a_token_expires_and_nothing_that_came_of_it_lives_longer() {
    let setup = setup().await;
    let request = CreatePullTokenRequest {
        ttl: 3600,
        ..wanted("short", vec![repository("acme/web")])
    };
    let made = setup.create(request).await;
    setup.auth.time.advance(Duration::from_mins(59));
    let registry = setup.auth.registry_token(&made.token, &[PULL_WEB]).await.unwrap();
    assert_eq!(registry.expires_in, 60);
    setup.auth.time.advance(Duration::from_mins(1));
    assert_eq!(
        refused(setup.auth.registry_token(&made.token, &[]).await),
        ErrorReason::TokenExpired
    );
    let owner = setup.auth.owner().await;
    assert!(setup.list(&owner, "", false).await.is_empty());
    assert_eq!(setup.list(&owner, "", true).await.len(), 1);
}

#[tokio::test]
async fn what_comes_of_a_pull_token_lives_five_minutes_at_most() {
    let (issuer, clock, time) = issuer().await;
    let mut configured = trusting(&issuer);
    configured.registry_token_ttl = Duration::from_hours(1);
    let auth = Auth::start(configured, clock, time).await;
    let owner = auth.owner().await;
    assert_eq!(auth.registry_token(&owner, &[]).await.unwrap().expires_in, 3600);
    let setup = Setup { issuer, auth, owner };
    let made = setup.web_token().await;
    let registry = setup.auth.registry_token(&made.token, &[PULL_WEB]).await.unwrap();
    assert_eq!(registry.expires_in, 300);
}

#[rstest]
#[case::inside("192.0.2.7", true)]
#[case::inside_as_v6("::ffff:192.0.2.7", true)]
#[case::single_address("2001:db8::1", true)]
#[case::outside("192.0.3.7", false)]
#[case::outside_v6("2001:db8::2", false)]
#[case::unknown("", false)]
#[case::garbage("192.0.2.7.example.com", false)]
#[tokio::test]
async fn a_token_of_networks_is_good_from_these_only(#[case] address: &str, #[case] good: bool) {
    let setup = setup().await;
    let request = CreatePullTokenRequest {
        networks: vec!["192.0.2.0/24".to_owned(), "2001:db8::1".to_owned()],
        ..wanted("office", vec![repository("acme/web")])
    };
    let made = setup.create(request).await;
    let request = IssueRegistryTokenRequest {
        credential: made.token,
        scopes: vec![PULL_WEB.to_owned()],
        context: Some(RequestContext {
            client_address: address.to_owned(),
            ..RequestContext::default()
        }),
        ..IssueRegistryTokenRequest::default()
    };
    let outcome = setup.auth.ask_registry_token(request).await;
    match outcome {
        Ok(answer) => assert!(good && answer.granted_scopes == [PULL_WEB]),
        Err(status) => assert!(!good && roadstead_rpc::reason(&status) == ErrorReason::TokenInvalid),
    }
}

#[tokio::test]
async fn a_list_tells_when_and_from_where_a_token_was_used_also_after_a_restart() {
    let setup = setup().await;
    let made = setup.web_token().await;
    assert_eq!(setup.list(&setup.owner, "acme", false).await[0].last_used_at, 0);
    setup.auth.time.advance(Duration::from_mins(1));
    let request = IssueRegistryTokenRequest {
        credential: made.token,
        context: Some(RequestContext {
            client_address: "192.0.2.7".to_owned(),
            ..RequestContext::default()
        }),
        ..IssueRegistryTokenRequest::default()
    };
    setup.auth.ask_registry_token(request).await.unwrap();
    let used_at = setup.auth.clock.unix_millis();
    let check = |listed: &[PullToken]| {
        assert_eq!(listed.len(), 1);
        assert_eq!(
            (listed[0].last_used_at, listed[0].last_used_from.as_str()),
            (used_at, "192.0.2.7")
        );
    };
    check(&setup.list(&setup.owner, "acme", false).await);
    let Setup { issuer, auth, .. } = setup;
    let (clock, time) = (auth.clock.clone(), auth.time.clone());
    let directory = auth.stop().await;
    let auth = Auth::start_in(directory, trusting(&issuer), crate::harness::local(), clock, time)
        .await
        .unwrap();
    let owner = auth.owner().await;
    let setup = Setup { issuer, auth, owner };
    check(&setup.list(&setup.owner, "acme", false).await);
}

#[tokio::test]
async fn who_may_make_and_see_pull_tokens() {
    let setup = setup().await;
    // A puller and pusher of acme by the configuration's grants.
    let ci = setup
        .auth
        .access_token(&setup.issuer, json!({ "sub": "ci" }))
        .await;
    let outcome = setup
        .create_as(&ci, wanted("mine", vec![repository("acme/web")]))
        .await;
    assert_eq!(refused(outcome), ErrorReason::CapabilityMissing);
    setup.web_token().await;
    assert!(setup.list(&ci, "acme", true).await.is_empty());
    let revoke = RevokePullTokenRequest {
        id: "acme/staging".to_owned(),
    };
    let outcome = setup.client().revoke_pull_token(by(&ci, revoke)).await;
    assert_eq!(
        refused(outcome),
        ErrorReason::NotFound,
        "what it may not see is unknown"
    );

    let binding = CreateBindingRequest {
        identity: "imported-1".to_owned(),
        role: "registry.pull_token_creator".to_owned(),
        resource: Some(group("acme")),
        conditions: Vec::new(),
    };
    BindingServiceClient::new(setup.auth.channel(Peer::Gateway))
        .create_binding(by(&setup.owner, binding))
        .await
        .unwrap();
    setup
        .create_as(&ci, wanted("mine", vec![repository("acme/web")]))
        .await
        .unwrap();
    assert_eq!(setup.list(&ci, "", true).await.len(), 2);
    // Nobody gives what they do not have, and a token belongs to the group above all that it is for.
    for resources in [
        vec![repository("beta/web")],
        vec![group("acme"), group("beta")],
        vec![group("")],
    ] {
        let outcome = setup.create_as(&ci, wanted("more", resources)).await;
        assert_eq!(refused(outcome), ErrorReason::CapabilityMissing);
    }
    let outcome = setup
        .create_as(&ci, wanted("mine", vec![repository("acme/web")]))
        .await;
    assert_eq!(refused(outcome), ErrorReason::AlreadyExists);
}

#[rstest]
#[case::no_resource(wanted("a", Vec::new()), ErrorReason::ArgumentInvalid)]
#[case::no_name(wanted("", vec![group("acme")]), ErrorReason::NameInvalid)]
#[case::name_of_two_parts(wanted("a/b", vec![group("acme")]), ErrorReason::NameInvalid)]
#[case::more_than_a_year(CreatePullTokenRequest { ttl: 365 * DAY + 1, ..wanted("a", vec![group("acme")]) }, ErrorReason::ArgumentInvalid)]
#[case::no_network(CreatePullTokenRequest { networks: vec!["office".to_owned()], ..wanted("a", vec![group("acme")]) }, ErrorReason::ArgumentInvalid)]
#[tokio::test]
async fn what_cannot_be_made_is_refused(
    #[case] request: CreatePullTokenRequest,
    #[case] expected: ErrorReason,
) {
    let setup = setup().await;
    assert_eq!(refused(setup.create_as(&setup.owner, request).await), expected);
}
