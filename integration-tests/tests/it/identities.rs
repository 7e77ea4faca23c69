//! Users of an OpenID provider, for scenarios with more than one caller.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use reqwest::Method;
use roadstead_integration_tests::{Credential, Registry, Setup};
use roadstead_testkit::{OidcIssuer, SigningKey, TestCertificates};
use roadstead_types::Clock;
use serde_json::json;

/// The audience that the registry expects in identity tokens.
const AUDIENCE: &str = "roadstead-tests";

/// An OpenID provider with its users, of whom each scenario grants what it needs.
pub(crate) struct Identities {
    issuer: OidcIssuer,
    ca_file: Option<PathBuf>,
    grants: Vec<String>,
}

impl Identities {
    /// Starts the provider on plain HTTP, which registries in development mode take.
    pub(crate) async fn start() -> Self {
        Self {
            issuer: OidcIssuer::start(Clock::system()).await,
            ca_file: None,
            grants: Vec::new(),
        }
    }

    /// Starts the provider with TLS; the authority's certificate goes into `directory`.
    pub(crate) async fn start_tls(directory: &Path) -> Result<Self> {
        let certificates = TestCertificates::mint();
        let ca_file = directory.join("issuer-ca.pem");
        std::fs::write(&ca_file, certificates.authority_pem())?;
        let issuer = OidcIssuer::start_tls(Clock::system(), &certificates).await;
        Ok(Self {
            issuer,
            ca_file: Some(ca_file),
            grants: Vec::new(),
        })
    }

    /// Identity tokens that a registry must not take.
    pub(crate) fn refused(&self) -> Vec<String> {
        let good = json!({ "sub": "ann", "aud": AUDIENCE });
        let with = |name: &str, value: serde_json::Value| {
            let mut claims = good.clone();
            claims[name] = value;
            self.issuer.issue(&claims)
        };
        vec![
            with("aud", json!("another")),
            with("exp", json!(1_000_000_000)),
            with("iss", json!("https://issuer.test")),
            self.issuer.issue_with(&SigningKey::es256("unknown"), &good),
            "not.a.token".to_owned(),
        ]
    }

    /// `subject` may do `actions` under `prefix`.
    #[must_use]
    pub(crate) fn grant(mut self, subject: &str, prefix: &str, actions: &[&str]) -> Self {
        let issuer = self.issuer.url();
        self.grants.push(format!(
            "{{issuer=\"{issuer}\",subject=\"{subject}\",prefix=\"{prefix}\",actions={actions:?}}}"
        ));
        self
    }

    /// Makes the registry trust the provider and know the grants.
    #[must_use]
    pub(crate) fn configure(&self, setup: Setup) -> Setup {
        let issuer = self.issuer.url();
        let ca_file = self
            .ca_file
            .as_ref()
            .map_or_else(String::new, |path| format!(",ca_file=\"{}\"", path.display()));
        let issuers =
            format!("[{{issuer=\"{issuer}\",audience=\"{AUDIENCE}\",allow_private=true{ca_file}}}]");
        setup
            .with("auth.issuers", &issuers)
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
        assert!(
            reply["expires_in"]
                .as_u64()
                .is_some_and(|seconds| seconds <= 3_600),
            "an hour at most"
        );
        let token = reply["token"].as_str().context("no access token")?;
        Ok(token.to_owned())
    }
}
