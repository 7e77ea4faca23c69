//! Pull tokens: the one kind of secret that the registry gives, for clients that can't come with anything better.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use roadstead_integration_tests::deadline::eventually;
use roadstead_integration_tests::gateways::Gateway;
use roadstead_integration_tests::image::Image;
use roadstead_integration_tests::{Credential, Mode, Registry, Session, in_both_modes};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::administration::group;
use crate::clients::{Client, Clients};
use crate::organisation::{Organisation, REVOCATION_LIMIT};

in_both_modes!(
    a_pull_token_pulls_is_listed_and_ends,
    a_rotated_token_overlaps_and_a_narrow_one_is_narrow,
);

/// Longer than the registry collects the uses of tokens before it writes them down.
const USE_LIMIT: Duration = Duration::from_secs(20);

const REPOSITORY: &str = "acme/web";

/// A registry with an image, and the program of its owner, who is logged in.
struct Owner {
    organisation: Organisation,
}

impl Owner {
    async fn start(mode: Mode) -> Result<Self> {
        let organisation = Organisation::start(mode).await?;
        organisation.root.create_group("acme").await?;
        organisation.employ("olivia", "owner", group("acme")).await?;
        let session = organisation
            .person("olivia")
            .await?
            .session_for(&[REPOSITORY, "acme/other"])
            .await?;
        for repository in [REPOSITORY, "acme/other"] {
            session
                .push_image(repository, "latest", &Image::small("web")?)
                .await?;
        }
        let file = organisation.cluster.home().scratch().join("identity-token");
        std::fs::write(&file, organisation.issuers.person("olivia"))?;
        let owner = Self { organisation };
        let (file, address) = (file.display().to_string(), owner.address());
        owner.cli(&["login", "--identity-token", &file, &address]).await?;
        Ok(owner)
    }

    fn address(&self) -> String {
        self.organisation.cluster.address()
    }

    async fn cli(&self, arguments: &[&str]) -> Result<String> {
        let registry = ("ROADSTEAD_REGISTRY".to_owned(), self.address());
        self.organisation.cluster.cli_with(arguments, &[registry]).await
    }

    async fn json(&self, arguments: &[&str]) -> Result<Value> {
        let printed = self.cli(&[arguments, &["-o", "json"]].concat()).await?;
        serde_json::from_str(&printed).with_context(|| format!("not JSON: {printed}"))
    }

    /// What is listed of the token with an id.
    async fn listed(&self, id: &Value) -> Result<Value> {
        let all = self.json(&["pull-token", "list", "--all"]).await?;
        let mut tokens = all.as_array().into_iter().flatten();
        let found = tokens.find(|token| token["id"] == *id);
        Ok(found
            .with_context(|| format!("{id} is not listed: {all}"))?
            .clone())
    }
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("{value} is no text"))
}

/// A registry token of a pull token.
async fn token_of(registry: &Registry, secret: &str, repository: &str) -> Result<String> {
    registry
        .with(Credential::Token(secret.to_owned()))?
        .token(&[&format!("repository:{repository}:pull,push")])
        .await
}

async fn a_pull_token_pulls_is_listed_and_ends(mode: Mode) -> Result<()> {
    let owner = Owner::start(mode).await?;
    let cluster = &owner.organisation.cluster;
    let another = match mode {
        Mode::Split => Some(Gateway::beside(cluster).await?),
        Mode::AllInOne => None,
    };
    let mut gateways = vec![cluster.anonymous()?];
    if let Some(gateway) = &another {
        gateways.push(gateway.anonymous()?);
    }

    let created = owner
        .json(&[
            "pull-token",
            "create",
            "--repo",
            REPOSITORY,
            "--ttl",
            "30d",
            "--name",
            "staging",
        ])
        .await?;
    let (user, secret) = (text(&created["username"])?, text(&created["token"])?);
    ensure!(created["expires_at"].is_string(), "{created}");
    let listed = owner.listed(&created["id"]).await?;
    ensure!(
        listed["token"].is_null() && !listed.to_string().contains(secret),
        "it is shown once: {listed}"
    );

    let image = format!("{REPOSITORY}:latest");
    let clients = Clients::start(&owner.address()).await?;
    clients.log_in(user, secret).await?;
    clients.pull(Client::Docker, &image).await?;
    clients.log_out().await?;
    as_a_kubelet_does(&clients, user, secret, &image).await?;

    let used = eventually("its use is listed", USE_LIMIT, async || {
        let listed = owner.listed(&created["id"]).await?;
        Ok(listed["last_used_at"].is_string().then_some(listed))
    })
    .await?;
    ensure!(text(&used["last_used_from"])?.contains("127.0.0.1"), "{used}");

    // What was minted from it before ends with it, at every gateway, whether that has seen it or not.
    let manifest = format!("/v2/{REPOSITORY}/manifests/latest");
    let mut sessions = Vec::new();
    for is_seen in [true, false] {
        let token = token_of(&gateways[0], secret, REPOSITORY).await?;
        for gateway in &gateways {
            let session = Session::new(gateway.clone(), token.clone());
            if is_seen {
                session.get(&manifest).await?.expect(200)?;
            }
            sessions.push(session);
        }
    }
    owner
        .cli(&["pull-token", "revoke", text(&created["id"])?])
        .await?;
    let revoked = Instant::now();
    for session in &sessions {
        eventually("the token ends", REVOCATION_LIMIT, async || {
            let reply = session.get(&manifest).await?;
            Ok((reply.status != 200).then_some(reply))
        })
        .await?
        .expect_error(401, "UNAUTHORIZED")?;
    }
    ensure!(
        revoked.elapsed() <= REVOCATION_LIMIT,
        "took {:?}",
        revoked.elapsed()
    );
    for gateway in &gateways {
        let holder = gateway.with(Credential::Token(secret.to_owned()))?;
        holder
            .ask_token(&["repository:acme/web:pull"])
            .await?
            .expect_error(401, "UNAUTHORIZED")?;
    }
    if let Some(gateway) = another {
        gateway.stop().await?;
    }
    clients.close().await?;
    owner.organisation.stop().await
}

/// Pulls with nothing but the file that a `kubernetes.io/dockerconfigjson` secret holds.
async fn as_a_kubelet_does(clients: &Clients, user: &str, secret: &str, image: &str) -> Result<()> {
    let registry = clients.sandbox().registry();
    let content = json!({ "auths": { registry: {
        "username": user,
        "password": secret,
        "auth": BASE64_STANDARD.encode(format!("{user}:{secret}")),
    } } });
    let directory = clients.sandbox().work().join("secret");
    std::fs::create_dir(&directory)?;
    std::fs::write(directory.join("config.json"), content.to_string())?;
    let line = format!(
        "DOCKER_CONFIG='{0}' crane digest '{registry}/{image}' && DOCKER_CONFIG='{0}' docker pull '{registry}/{image}'",
        directory.display()
    );
    clients.sandbox().shell(&line).await.map(drop)
}

async fn a_rotated_token_overlaps_and_a_narrow_one_is_narrow(mode: Mode) -> Result<()> {
    let owner = Owner::start(mode).await?;
    let registry = owner.organisation.cluster.anonymous()?;
    let created = owner
        .json(&["pull-token", "create", "--repo", REPOSITORY, "--name", "narrow"])
        .await?;
    let old = text(&created["token"])?.to_owned();
    // As it is shown, so it is asked for.
    let name = text(&created["name"])?;

    // Pull only, and only there, whatever its maker may do.
    for (repository, expected) in [(REPOSITORY, 200), ("acme/other", 403)] {
        let token = token_of(&registry, &old, repository).await?;
        let session = Session::new(registry.clone(), token);
        let manifest = format!("/v2/{repository}/manifests/latest");
        session.get(&manifest).await?.expect(expected)?;
        session
            .request(reqwest::Method::POST, &format!("/v2/{repository}/blobs/uploads/"))
            .send()
            .await?
            .expect(403)?;
    }
    let elsewhere = owner
        .json(&[
            "pull-token",
            "create",
            "--repo",
            REPOSITORY,
            "--name",
            "elsewhere",
            "--cidr",
            "192.0.2.0/24",
        ])
        .await?;
    registry
        .with(Credential::Token(text(&elsewhere["token"])?.to_owned()))?
        .ask_token(&["repository:acme/web:pull"])
        .await?
        .expect_error(401, "UNAUTHORIZED")?;

    let rotated = owner
        .json(&["pull-token", "rotate", name, "--overlap", "1h"])
        .await?;
    let new = text(&rotated["token"])?.to_owned();
    ensure!(new != old && rotated["id"] == created["id"], "{rotated}");
    for secret in [&old, &new] {
        token_of(&registry, secret, REPOSITORY).await?;
    }
    let again = owner.json(&["pull-token", "rotate", name]).await?;
    for (secret, expected) in [
        (&old, 401),
        (&new, 401),
        (&text(&again["token"])?.to_owned(), 200),
    ] {
        registry
            .with(Credential::Token(secret.clone()))?
            .ask_token(&["repository:acme/web:pull"])
            .await?
            .expect(expected)?;
    }
    owner.organisation.stop().await
}
