//! Somebody else holds the database's write lock, as a backup may.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use roadstead_integration_tests::deadline::eventually;
use roadstead_integration_tests::image::{Image, media};

use crate::world::{Plan, World, unavailable};

const REPOSITORY: &str = "busy/one";
/// How long the services wait for the lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_waits_for_a_short_lock() -> Result<()> {
    let world = World::start().await?;
    let session = world.session(&[REPOSITORY]).await?;
    let image = Image::small("short")?;
    session.push_image(REPOSITORY, "v1", &image).await?;

    let rival = world.store.rival("metadata/metadata.db")?;
    rival.execute_batch("BEGIN IMMEDIATE")?;
    let put = async {
        session
            .put_manifest(REPOSITORY, "v2", media::MANIFEST, &image.manifest)
            .await
    };
    let open = async { session.open_upload(REPOSITORY).await };
    let meanwhile = async {
        eventually("the write has arrived", BUSY_TIMEOUT, async || {
            Ok((world.faults.calls("PutManifest").arrived == 2).then_some(()))
        })
        .await?;
        // Readers wait for nobody.
        ensure!(session.pull_everything(REPOSITORY, "v1").await? == image.digest());
        session
            .get(&format!("/v2/{REPOSITORY}/manifests/v2"))
            .await?
            .expect(404)?;
        rival.execute_batch("ROLLBACK")?;
        Ok(())
    };
    let (put, open, meanwhile) = tokio::join!(put, open, meanwhile);
    meanwhile?;
    open?;
    put?.expect(201)?;
    ensure!(session.pull_everything(REPOSITORY, "v2").await? == image.digest());
    world.store.check()?;
    world.stop().await
}

/// Both at once, for both wait for seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_locks_end_in_a_503_or_in_patience() -> Result<()> {
    tokio::try_join!(
        Box::pin(metadata_gives_up_on_a_long_lock_and_goes_on_after_it()),
        Box::pin(a_log_that_is_locked_for_long_holds_nobody_up_and_misses_nothing()),
    )?;
    Ok(())
}

async fn metadata_gives_up_on_a_long_lock_and_goes_on_after_it() -> Result<()> {
    let world = World::start().await?;
    let session = world.session(&[REPOSITORY]).await?;
    let image = Image::small("long")?;
    session.push_image(REPOSITORY, "v1", &image).await?;

    let rival = world.store.rival("metadata/metadata.db")?;
    rival.execute_batch("BEGIN IMMEDIATE")?;
    let started = Instant::now();
    let put = session.put_manifest(REPOSITORY, "v2", media::MANIFEST, &image.manifest);
    unavailable(put.await?)?;
    ensure!(
        started.elapsed() >= BUSY_TIMEOUT,
        "gave up after {:?}",
        started.elapsed()
    );
    ensure!(session.pull_everything(REPOSITORY, "v1").await? == image.digest());
    rival.execute_batch("ROLLBACK")?;

    session
        .get(&format!("/v2/{REPOSITORY}/manifests/v2"))
        .await?
        .expect(404)?;
    session
        .push_manifest(REPOSITORY, "v2", media::MANIFEST, &image.manifest)
        .await?;
    ensure!(world.store.history(REPOSITORY, "v2")?.len() == 1);
    ensure!(world.store.events_about("busy/one:v2").await?.len() == 1);
    world.store.check()?;
    world.stop().await
}

async fn a_log_that_is_locked_for_long_holds_nobody_up_and_misses_nothing() -> Result<()> {
    let plan = Plan::new().with("metadata.outbox_lease", "1s");
    let world = plan.start().await?;
    let session = world.session(&[REPOSITORY]).await?;
    let failures = async || world.metric("events_drain_failures_total").await;
    let failed_before = failures().await?;

    let rival = world.store.rival("events/events.db")?;
    rival.execute_batch("BEGIN IMMEDIATE")?;
    let started = Instant::now();
    for number in 0..5 {
        let image = Image::small(&format!("log {number}"))?;
        session
            .push_image(REPOSITORY, &format!("v{number}"), &image)
            .await?;
        session.pull_everything(REPOSITORY, &format!("v{number}")).await?;
    }
    ensure!(
        started.elapsed() < BUSY_TIMEOUT,
        "pushes waited for the log: {:?}",
        started.elapsed()
    );
    eventually("the drain gives up once", 4 * BUSY_TIMEOUT, async || {
        Ok((failures().await? > failed_before).then_some(()))
    })
    .await?;
    rival.execute_batch("ROLLBACK")?;

    for number in 0..5 {
        let mut events = world
            .store
            .events_about(&format!("{REPOSITORY}:v{number}"))
            .await?;
        events.retain(|event| event["data"]["method"] == "PUT");
        ensure!(events.len() == 1, "v{number}: {events:?}");
    }
    eventually("pulls are logged too", 4 * BUSY_TIMEOUT, async || {
        let events = world.store.logged()?;
        let pulls = events.iter().filter(|event| event["data"]["method"] == "GET");
        // A manifest and two blobs of each image.
        Ok((pulls.count() == 5 * 3).then_some(()))
    })
    .await?;
    world.stop().await
}
