//! What can be asked of an exchange, and for which identities a token then speaks.

use roadstead_proto::auth::v1::{
    ClaimMatch, CreateBindingRequest, CreateIdentityRequest, DeleteIdentityRequest, ExchangeRequest,
    Narrowing, StaticKeys, UpdateIdentityRequest, binding_service_client::BindingServiceClient,
    create_identity_request::Rule, identity_service_client::IdentityServiceClient,
    update_identity_request::Rule as NewRule,
};
use roadstead_rpc::{ErrorReason, Peer, RpcChannel, detail};
use roadstead_testkit::{OidcIssuer, SigningKey};
use rstest::rstest;
use serde_json::{Value, json};
use tonic::Status;

use crate::harness::{AUDIENCE, Auth, by, config, group, issuer, refused, trusting};

const SERVICE: &str = "127.0.0.1:5000";
const PUSH_WEB: &str = "repository:acme/web:push";

struct Setup {
    issuer: OidcIssuer,
    auth: Auth,
    owner: String,
}

async fn setup() -> Setup {
    let (issuer, clock, time) = issuer().await;
    let mut configured = trusting(&issuer);
    configured.grants.clear();
    let auth = Auth::start(configured, clock, time).await;
    let owner = auth.owner().await;
    Setup { issuer, auth, owner }
}

impl Setup {
    fn identities(&self) -> IdentityServiceClient<RpcChannel> {
        IdentityServiceClient::new(self.auth.channel(Peer::Gateway))
    }

    async fn try_create(&self, name: &str, rule: Rule) -> Result<String, Status> {
        let request = CreateIdentityRequest {
            group: String::new(),
            name: name.to_owned(),
            description: String::new(),
            rule: Some(rule),
        };
        let answer = self
            .identities()
            .create_identity(by(&self.owner, request))
            .await?;
        Ok(answer.into_inner().identity.unwrap().id)
    }

    /// Makes an identity that may push to `acme`.
    async fn pusher(&self, name: &str, rule: Rule) -> String {
        let id = self.try_create(name, rule).await.unwrap();
        let request = CreateBindingRequest {
            identity: id.clone(),
            role: "registry.push".to_owned(),
            resource: Some(group("acme")),
            conditions: Vec::new(),
        };
        BindingServiceClient::new(self.auth.channel(Peer::Gateway))
            .create_binding(by(&self.owner, request))
            .await
            .unwrap();
        id
    }

    fn claim_match(&self, subject: &str) -> ClaimMatch {
        ClaimMatch {
            issuer: self.issuer.url().to_owned(),
            subject: subject.to_owned(),
            ..ClaimMatch::default()
        }
    }

    fn token(&self, claims: &Value) -> ExchangeRequest {
        let mut all = json!({ "aud": AUDIENCE, "sub": "ci" });
        for (key, value) in claims.as_object().unwrap() {
            all[key] = value.clone();
        }
        ExchangeRequest {
            identity_token: self.issuer.issue(&all),
            ..ExchangeRequest::default()
        }
    }

    async fn granted(&self, access_token: &str, scopes: &[&str]) -> Vec<String> {
        self.auth
            .registry_token(access_token, scopes)
            .await
            .unwrap()
            .granted_scopes
    }
}

#[tokio::test]
async fn a_token_speaks_for_all_identities_that_match_or_for_the_one_that_is_named() {
    let setup = setup().await;
    let ci = setup
        .pusher("ci", Rule::ClaimMatch(setup.claim_match("ci")))
        .await;
    let by_pattern = ClaimMatch {
        subject: String::new(),
        subject_pattern: "c.".to_owned(),
        ..setup.claim_match("")
    };
    let pattern = setup.pusher("pattern", Rule::ClaimMatch(by_pattern)).await;
    let on_main = ClaimMatch {
        claims: [("ref".to_owned(), "main".to_owned())].into(),
        ..setup.claim_match("ci")
    };
    let main = setup.pusher("main", Rule::ClaimMatch(on_main)).await;

    let ids = async |request: ExchangeRequest| {
        let answer = setup.auth.exchange_as(request).await?;
        let mut ids: Vec<_> = answer
            .identities
            .into_iter()
            .map(|identity| identity.id)
            .collect();
        ids.sort();
        Ok::<_, Status>(ids)
    };
    let sorted = |ids: &[&String]| {
        let mut ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        ids.sort();
        ids
    };
    assert_eq!(
        ids(setup.token(&json!({}))).await.unwrap(),
        sorted(&[&ci, &pattern])
    );
    assert_eq!(
        ids(setup.token(&json!({ "ref": "main" }))).await.unwrap(),
        sorted(&[&ci, &pattern, &main])
    );
    assert!(
        ids(setup.token(&json!({ "sub": "stranger" })))
            .await
            .unwrap()
            .is_empty()
    );

    let named = |identity: &str, claims: Value| ExchangeRequest {
        identity: identity.to_owned(),
        ..setup.token(&claims)
    };
    for reference in [main.as_str(), "main"] {
        let found = ids(named(reference, json!({ "ref": "main" }))).await.unwrap();
        assert_eq!(found, std::slice::from_ref(&main));
    }
    let status = ids(named("main", json!({ "ref": "other" }))).await.unwrap_err();
    assert_eq!(roadstead_rpc::reason(&status), ErrorReason::IdentityUnknown);
    assert!(status.message().contains("ref"), "{}", status.message());
    for unknown in ["nobody", "idn_0", "anonymous"] {
        let outcome = ids(named(unknown, json!({}))).await;
        assert_eq!(refused(outcome), ErrorReason::IdentityUnknown, "{unknown}");
    }
}

#[tokio::test]
async fn whoever_makes_identities_that_match_another_does_not_lock_them_out() {
    let setup = setup().await;
    let vague = || {
        Rule::ClaimMatch(ClaimMatch {
            subject_pattern: "c.".to_owned(),
            ..setup.claim_match("")
        })
    };
    setup.try_create("vague", vague()).await.unwrap();
    let mut expected = Vec::new();
    for index in 0..16 {
        setup.auth.time.advance(std::time::Duration::from_secs(1));
        let rule = Rule::ClaimMatch(setup.claim_match("ci"));
        expected.push(setup.try_create(&format!("ci-{index}"), rule).await.unwrap());
    }
    setup.auth.time.advance(std::time::Duration::from_secs(1));
    let rule = Rule::ClaimMatch(setup.claim_match("ci"));
    setup.try_create("one-more", rule).await.unwrap();
    // Exact before vague, older before newer, and no more than a token holds.
    let answer = setup.auth.exchange_as(setup.token(&json!({}))).await.unwrap();
    let found: Vec<String> = answer
        .identities
        .into_iter()
        .map(|identity| identity.id)
        .collect();
    assert_eq!(found, expected);
    let named = ExchangeRequest {
        identity: "one-more".to_owned(),
        ..setup.token(&json!({}))
    };
    assert_eq!(setup.auth.exchange_as(named).await.unwrap().identities.len(), 1);
}

#[rstest]
#[case::unsaid("", None)]
#[case::service(SERVICE, None)]
#[case::address("http://127.0.0.1:5000", None)]
#[case::another("registry.example", Some(ErrorReason::ArgumentInvalid))]
#[case::start_of_ours("127.0.0.1", Some(ErrorReason::ArgumentInvalid))]
#[tokio::test]
async fn an_exchange_is_for_this_registry(#[case] audience: &str, #[case] expected: Option<ErrorReason>) {
    let setup = setup().await;
    let request = ExchangeRequest {
        audience: audience.to_owned(),
        ..setup.token(&json!({}))
    };
    let outcome = setup.auth.exchange_as(request).await;
    assert_eq!(
        outcome.err().map(|status| roadstead_rpc::reason(&status)),
        expected
    );
}

#[tokio::test]
async fn a_narrowed_token_is_good_for_less() {
    let setup = setup().await;
    setup
        .pusher("ci", Rule::ClaimMatch(setup.claim_match("ci")))
        .await;
    let exchange = async |resources: &[&str], capabilities: &[&str]| {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        let request = ExchangeRequest {
            narrowing: Some(Narrowing {
                resources: owned(resources),
                capabilities: owned(capabilities),
            }),
            ..setup.token(&json!({}))
        };
        setup
            .auth
            .exchange_as(request)
            .await
            .map(|answer| answer.access_token)
    };
    let scopes = ["repository:acme/web:pull,push", "repository:acme/api:pull,push"];
    let whole = exchange(&[], &[]).await.unwrap();
    assert_eq!(setup.granted(&whole, &scopes).await, scopes);
    let web = exchange(&["repository:acme/web"], &[]).await.unwrap();
    assert_eq!(setup.granted(&web, &scopes).await, scopes[..1]);
    let pull = exchange(&[], &["repo.pull"]).await.unwrap();
    assert_eq!(
        setup.granted(&pull, &scopes).await,
        ["repository:acme/web:pull", "repository:acme/api:pull"]
    );
    // Wider than what was given gives no more.
    let wide = exchange(&[""], &["repo.delete", "repo.pull"]).await.unwrap();
    assert_eq!(
        setup
            .granted(&wide, &["repository:acme/web:*", "repository:beta:pull"])
            .await,
        ["repository:acme/web:pull"]
    );
    // The registry token stays as narrow, and says so where it lists.
    let registry = setup.auth.registry_token(&web, &scopes).await.unwrap().token;
    let readable = setup.auth.readable(&registry).await.unwrap();
    assert_eq!(
        (readable.prefixes.len(), readable.repositories),
        (0, vec!["acme/web".to_owned()])
    );
    for (resources, capabilities) in [
        (vec!["ACME"], vec![]),
        (vec!["acme//web"], vec![]),
        (vec!["registry:catalog"], vec![]),
        (vec![], vec!["repo.fly"]),
        (vec![], vec![""]),
    ] {
        assert_eq!(
            refused(exchange(&resources, &capabilities).await),
            ErrorReason::ArgumentInvalid,
            "{resources:?} {capabilities:?}"
        );
    }
}

#[tokio::test]
async fn a_rule_that_changed_does_not_go_on_for_those_who_came_by_the_old_one() {
    let setup = setup().await;
    let id = setup
        .pusher("ci", Rule::ClaimMatch(setup.claim_match("ci")))
        .await;
    let answer = setup.auth.exchange_as(setup.token(&json!({}))).await.unwrap();
    assert_eq!(setup.granted(&answer.access_token, &[PUSH_WEB]).await, [PUSH_WEB]);
    let request = UpdateIdentityRequest {
        identity: id.clone(),
        description: String::new(),
        rule: Some(NewRule::ClaimMatch(setup.claim_match("other"))),
    };
    setup
        .identities()
        .update_identity(by(&setup.owner, request))
        .await
        .unwrap();
    let outcome = setup.auth.registry_token(&answer.access_token, &[PUSH_WEB]).await;
    assert_eq!(refused(outcome), ErrorReason::TokenInvalid);
    let again = setup.auth.exchange_as(setup.token(&json!({}))).await.unwrap();
    assert!(again.identities.is_empty());
    assert!(setup.granted(&again.access_token, &[PUSH_WEB]).await.is_empty());
    let other = setup.token(&json!({ "sub": "other" }));
    let other = setup.auth.exchange_as(other).await.unwrap();
    assert_eq!(setup.granted(&other.access_token, &[PUSH_WEB]).await, [PUSH_WEB]);
    setup
        .identities()
        .delete_identity(by(&setup.owner, DeleteIdentityRequest { identity: id }))
        .await
        .unwrap();
    let outcome = setup.auth.registry_token(&other.access_token, &[PUSH_WEB]).await;
    assert_eq!(refused(outcome), ErrorReason::TokenInvalid);
}

#[tokio::test]
async fn an_audience_is_accepted_for_those_who_name_it_only() {
    let setup = setup().await;
    let special = ClaimMatch {
        audience: "special".to_owned(),
        ..setup.claim_match("ci")
    };
    setup.pusher("special", Rule::ClaimMatch(special)).await;
    let token = |audience: Value| setup.token(&json!({ "aud": audience }));
    let answer = setup.auth.exchange_as(token(json!("special"))).await.unwrap();
    assert_eq!(answer.identities[0].name, "special");
    assert_eq!(setup.granted(&answer.access_token, &[PUSH_WEB]).await, [PUSH_WEB]);
    // The issuer's own audience is no way to an identity that names another.
    let answer = setup.auth.exchange_as(token(json!(AUDIENCE))).await.unwrap();
    assert!(answer.identities.is_empty());
    for audience in [
        json!("other"),
        json!(["special", "other"]),
        json!(["special", AUDIENCE]),
        json!([]),
    ] {
        let outcome = setup.auth.exchange_as(token(audience.clone())).await;
        assert_eq!(refused(outcome), ErrorReason::TokenInvalid, "{audience}");
    }
}

#[tokio::test]
async fn a_token_for_another_audience_costs_no_fetch() {
    let setup = setup().await;
    let outcome = setup
        .auth
        .exchange_as(setup.token(&json!({ "aud": "other" })))
        .await;
    assert_eq!(refused(outcome), ErrorReason::TokenInvalid);
    assert_eq!((setup.issuer.discoveries(), setup.issuer.key_fetches()), (0, 0));
}

fn static_keys(key: &SigningKey, expires_at: i64) -> StaticKeys {
    StaticKeys {
        issuer: "https://robots.example".to_owned(),
        subject: "deployer".to_owned(),
        audience: String::new(),
        jwks_json: json!({ "keys": [key.jwk()] }).to_string(),
        expires_at,
    }
}

#[tokio::test]
async fn a_static_identity_is_known_by_its_registered_keys() {
    let setup = setup().await;
    let now = setup.auth.clock.unix_seconds();
    let key = SigningKey::es256("robot");
    let rule = Rule::Static(static_keys(&key, now + 3600));
    setup.pusher("robot", rule).await;
    let claims = |more: Value| {
        let mut claims = json!({
            "iss": "https://robots.example", "sub": "deployer", "aud": SERVICE, "iat": now, "exp": now + 300,
        });
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    };
    let good = key.sign("JWT", &claims(json!({})));
    let answer = setup.auth.exchange(&good).await.unwrap();
    assert_eq!(answer.identities[0].kind, "static");
    assert_eq!(setup.granted(&answer.access_token, &[PUSH_WEB]).await, [PUSH_WEB]);
    for (claims, expected) in [
        (claims(json!({ "aud": AUDIENCE })), ErrorReason::TokenInvalid),
        (
            claims(json!({ "aud": [SERVICE, "other"] })),
            ErrorReason::TokenInvalid,
        ),
        (claims(json!({ "sub": "other" })), ErrorReason::IssuerUntrusted),
        (
            claims(json!({ "iss": "https://robots.example/" })),
            ErrorReason::IssuerUntrusted,
        ),
        (claims(json!({ "exp": now })), ErrorReason::TokenExpired),
    ] {
        assert_eq!(
            setup.auth.refusal(&key.sign("JWT", &claims)).await,
            expected,
            "{claims}"
        );
    }
    let stranger = SigningKey::es256("robot").sign("JWT", &claims(json!({})));
    assert_eq!(setup.auth.refusal(&stranger).await, ErrorReason::TokenInvalid);
    // A configured issuer's keys do not speak for it, nor it for a configured issuer.
    let wrong_issuer = key.sign(
        "JWT",
        &claims(json!({ "iss": setup.issuer.url(), "aud": AUDIENCE })),
    );
    assert_eq!(setup.auth.refusal(&wrong_issuer).await, ErrorReason::TokenInvalid);

    setup.auth.time.advance(std::time::Duration::from_hours(1));
    let later = claims(json!({ "iat": now + 3600, "exp": now + 3900 }));
    assert_eq!(
        setup.auth.refusal(&key.sign("JWT", &later)).await,
        ErrorReason::TokenInvalid
    );
}

#[rstest]
#[case::private_key(|keys: &mut StaticKeys, _: &Setup| {
    let mut jwks: Value = serde_json::from_str(&keys.jwks_json).unwrap();
    jwks["keys"][0]["d"] = json!("AAAA");
    keys.jwks_json = jwks.to_string();
})]
#[case::symmetric_key(|keys: &mut StaticKeys, _: &Setup| {
    keys.jwks_json = json!({ "keys": [{ "kty": "oct", "kid": "k", "k": "AAAA" }] }).to_string();
})]
#[case::no_key(|keys: &mut StaticKeys, _: &Setup| keys.jwks_json = json!({ "keys": [] }).to_string())]
#[case::no_set(|keys: &mut StaticKeys, _: &Setup| "keys".clone_into(&mut keys.jwks_json))]
#[case::configured_issuer(|keys: &mut StaticKeys, setup: &Setup| setup.issuer.url().clone_into(&mut keys.issuer))]
#[case::this_registry(|keys: &mut StaticKeys, _: &Setup| "http://127.0.0.1:5000".clone_into(&mut keys.issuer))]
#[case::no_url(|keys: &mut StaticKeys, _: &Setup| "roadstead".clone_into(&mut keys.issuer))]
#[case::not_https(|keys: &mut StaticKeys, _: &Setup| "http://robots.example".clone_into(&mut keys.issuer))]
#[case::look_alike(|keys: &mut StaticKeys, setup: &Setup| keys.issuer = format!("{}/", setup.issuer.url()))]
#[case::more_than_a_year(|keys: &mut StaticKeys, _: &Setup| keys.expires_at += 365 * 24 * 3600)]
#[case::expired(|keys: &mut StaticKeys, _: &Setup| keys.expires_at -= 7200)]
#[tokio::test]
async fn keys_that_cannot_be_trusted_are_not_registered(#[case] spoil: fn(&mut StaticKeys, &Setup)) {
    let setup = setup().await;
    let expires_at = setup.auth.clock.unix_seconds() + 3600;
    let mut keys = static_keys(&SigningKey::es256("robot"), expires_at);
    setup
        .try_create("good", Rule::Static(keys.clone()))
        .await
        .unwrap();
    "other".clone_into(&mut keys.subject);
    spoil(&mut keys, &setup);
    let outcome = setup.try_create("bad", Rule::Static(keys)).await;
    assert!(
        matches!(
            refused(outcome),
            ErrorReason::IdentityInvalid | ErrorReason::ArgumentInvalid
        ),
        "it is refused for what it is"
    );
}

#[tokio::test]
async fn a_denial_says_what_was_missing() {
    let setup = setup().await;
    let answer = setup.auth.exchange_as(setup.token(&json!({}))).await.unwrap();
    let registry = setup
        .auth
        .registry_token(&answer.access_token, &[PUSH_WEB])
        .await
        .unwrap();
    let claims = setup.auth.verifier().await.registry(&registry.token).unwrap();
    let name = roadstead_types::RepositoryName::parse("acme/web").unwrap();
    let denied = claims.denial(&name, roadstead_types::Action::Push).unwrap();
    let why = denied.why.as_deref().unwrap();
    assert!(!why.is_empty() && why.len() <= 200, "{why}");
}

#[tokio::test]
async fn issuers_with_keys_in_the_configuration_are_never_asked() {
    let (issuer, clock, time) = issuer().await;
    let jwks = json!({ "keys": [issuer.key().jwk(), issuer.es256_key().jwk()] }).to_string();
    let configured = config(json!({
        "dev": true,
        "issuers": [{ "issuer": issuer.url(), "audience": AUDIENCE, "jwks": jwks }],
    }));
    let auth = Auth::start(configured, clock, time).await;
    let token = issuer.issue(&json!({ "aud": AUDIENCE, "sub": "ci" }));
    auth.exchange(&token).await.unwrap();
    // Keys that the issuer publishes since are none of those.
    issuer.rotate();
    let token = issuer.issue(&json!({ "aud": AUDIENCE, "sub": "ci" }));
    assert_eq!(auth.refusal(&token).await, ErrorReason::TokenInvalid);
    assert_eq!((issuer.discoveries(), issuer.key_fetches()), (0, 0));
}

#[tokio::test]
async fn an_untrusted_issuer_is_named_in_the_refusal() {
    let setup = setup().await;
    let token = setup.token(&json!({ "iss": "https://issuer.example" }));
    let status = setup.auth.exchange_as(token).await.unwrap_err();
    assert_eq!(
        detail(&status, "issuer").as_deref(),
        Some("https://issuer.example")
    );
}
