//! A registry of an organisation: its people and its workloads come from issuers, and its first owner from configuration.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::Method;
use roadstead_integration_tests::cluster::Home;
use roadstead_integration_tests::deadline::eventually;
use roadstead_integration_tests::{Cluster, Credential, Mode, Registry, Reply, Setup, ports};
use roadstead_proto::auth::v1::ClaimMatch;
use roadstead_proto::events::v1::ListEventsRequest;
use roadstead_testkit::{GitHubJob, OidcIssuer, TestCertificates, Workload};
use roadstead_types::Clock;
use serde_json::{Value, json};

use crate::administration::Administration;

/// The client of the people's issuer that logs people in, and so the audience of their tokens.
pub(crate) const LOGIN_CLIENT: &str = "roadstead-cli";
/// What workloads ask their platforms' tokens for.
pub(crate) const AUDIENCE: &str = "registry.acme.example";
/// The owner whom the configuration names.
pub(crate) const FIRST_OWNER: &str = "root";

/// Whose tokens the registry takes. People's issuer is reached over HTTPS; the platforms' keys are in the configuration,
/// so that their tokens can be exactly as they issue them, with their own `iss`.
pub(crate) struct Issuers {
    pub(crate) people: OidcIssuer,
    pub(crate) platforms: OidcIssuer,
    ca_file: PathBuf,
    trusted: Vec<String>,
}

impl Issuers {
    /// Starts the issuers; the registry is to trust GitHub's, and the given ones besides.
    pub(crate) async fn start(home: &Home, more: &[&Workload]) -> Result<Self> {
        let certificates = TestCertificates::mint();
        let ca_file = home.scratch().join("people-ca.pem");
        std::fs::write(&ca_file, certificates.authority_pem())?;
        let trusted = more.iter().map(|workload| workload.issuer().to_owned());
        Ok(Self {
            people: OidcIssuer::start_tls(Clock::system(), &certificates).await,
            platforms: OidcIssuer::start(Clock::system()).await,
            ca_file,
            trusted: [GitHubJob::ISSUER.to_owned()]
                .into_iter()
                .chain(trusted)
                .collect(),
        })
    }

    /// Makes a registry trust the issuers and know its first owner.
    pub(crate) fn configure(&self, setup: Setup) -> Setup {
        let people = self.people.url();
        // A document in a text: quotes and all.
        let keys = Value::from(self.platforms.key_set().to_string());
        let mut issuers = vec![format!(
            "{{issuer=\"{people}\",audience=\"{AUDIENCE}\",allow_private=true,ca_file=\"{}\",login={{client_id=\"{LOGIN_CLIENT}\"}}}}",
            self.ca_file.display()
        )];
        issuers.extend(self.trusted.iter().map(|issuer| {
            format!("{{issuer=\"{issuer}\",audience=\"{AUDIENCE}\",workload=true,jwks={keys}}}")
        }));
        setup
            .without_dev()
            .with("auth.issuers", &format!("[{}]", issuers.join(",")))
            .with(
                "auth.bootstrap_owners",
                &format!("[{{issuer=\"{people}\",subject=\"{FIRST_OWNER}\"}}]"),
            )
    }

    /// An identity token of a person, as their login gives it.
    pub(crate) fn person(&self, name: &str) -> String {
        self.people.issue(&json!({
            "sub": name,
            "aud": LOGIN_CLIENT,
            "email": format!("{name}@acme.example"),
            "email_verified": true,
        }))
    }

    /// An identity token of a workload.
    pub(crate) fn workload(&self, workload: &Workload) -> String {
        self.platforms.issue_workload(workload, AUDIENCE)
    }
}

/// A running registry with its issuers.
pub(crate) struct Organisation {
    pub(crate) cluster: Cluster,
    pub(crate) issuers: Issuers,
    /// The first owner.
    pub(crate) root: Administration,
}

impl Organisation {
    pub(crate) async fn start(mode: Mode) -> Result<Self> {
        Self::start_with(mode, &[], |setup| setup).await
    }

    pub(crate) async fn start_with(
        mode: Mode,
        trusted: &[&Workload],
        configure: impl FnOnce(Setup) -> Setup,
    ) -> Result<Self> {
        let home = Home::new()?;
        let issuers = Issuers::start(&home, trusted).await?;
        let setup = configure(issuers.configure(Cluster::setup(mode)));
        let cluster = setup.start_in(home, ports::free()?).await?;
        let token = access_token(&cluster.anonymous()?, &issuers.person(FIRST_OWNER)).await?;
        let root = Administration::of(&cluster, &token).await?;
        Ok(Self {
            cluster,
            issuers,
            root,
        })
    }

    /// An access token for the bearer of an identity token.
    pub(crate) async fn access_token(&self, identity_token: &str) -> Result<String> {
        access_token(&self.cluster.anonymous()?, identity_token).await
    }

    /// The registry, called by the bearer of an identity token.
    pub(crate) async fn caller(&self, identity_token: &str) -> Result<Registry> {
        let token = self.access_token(identity_token).await?;
        self.cluster.anonymous()?.with(Credential::Token(token))
    }

    /// The registry, called by a workload.
    pub(crate) async fn workload(&self, workload: &Workload) -> Result<Registry> {
        self.caller(&self.issuers.workload(workload)).await
    }

    /// The registry, called by a person.
    pub(crate) async fn person(&self, name: &str) -> Result<Registry> {
        self.caller(&self.issuers.person(name)).await
    }

    /// Gives a person a role before their first login.
    pub(crate) async fn employ(
        &self,
        name: &str,
        role: &str,
        resource: roadstead_proto::auth::v1::Resource,
    ) -> Result<()> {
        let person = self.root.create_human(self.issuers.people.url(), name).await?;
        self.root.bind(&person.id, role, resource, &[]).await?;
        Ok(())
    }

    /// Stops the registry and starts it again.
    pub(crate) async fn restart(self) -> Result<Self> {
        let cluster = self.cluster.restart().await?;
        Ok(Self { cluster, ..self })
    }

    /// Stops the registry and keeps what it left.
    pub(crate) async fn stop_and_keep(self) -> Result<Home> {
        self.cluster.stop().await
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.cluster.stop().await.map(drop)
    }
}

/// Exchanges an identity token in the simple form; the answer is not judged.
pub(crate) async fn exchange(registry: &Registry, identity_token: &str) -> Result<Reply> {
    registry
        .request(Method::POST, "/sts/exchange")
        .header("authorization", &format!("Bearer {identity_token}"))
        .send()
        .await
}

/// Exchanges an identity token, which must work.
pub(crate) async fn exchanged(registry: &Registry, identity_token: &str) -> Result<Value> {
    exchange(registry, identity_token).await?.expect(200)?.json()
}

async fn access_token(registry: &Registry, identity_token: &str) -> Result<String> {
    let answer = exchanged(registry, identity_token).await?;
    let token = answer["access_token"].as_str().context("no access token")?;
    Ok(token.to_owned())
}

/// The rule by which exactly this workload is known: its issuer and its subject.
pub(crate) fn exactly(workload: &Workload) -> ClaimMatch {
    ClaimMatch {
        issuer: workload.issuer().to_owned(),
        subject: workload.subject().to_owned(),
        ..ClaimMatch::default()
    }
}

/// Within this, what was revoked is refused by every gateway.
pub(crate) const REVOCATION_LIMIT: Duration = Duration::from_secs(5);

/// Longer than an event takes from a service's outbox to the log.
pub(crate) const EVENT_LIMIT: Duration = Duration::from_secs(20);

/// The events that the first owner sees now, by the beginning of their type.
pub(crate) async fn events(organisation: &Organisation, kind: &str) -> Result<Vec<Value>> {
    let request = ListEventsRequest {
        page_size: 1_000,
        type_prefix: kind.to_owned(),
        ..ListEventsRequest::default()
    };
    let page = organisation
        .root
        .events()
        .list_events(request)
        .await?
        .into_inner();
    let events = page.events.iter();
    events
        .map(|event| serde_json::from_slice(&event.cloudevent_json).context("an event is JSON"))
        .collect()
}

/// Waits until the first owner sees an event of a type by somebody.
pub(crate) async fn seen(organisation: &Organisation, kind: &str, actor: &str) -> Result<Value> {
    eventually(&format!("{kind} by {actor} is seen"), EVENT_LIMIT, async || {
        let events = events(organisation, kind).await?;
        Ok(events
            .into_iter()
            .find(|event| event["data"]["actor"]["subject"] == actor))
    })
    .await
}
