//! What the configuration puts in at a start.

use std::sync::Arc;

use roadstead_auth::Config;
use roadstead_proto::auth::v1::{ListBindingsRequest, binding_service_client::BindingServiceClient};
use roadstead_rpc::Peer;
use roadstead_testkit::{OidcIssuer, TestDirectory, test_dir};
use serde_json::{Value, json};

use crate::harness::{AUDIENCE, Auth, by, config, issuer, local, stopped_clock};

async fn start(directory: &Arc<TestDirectory>, configured: Config) -> Auth {
    let (clock, time) = stopped_clock();
    Auth::start_in(directory.clone(), configured, local(), clock, time)
        .await
        .unwrap()
}

fn with(issuer: &OidcIssuer, more: &Value) -> Config {
    let mut value = json!({
        "dev": true,
        "issuers": [{ "issuer": issuer.url(), "audience": AUDIENCE, "allow_private": true }],
    });
    value
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    config(value)
}

async fn granted(auth: &Auth, credential: &str, name: &str) -> Vec<String> {
    let asked = format!("repository:{name}:*");
    auth.registry_token(credential, &[&asked])
        .await
        .unwrap()
        .granted_scopes
}

/// Every binding: name of the identity, role, path.
async fn bindings(auth: &Auth) -> Vec<(String, String, String)> {
    let owner = auth.owner().await;
    let mut client = BindingServiceClient::new(auth.channel(Peer::Gateway));
    let request = ListBindingsRequest {
        page_size: 1000,
        ..ListBindingsRequest::default()
    };
    let answer = client
        .list_bindings(by(&owner, request))
        .await
        .unwrap()
        .into_inner();
    let binding = |binding: roadstead_proto::auth::v1::Binding| {
        (
            binding.identity.unwrap().name,
            binding.role,
            binding.resource.unwrap().path,
        )
    };
    answer.bindings.into_iter().map(binding).collect()
}

#[tokio::test]
async fn grants_become_identities_and_bindings_once() {
    let (issuer, _, _) = issuer().await;
    let grants = |prefix: &str| {
        json!({ "grants": [
            { "issuer": issuer.url(), "subject": "ci", "prefix": prefix, "actions": ["pull", "push"] },
            { "issuer": issuer.url(), "subject": "ci", "prefix": "tools", "actions": ["pull"] },
            { "issuer": issuer.url(), "subject_pattern": "dev-.*", "claims": { "team": "sea" },
              "prefix": "acme/web", "actions": ["push", "delete"] },
            { "anonymous": true, "prefix": "public", "actions": ["pull"] },
        ] })
    };
    let directory = Arc::new(test_dir());
    let auth = start(&directory, with(&issuer, &grants("acme"))).await;
    let mut found = bindings(&auth).await;
    found.retain(|(_, role, _)| role != "owner");
    let expected = |prefix: &str| {
        [
            ("imported-1", "registry.push", prefix),
            ("imported-2", "imported-push-delete", "acme/web"),
            ("anonymous", "registry.pull", "public"),
            ("imported-1", "registry.pull", "tools"),
        ]
        .map(|(name, role, path)| (name.to_owned(), role.to_owned(), path.to_owned()))
    };
    assert_eq!(found, expected("acme"));
    let ci = auth.access_token(&issuer, json!({ "sub": "ci" })).await;
    assert_eq!(
        granted(&auth, &ci, "acme/x").await,
        ["repository:acme/x:pull,push"]
    );
    let dev = auth
        .access_token(&issuer, json!({ "sub": "dev-1", "team": "sea" }))
        .await;
    assert_eq!(
        granted(&auth, &dev, "acme/web").await,
        ["repository:acme/web:push,delete"]
    );
    let other = auth.access_token(&issuer, json!({ "sub": "dev-1" })).await;
    assert!(granted(&auth, &other, "acme/web").await.is_empty());
    assert_eq!(granted(&auth, "", "public/x").await, ["repository:public/x:pull"]);
    auth.stop().await;

    // Whatever they say later, they are not read again.
    let auth = start(&directory, with(&issuer, &grants("elsewhere"))).await;
    let mut found = bindings(&auth).await;
    found.retain(|(_, role, _)| role != "owner");
    assert_eq!(found, expected("acme"));
    auth.stop().await;
    let auth = start(&directory, with(&issuer, &json!({}))).await;
    let ci = auth.access_token(&issuer, json!({ "sub": "ci" })).await;
    assert_eq!(
        granted(&auth, &ci, "acme/x").await,
        ["repository:acme/x:pull,push"]
    );
}

#[tokio::test]
async fn an_identity_of_an_issuer_that_is_no_longer_believed_has_nothing() {
    let (issuer, _, _) = issuer().await;
    let directory = Arc::new(test_dir());
    let grants = json!({ "grants": [
        { "issuer": issuer.url(), "subject": "ci", "prefix": "acme", "actions": ["pull"] },
    ] });
    let auth = start(&directory, with(&issuer, &grants)).await;
    let ci = auth.access_token(&issuer, json!({ "sub": "ci" })).await;
    assert_eq!(granted(&auth, &ci, "acme/x").await, ["repository:acme/x:pull"]);
    auth.stop().await;
    let auth = start(&directory, config(json!({ "dev": true }))).await;
    assert!(granted(&auth, &ci, "acme/x").await.is_empty());
}

#[tokio::test]
async fn the_first_owners_are_made_while_there_is_none() {
    let (issuer, _, _) = issuer().await;
    let directory = Arc::new(test_dir());
    let owners = |subjects: &[&str]| {
        let owners: Vec<_> = subjects
            .iter()
            .map(|subject| json!({ "issuer": issuer.url(), "subject": subject }))
            .collect();
        with(&issuer, &json!({ "bootstrap_owners": owners }))
    };
    let owns = async |auth: &Auth, subject: &str| {
        let token = auth.access_token(&issuer, json!({ "sub": subject })).await;
        !granted(auth, &token, "any/thing").await.is_empty()
    };
    let auth = start(&directory, owners(&["alice", "bob"])).await;
    assert!(owns(&auth, "alice").await && owns(&auth, "bob").await);
    assert!(!owns(&auth, "carol").await);
    auth.stop().await;
    // Carol comes too late.
    let auth = start(&directory, owners(&["carol"])).await;
    assert!(owns(&auth, "alice").await && !owns(&auth, "carol").await);
}

#[tokio::test]
async fn an_owner_who_can_no_longer_come_is_none() {
    let (issuer, _, _) = issuer().await;
    let directory = Arc::new(test_dir());
    // Tried out by a developer at first.
    start(&directory, config(json!({ "dev": true })))
        .await
        .stop()
        .await;
    let owners = json!({ "bootstrap_owners": [{ "issuer": issuer.url(), "subject": "alice" }] });
    let auth = start(&directory, with(&issuer, &owners)).await;
    let alice = auth.access_token(&issuer, json!({ "sub": "alice" })).await;
    assert!(
        granted(&auth, &alice, "any/thing").await.is_empty(),
        "the developer is there"
    );
    auth.stop().await;
    // The issuer of these tests speaks plain HTTP, which only a developer's registry believes: another one takes its place.
    let keys = json!({ "keys": [roadstead_testkit::SigningKey::es256("a").jwk()] }).to_string();
    let elsewhere = "https://issuer.example";
    let served = config(json!({
        "issuers": [{ "issuer": elsewhere, "audience": AUDIENCE, "jwks": keys }],
        "bootstrap_owners": [{ "issuer": elsewhere, "subject": "bob" }],
    }));
    start(&directory, served).await.stop().await;
    let auth = start(&directory, config(json!({ "dev": true }))).await;
    let owners = bindings(&auth)
        .await
        .into_iter()
        .filter(|(_, role, _)| role == "owner");
    assert_eq!(owners.count(), 2);
}

#[tokio::test]
async fn the_developer_owns_everything_at_each_start() {
    let directory = Arc::new(test_dir());
    for _ in 0..2 {
        let auth = start(&directory, config(json!({ "dev": true }))).await;
        let owner = auth.owner().await;
        assert_eq!(
            granted(&auth, &owner, "any/thing").await,
            ["repository:any/thing:pull,push,delete"]
        );
        assert_eq!(bindings(&auth).await.len(), 1);
        auth.stop().await;
    }
    // Without it nobody does.
    let auth = start(&directory, config(json!({}))).await;
    let answer = auth
        .registry_token("", &["repository:any/thing:*"])
        .await
        .unwrap();
    assert!(answer.granted_scopes.is_empty());
}
