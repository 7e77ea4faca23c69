//! The machine's clock leaps.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use roadstead_integration_tests::deadline::eventually;
use roadstead_integration_tests::image::{Image, noise, sha256};
use roadstead_integration_tests::registry::challenge;
use roadstead_integration_tests::{Reply, Session};
use roadstead_types::Clock;

use crate::world::{PATIENCE, Plan};

const REPOSITORY: &str = "clock/one";
const HOUR: Duration = Duration::from_hours(1);

fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_hours(500_000)
}

/// Requires the answer upon which clients get another token.
fn asks_for_another_token(reply: Reply) -> Result<()> {
    let challenge = challenge(&reply.expect_error(401, "UNAUTHORIZED")?)?;
    ensure!(challenge["error"] == "invalid_token", "{challenge:?}");
    ensure!(
        challenge["scope"].starts_with("repository:clock/one:"),
        "{challenge:?}"
    );
    Ok(())
}

async fn pull(session: &Session) -> Result<Reply> {
    session.get(&format!("/v2/{REPOSITORY}/manifests/v1")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leap_forward_ends_tokens_but_not_what_was_begun_or_logged() -> Result<()> {
    let (clock, control) = Clock::fixed(start());
    let plan = Plan::new()
        .with_clock(&clock)
        .with("metadata.reaper_interval", "10ms")
        .with("events.retention", "2h")
        .with("events.prune_interval", "10ms");
    let world = plan.start().await?;
    let session = world.session(&[REPOSITORY]).await?;
    let image = Image::small("forward")?;
    session.push_image(REPOSITORY, "v1", &image).await?;
    let bytes = noise(31, 400_000);
    let begun = session.open_upload(REPOSITORY).await?;
    let begun = session.append(&begun, 0, &bytes[..150_000]).await?;
    let idle = session.open_upload(REPOSITORY).await?;
    let logged = world.store.events().await?.len();

    control.set(start() + 25 * HOUR);
    asks_for_another_token(pull(&session).await?)?;
    world
        .registry
        .ask_token(&["repository:clock/one:pull"])
        .await?
        .expect(401)?;
    // Both would have taken what seems a day old by now.
    for rounds in [
        "metadata_reaper_rounds_total{outcome=\"put_off\"}",
        "events_prune_rounds_total{outcome=\"put_off\"}",
    ] {
        eventually("it looks at the clock", PATIENCE, async || {
            Ok((world.metric(rounds).await? >= 3.0).then_some(()))
        })
        .await?;
    }

    let session = world.log_in().await?.session_for(&[REPOSITORY]).await?;
    ensure!(session.pull_everything(REPOSITORY, "v1").await? == image.digest());
    let begun = session.append(&begun, 150_000, &bytes[150_000..]).await?;
    session.finish(&begun, &sha256(&bytes), &[]).await?.expect(201)?;
    ensure!(world.store.events().await?.len() > logged, "nothing was pruned");

    // The clock was right to leap: after a while that is believed.
    control.advance(HOUR + Duration::from_mins(1));
    let session = world.log_in().await?.session_for(&[REPOSITORY]).await?;
    eventually("the idle upload is reaped", PATIENCE, async || {
        Ok((session.get(&idle).await?.status == 404).then_some(()))
    })
    .await?;
    eventually("what is older than two hours is pruned", PATIENCE, async || {
        let events = world.store.logged()?;
        let old = events
            .iter()
            .filter(|event| event["subject"] == "clock/one:v1" && event["data"]["method"] == "PUT");
        Ok((old.count() == 0).then_some(()))
    })
    .await?;
    ensure!(session.pull_everything(REPOSITORY, "v1").await? == image.digest());
    world.store.check()?;
    world.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leap_backward_loses_nothing_and_keeps_the_order() -> Result<()> {
    let (clock, control) = Clock::fixed(start());
    let plan = Plan::new()
        .with_clock(&clock)
        .with("metadata.reaper_interval", "10ms");
    let world = plan.start().await?;
    let session = world.session(&[REPOSITORY]).await?;
    let unused = world.session(&[REPOSITORY]).await?;
    let images = [
        Image::small("back 1")?,
        Image::small("back 2")?,
        Image::small("back 3")?,
    ];
    session.push_image(REPOSITORY, "v1", &images[0]).await?;
    let bytes = noise(32, 400_000);
    let begun = session.open_upload(REPOSITORY).await?;
    let begun = session.append(&begun, 0, &bytes[..150_000]).await?;

    control.set(start() - HOUR);
    // Nobody can tell whether a token from the future is ours from before the leap, so it is good for nothing.
    asks_for_another_token(pull(&unused).await?)?;
    world
        .registry
        .ask_token(&["repository:clock/one:pull"])
        .await?
        .expect(401)?;
    let session = world.log_in().await?.session_for(&[REPOSITORY]).await?;
    ensure!(session.pull_everything(REPOSITORY, "v1").await? == images[0].digest());
    let begun = session.append(&begun, 150_000, &bytes[150_000..]).await?;
    session.finish(&begun, &sha256(&bytes), &[]).await?.expect(201)?;
    session.push_image(REPOSITORY, "v1", &images[1]).await?;
    world.store.events().await?;
    control.set(start());
    session_again(&world, &images[2]).await?;

    let history = world.store.history(REPOSITORY, "v1")?;
    let digests: Vec<_> = history
        .iter()
        .filter_map(|change| change.digest.clone())
        .collect();
    ensure!(digests == images.each_ref().map(|image| image.digest().to_string()));
    let events = world.store.events().await?;
    let ids: BTreeSet<_> = events.iter().map(|event| event["id"].to_string()).collect();
    ensure!(ids.len() == events.len());
    let about = events
        .iter()
        .filter(|event| event["subject"] == "clock/one:v1" && event["data"]["method"] == "PUT");
    let versions: Vec<_> = about
        .filter_map(|event| event["data"]["tag_version"].as_u64())
        .collect();
    ensure!(versions == [1, 2, 3], "{versions:?}");
    world.store.check()?;
    world.stop().await
}

async fn session_again(world: &crate::world::World, image: &Image) -> Result<()> {
    let session = world.log_in().await?.session_for(&[REPOSITORY]).await?;
    session.push_image(REPOSITORY, "v1", image).await.map(drop)
}

/// As the clocks of two machines differ.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_few_seconds_backward_are_no_leap() -> Result<()> {
    let (clock, control) = Clock::fixed(start());
    let world = Plan::new().with_clock(&clock).start().await?;
    let session = world.session(&[REPOSITORY]).await?;
    session
        .push_image(REPOSITORY, "v1", &Image::small("seconds")?)
        .await?;
    let unused = world.session(&[REPOSITORY]).await?;
    control.set(start() - Duration::from_secs(3));
    pull(&unused).await?.expect(200)?;
    world
        .registry
        .ask_token(&["repository:clock/one:pull"])
        .await?
        .expect(200)?;
    world.stop().await
}
