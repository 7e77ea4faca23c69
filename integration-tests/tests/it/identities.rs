//! Users of an OpenID provider, for scenarios with more than one caller.

use anyhow::{Context as _, Result};
use reqwest::Method;
use roadstead_integration_tests::{Credential, Registry, Setup};
use roadstead_testkit::OidcIssuer;
use roadstead_types::Clock;
use serde_json::json;

/// The audience that the registry expects in identity tokens.
const AUDIENCE: &str = "roadstead-tests";

/// An OpenID provider with its users, of whom each scenario grants what it needs.
pub(crate) struct Identities {
    issuer: OidcIssuer,
    grants: Vec<String>,
}

impl Identities {
    /// Starts the provider.
    pub(crate) async fn start() -> Self {
        Self { issuer: OidcIssuer::start(Clock::system()).await, grants: Vec::new() }
    }

    /// `subject` may do `actions` under `prefix`.
    #[must_use]
    pub(crate) fn grant(mut self, subject: &str, prefix: &str, actions: &[&str]) -> Self {
        let issuer = self.issuer.url();
        self.grants.push(format!("{{issuer=\"{issuer}\",subject=\"{subject}\",prefix=\"{prefix}\",actions={actions:?}}}"));
        self
    }

    /// Makes the registry trust the provider and know the grants.
    #[must_use]
    pub(crate) fn configure(&self, setup: Setup) -> Setup {
        let issuer = self.issuer.url();
        setup
            .with("auth.issuers", &format!("[{{issuer=\"{issuer}\",audience=\"{AUDIENCE}\",allow_private=true}}]"))
            .with("auth.grants", &format!("[{}]", self.grants.join(",")))
    }

    /// The registry, called by `subject`.
    pub(crate) async fn user(&self, registry: &Registry, subject: &str) -> Result<Registry> {
        registry.with(Credential::Token(self.access_token(registry, subject).await?))
    }

    /// An access token of `subject`.
    pub(crate) async fn access_token(&self, registry: &Registry, subject: &str) -> Result<String> {
        let identity = self.issuer.issue(&json!({ "sub": subject, "aud": AUDIENCE }));
        let reply = registry
            .request(Method::POST, "/sts/exchange")
            .header("authorization", &format!("Bearer {identity}"))
            .send()
            .await?
            .expect(200)?
            .json()?;
        assert_eq!(reply["identity"]["subject"], subject);
        assert!(reply["expires_in"].as_u64().is_some_and(|seconds| seconds <= 3_600), "an hour at most");
        let token = reply["token"].as_str().context("no access token")?;
        Ok(token.to_owned())
    }
}
