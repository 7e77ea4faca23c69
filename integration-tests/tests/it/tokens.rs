//! The token protocol as clients speak it.

use anyhow::{Context as _, Result};
use reqwest::Method;
use roadstead_integration_tests::cluster::Home;
use roadstead_integration_tests::registry::challenge;
use roadstead_integration_tests::{Cluster, Credential, Mode, Registry, Reply, in_both_modes, ports};
use serde_json::Value;

use crate::identities::Identities;

in_both_modes!(
    ping_challenges_everyone_without_a_token,
    every_form_of_request_gets_a_token,
    empty_credentials_are_nobody,
    scopes_are_merged_and_missing_permissions_are_no_error,
    a_wrong_token_is_refused_with_the_reason,
    an_access_token_is_not_a_registry_token,
    keys_are_published,
    an_issuer_over_tls_needs_no_development_mode,
);

const SCOPE: &str = "repository:tokens/one:pull,push";

async fn ping_challenges_everyone_without_a_token(mode: Mode) -> Result<()> {
    let cluster = Cluster::setup(mode).with_public("").start().await?;
    let reply = cluster
        .anonymous()?
        .get("/v2/")
        .await?
        .expect_error(401, "UNAUTHORIZED")?;
    let challenge = challenge(&reply)?;
    assert_eq!(challenge["realm"], format!("http://{}/token", cluster.address()));
    assert_eq!(challenge["service"], cluster.address());
    assert_eq!(
        reply.headers.get_all("www-authenticate").iter().count(),
        1,
        "clients read one challenge only"
    );

    let session = cluster.developer().await?.session(&[]).await?;
    session.get("/v2/").await?.expect(200)?;
    cluster.stop().await.map(drop)
}

async fn every_form_of_request_gets_a_token(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let access = cluster.access_token().await?;
    let registry = cluster.anonymous()?;
    let service = cluster.address();
    let query = format!("/token?service={service}&scope={SCOPE}");
    let password = [
        ("grant_type", "password"),
        ("service", &service),
        ("client_id", "test"),
        ("scope", SCOPE),
        ("username", "x"),
    ];
    let refresh = [
        ("grant_type", "refresh_token"),
        ("service", &service),
        ("client_id", "test"),
        ("scope", SCOPE),
    ];
    let with = |fields: &[(&'static str, &str)], name: &'static str| {
        fields
            .iter()
            .copied()
            .chain([(name, access.as_str())])
            .map(|(k, v)| (k, v.to_owned()))
            .collect::<Vec<_>>()
    };
    let password = with(&password, "password");
    let refresh = with(&refresh, "refresh_token");

    let replies = [
        registry
            .request(Method::GET, &query)
            .basic("_token", &access)
            .send()
            .await?,
        registry
            .request(Method::GET, &query)
            .basic("<token>", &access)
            .send()
            .await?,
        registry
            .request(Method::GET, &query)
            .basic("anyone", &access)
            .send()
            .await?,
        registry
            .request(Method::GET, &query)
            .header("authorization", &format!("Bearer {access}"))
            .send()
            .await?,
        registry
            .request(Method::POST, "/token")
            .form(&borrowed(&password))
            .send()
            .await?,
        registry
            .request(Method::POST, "/token")
            .form(&borrowed(&refresh))
            .send()
            .await?,
        // skopeo sends the form without a length.
        registry
            .request(Method::POST, "/token")
            .header("content-type", "application/x-www-form-urlencoded")
            .chunked(
                encoded(&password)
                    .as_bytes()
                    .chunks(7)
                    .map(|piece| piece.to_vec().into())
                    .collect(),
            )
            .send()
            .await?,
    ];
    for reply in replies {
        let token = token_in(&reply.expect(200)?)?;
        assert_eq!(granted(&token)?, ["repository:tokens/one:pull,push"]);
        let session = roadstead_integration_tests::Session::new(registry.clone(), token);
        session.open_upload("tokens/one").await?;
    }
    cluster.stop().await.map(drop)
}

async fn empty_credentials_are_nobody(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let registry = cluster.anonymous()?;
    let path = format!("/token?service={}&scope={SCOPE}", cluster.address());
    let replies = [
        registry.get(&path).await?,
        // base64 of ":", which old clients send when they have no credentials.
        registry
            .request(Method::GET, &path)
            .header("authorization", "Basic Og==")
            .send()
            .await?,
    ];
    for reply in replies {
        let token = token_in(&reply.expect(200)?)?;
        assert!(granted(&token)?.is_empty(), "nobody may push");
    }
    cluster.stop().await.map(drop)
}

async fn scopes_are_merged_and_missing_permissions_are_no_error(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let registry = cluster.developer().await?;
    let token = registry
        .token(&[
            "repository:b/ctr:pull",
            "repository:b/ctr:push,pull repository:t/ctr:pull",
            "repository(plugin):b/ctr:delete",
            "repository:t/ctr:unheard-of",
            "something:else:entirely",
        ])
        .await?;
    assert_eq!(
        granted(&token)?,
        ["repository:b/ctr:delete,pull,push", "repository:t/ctr:pull"]
    );
    let all = registry.token(&["repository:b/ctr:*"]).await?;
    let session = roadstead_integration_tests::Session::new(registry, all);
    session.open_upload("b/ctr").await?;
    cluster.stop().await.map(drop)
}

async fn a_wrong_token_is_refused_with_the_reason(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let registry = cluster.anonymous()?;
    let wrong = registry.with(Credential::Token("not-a-token".into()))?;
    wrong
        .ask_token(&[SCOPE])
        .await?
        .expect_error(401, "UNAUTHORIZED")?;

    let reply = registry
        .request(Method::GET, "/v2/tokens/one/tags/list")
        .header("authorization", "Bearer not-a-token")
        .send()
        .await?
        .expect_error(401, "UNAUTHORIZED")?;
    // Without it containerd sends the same token again and again.
    assert_eq!(challenge(&reply)?["error"], "invalid_token");
    cluster.stop().await.map(drop)
}

async fn an_access_token_is_not_a_registry_token(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let access = cluster.access_token().await?;
    let registry = cluster.anonymous()?;
    let swapped = registry
        .request(Method::GET, "/v2/")
        .header("authorization", &format!("Bearer {access}"));
    swapped.send().await?.expect(401)?;

    let registry_token = registry.with(Credential::Token(access))?.token(&[SCOPE]).await?;
    registry
        .with(Credential::Token(registry_token))?
        .ask_token(&[SCOPE])
        .await?
        .expect(401)?;
    cluster.stop().await.map(drop)
}

async fn keys_are_published(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let registry: Registry = cluster.anonymous()?;
    let mut seen = Vec::new();
    for path in ["/.well-known/jwks/access.json", "/.well-known/jwks/registry.json"] {
        let set = registry.get(path).await?.expect(200)?.json()?;
        let keys = set["keys"].as_array().context("a key set")?;
        assert!(!keys.is_empty(), "{path} has keys");
        for key in keys {
            assert!(key.get("d").is_none(), "{path} shows a private key");
            seen.push(key["kid"].as_str().context("a key id")?.to_owned());
        }
    }
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(
        seen.len(),
        count,
        "access and registry tokens must not share a key"
    );
    cluster.stop().await.map(drop)
}

async fn an_issuer_over_tls_needs_no_development_mode(mode: Mode) -> Result<()> {
    let home = Home::new()?;
    let identities = Identities::start_tls(&home.scratch())
        .await?
        .grant("ann", "ann", &["pull", "push"]);
    let setup = identities.configure(Cluster::setup(mode).without_dev());
    let cluster = setup.start_in(home, ports::free()?).await?;
    let registry = cluster.anonymous()?;
    let ann = identities
        .user(&registry, "ann")
        .await?
        .session_for(&["ann/tls"])
        .await?;
    ann.open_upload("ann/tls").await?;
    registry
        .request(Method::POST, "/dev/token")
        .send()
        .await?
        .expect(404)?;

    for wrong in identities.refused() {
        let reply = registry
            .request(Method::POST, "/sts/exchange")
            .header("authorization", &format!("Bearer {wrong}"));
        reply.send().await?.expect_error(401, "UNAUTHORIZED")?;
    }
    cluster.stop().await.map(drop)
}

fn borrowed<'a>(fields: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    fields
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

fn encoded(fields: &[(&'static str, String)]) -> String {
    let pairs: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", value.replace(':', "%3A")))
        .collect();
    pairs.join("&")
}

fn token_in(reply: &Reply) -> Result<String> {
    let body = reply.json()?;
    assert!(
        body["expires_in"].as_u64() >= Some(60),
        "clients take less than a minute for a mistake"
    );
    let token = body["token"]
        .as_str()
        .or(body["access_token"].as_str())
        .context("no token")?;
    Ok(token.to_owned())
}

/// The scopes inside a registry token, sorted.
fn granted(token: &str) -> Result<Vec<String>> {
    use base64::Engine as _;
    let claims = token.split('.').nth(1).context("not a JWT")?;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims)?;
    let claims: Value = serde_json::from_slice(&claims)?;
    let mut scopes = Vec::new();
    for access in claims["access"].as_array().into_iter().flatten() {
        let mut actions: Vec<&str> = access["actions"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        actions.sort_unstable();
        let text = |name: &str| {
            access[name]
                .as_str()
                .map(ToOwned::to_owned)
                .with_context(|| format!("no {name}"))
        };
        scopes.push(format!(
            "{}:{}:{}",
            text("type")?,
            text("name")?,
            actions.join(",")
        ));
    }
    scopes.sort();
    Ok(scopes)
}
