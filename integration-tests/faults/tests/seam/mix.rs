//! Faults of all kinds at once, for a few hundred pushes and pulls.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use roadstead_integration_tests::Session;
use roadstead_integration_tests::image::Image;
use roadstead_types::Digest;

use crate::wire::{persistently, push_image};
use crate::world::{Plan, Transport, World, over_both_transports};

over_both_transports!(whatever_fails_acknowledged_pushes_are_there_and_events_match);

const REPOSITORY: &str = "mix/one";
const TAGS: u64 = 12;
/// Of all calls between two services.
const PERCENT: u64 = 8;

fn pushes() -> u64 {
    if std::env::var_os("ROADSTEAD_SOAK").is_some() {
        3_000
    } else {
        200
    }
}

async fn whatever_fails_acknowledged_pushes_are_there_and_events_match(transport: Transport) -> Result<()> {
    let plan = Plan::new().over(transport).with("metadata.outbox_lease", "1s");
    let world = plan.start().await?;
    let session = world.session(&[REPOSITORY]).await?;
    world.faults.mix(20_261_124, PERCENT);
    let mut acknowledged = BTreeMap::new();
    for number in 0..pushes() {
        let image = Image::small(&format!("mix {number}"))?;
        let tag = format!("t{}", number % TAGS);
        push_image(&session, REPOSITORY, &tag, &image)
            .await
            .with_context(|| format!("push {number}"))?;
        acknowledged.entry(tag).or_insert_with(Vec::new).push(image);
        pull_one(&session, number, &acknowledged).await?;
    }
    let struck = world.faults.calls("/").struck;
    world.faults.heal();
    ensure!(struck > pushes() / 2, "only {struck} faults struck");

    for (tag, images) in &acknowledged {
        let newest = images.last().context("an image")?;
        ensure!(
            session.pull_everything(REPOSITORY, tag).await? == newest.digest(),
            "{tag}"
        );
        for image in images {
            session
                .pull_everything(REPOSITORY, image.digest().as_str())
                .await?;
        }
    }
    histories_match(&world, &acknowledged)?;
    events_match(&world, &acknowledged).await?;
    world.store.check()?;
    world.stop().await
}

/// Pulls an earlier tag while faults go on.
async fn pull_one(session: &Session, number: u64, pushed: &BTreeMap<String, Vec<Image>>) -> Result<()> {
    let tag = format!("t{}", number / 2 % TAGS);
    let Some(image) = pushed.get(&tag).and_then(|images| images.last()) else {
        return Ok(());
    };
    let path = format!("/v2/{REPOSITORY}/manifests/{tag}");
    let reply = persistently(async || session.get(&path).await)
        .await?
        .expect(200)?;
    ensure!(reply.body == image.manifest, "{tag} is an older image");
    Ok(())
}

/// One line for each push, in order: no push is lost and none is written down twice.
fn histories_match(world: &World, acknowledged: &BTreeMap<String, Vec<Image>>) -> Result<()> {
    for (tag, images) in acknowledged {
        let digests: Vec<_> = world
            .store
            .history(REPOSITORY, tag)?
            .into_iter()
            .filter_map(|change| change.digest)
            .collect();
        let expected: Vec<_> = images.iter().map(|image| image.digest().to_string()).collect();
        ensure!(digests == expected, "{tag}: {digests:?} instead of {expected:?}");
    }
    Ok(())
}

/// The log tells of exactly the versions that there were, each id once.
async fn events_match(world: &World, acknowledged: &BTreeMap<String, Vec<Image>>) -> Result<()> {
    let events = world.store.events().await?;
    let ids: BTreeSet<_> = events.iter().map(|event| event["id"].to_string()).collect();
    ensure!(ids.len() == events.len(), "an event is logged twice");
    let told: BTreeSet<(String, u64, String)> = events
        .iter()
        .map(|event| &event["data"])
        .filter(|data| data["method"] == "PUT")
        .filter_map(|data| {
            let text = |key: &str| Some(data[key].as_str()?.to_owned());
            Some((text("tag")?, data["tag_version"].as_u64()?, text("digest")?))
        })
        .collect();
    let happened = acknowledged.iter().flat_map(|(tag, images)| {
        let version =
            |(index, image): (usize, &Image)| (tag.clone(), index as u64 + 1, name(&image.digest()));
        images.iter().enumerate().map(version)
    });
    let happened: BTreeSet<_> = happened.collect();
    ensure!(
        told == happened,
        "missing: {:?}\nnever happened: {:?}",
        happened.difference(&told),
        told.difference(&happened)
    );
    Ok(())
}

fn name(digest: &Digest) -> String {
    digest.to_string()
}
