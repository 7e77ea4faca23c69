//! Roadstead, as a user starts it: authentication and access log are on, and cannot be had otherwise.

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use roadstead_integration_tests::cluster::Home;
use roadstead_integration_tests::registry::Credential;
use roadstead_integration_tests::{Cluster, Mode, ports, programs};

use super::permissions::{self, Permissions};
use super::{Host, Peer, Purpose, Running, basic, said};
use crate::api::Api;
use crate::cases::{Case, Shelf};
use crate::content::{Content, IMAGE, PUSHED, TAG, repository, tag};
use crate::plan::Plan;
use crate::proc::Family;

/// Tags of one manifest PUT while the repositories are filled: the most that the default configuration takes.
const TAGS_PER_PUT: usize = 64;
/// PUTs under way at a time, so that one commit carries several.
const PUTS_AT_ONCE: usize = 8;
/// A million tags take longer than a registry token lasts.
const PUTS_PER_TOKEN: usize = 2_000;

const PARTS: [&str; 5] = ["gateway", "auth", "metadata", "blobs", "events"];

pub(super) fn split_version() -> Result<String> {
    for part in PARTS {
        programs::ours(&format!("roadstead-{part}"))?;
    }
    said(&programs::ours("roadstead")?, "--version")
}

pub(super) async fn start(peer: Peer, mode: Mode, plan: &Plan) -> Result<Running> {
    let permissions = Permissions::new()?;
    let cluster = Cluster::setup(mode)
        .with("auth.issuers", &permissions.issuer())
        .start_in(Home::new_in(&plan.data)?, ports::free()?)
        .await?;
    let process = cluster.process().id().context("no process")?;
    Ok(Running {
        peer,
        port: cluster.port(),
        family: match mode {
            Mode::AllInOne => Family::of(process),
            Mode::Split => Family::launched_by(process),
        },
        data: cluster.home().data(),
        host: Some(Host::Roadstead {
            access_token: cluster.access_token().await?,
            cluster: Box::new(cluster),
            permissions,
        }),
    })
}

pub(super) async fn authorization(cluster: &Cluster, access_token: &str, purpose: Purpose) -> Result<String> {
    let scopes: Vec<String> = match purpose {
        Purpose::Token | Purpose::TokenMany | Purpose::Exchange => {
            return Ok(basic(access_token));
        }
        Purpose::Push => vec![format!("repository:{PUSHED}:pull,push")],
        Purpose::Pull => [IMAGE, repository(Shelf::Few), repository(Shelf::Many)]
            .map(|name| format!("repository:{name}:pull"))
            .into(),
        Purpose::Fill => [IMAGE, PUSHED, repository(Shelf::Few), repository(Shelf::Many)]
            .map(|name| format!("repository:{name}:pull,push"))
            .into(),
    };
    let registry = cluster
        .anonymous()?
        .with(Credential::Token(access_token.to_owned()))?;
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    Ok(format!("Bearer {}", registry.token(&scopes).await?))
}

pub(super) async fn fill(running: &Running, plan: &Plan, content: &Content) -> Result<()> {
    if plan.has(Case::TokenMany) || plan.has(Case::Exchange) {
        permissions::fill(&running.data, plan.sizes.identities)?;
    }
    let api = Api::new(running.port, running.authorization(Purpose::Fill).await?)?;
    api.push_image(IMAGE, TAG, content).await?;
    for shelf in Shelf::needed(plan, running.peer) {
        let repository = repository(shelf);
        api.mount_image(repository, TAG, content).await?;
        let tags: Vec<String> = (0..content.tags(shelf)).map(tag).collect();
        for part in tags.chunks(TAGS_PER_PUT * PUTS_PER_TOKEN) {
            let api = Api::new(running.port, running.authorization(Purpose::Fill).await?)?;
            let puts = part.chunks(TAGS_PER_PUT).map(async |tags| {
                let reference = format!("{}?tag={}", content.manifest_digest, tags.join("&tag="));
                api.push_manifest(repository, &reference, content).await
            });
            let puts = futures::stream::iter(puts).buffer_unordered(PUTS_AT_ONCE);
            puts.try_collect::<Vec<()>>().await?;
        }
    }
    Ok(())
}
