//! Streams that break in the middle.

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use roadstead_integration_tests::Session;
use roadstead_integration_tests::image::{noise, sha256};
use roadstead_integration_tests::registry::with_query;
use roadstead_testkit::RpcFault::{self, RequestReset, ResponseReset};

use crate::wire::{download, received};
use crate::world::{Plan, Transport, over_both_transports, unavailable};

over_both_transports!(
    an_upload_broken_on_the_way_there_at_every_message_goes_on,
    an_upload_broken_on_the_way_back_at_every_message_goes_on,
    a_download_broken_at_every_message_is_seen_and_goes_on,
    several_ranges_broken_on_the_way_are_seen,
);

const REPOSITORY: &str = "resets/one";

/// More messages than any of these streams has.
const ENOUGH: usize = 60;

/// Breaks the stream at every message, until one upload has fewer messages than that.
async fn break_everywhere(transport: Transport, fault: fn(usize) -> RpcFault) -> Result<()> {
    let plan = Plan::new()
        .over(transport)
        .with("blobs.checkpoint_interval", 65_536);
    let world = plan.start().await?;
    let session = world.session(&[REPOSITORY]).await?;
    for index in 0..ENOUGH {
        let bytes = noise(u64::try_from(index)?, 300_000);
        world.faults.next("BlobWriteService/Append", 1, fault(index));
        let was_broken = upload(&session, &bytes)
            .await
            .with_context(|| format!("broken at message {index}"))?;
        world.faults.heal();
        let path = format!("/v2/{REPOSITORY}/blobs/{}", sha256(&bytes));
        ensure!(
            session.get(&path).await?.expect(200)?.body == bytes,
            "broken at message {index}"
        );
        if !was_broken {
            ensure!(index >= 4, "only {index} messages were lost");
            world.store.check()?;
            return world.stop().await;
        }
    }
    anyhow::bail!("the stream has no end")
}

/// Uploads in one PATCH, and when that breaks goes on from where the registry says. Tells whether it broke.
async fn upload(session: &Session, bytes: &[u8]) -> Result<bool> {
    let location = session.open_upload(REPOSITORY).await?;
    let pieces = bytes.chunks(50_000).map(|piece| piece.to_vec().into()).collect();
    let patch = session.request(Method::PATCH, &location).chunked(pieces);
    let reply = patch.send().await?;
    let was_broken = reply.status == 503;
    if was_broken {
        let reply = unavailable(reply)?;
        // With these a client can go on at once.
        let told = received(&reply)?;
        ensure!(reply.location()? == location);
        let have = received(&session.get(&location).await?.expect(204)?)?;
        ensure!(have == told, "the failure said {told}, the session {have}");
        if have < bytes.len() {
            session.append(&location, have, &bytes[have..]).await?;
        }
    } else {
        reply.expect(202)?;
    }
    let finish = with_query(&location, "digest", sha256(bytes).as_str());
    session.request(Method::PUT, &finish).send().await?.expect(201)?;
    Ok(was_broken)
}

async fn an_upload_broken_on_the_way_there_at_every_message_goes_on(transport: Transport) -> Result<()> {
    break_everywhere(transport, RequestReset).await
}

async fn an_upload_broken_on_the_way_back_at_every_message_goes_on(transport: Transport) -> Result<()> {
    break_everywhere(transport, ResponseReset).await
}

/// A client must never take a part for the whole.
async fn a_download_broken_at_every_message_is_seen_and_goes_on(transport: Transport) -> Result<()> {
    let world = Plan::new().over(transport).start().await?;
    let session = world.session(&[REPOSITORY]).await?;
    let bytes = noise(7, 3_000_000);
    let digest = session.push_blob(REPOSITORY, &bytes).await?;
    let path = format!("/v2/{REPOSITORY}/blobs/{digest}");
    let mut broken = 0;
    for index in 0..ENOUGH {
        world.faults.next("BlobReadService/Read", 1, ResponseReset(index));
        let got = download(&session, world.registry.base(), &path, 0).await?;
        if got.status == Some(503) {
            ensure!(index == 0, "nothing but the first message can become a status");
            continue;
        }
        ensure!(got.status.is_none_or(|status| status == 200), "{:?}", got.status);
        ensure!(
            bytes.starts_with(&got.bytes),
            "wrong bytes before message {index}"
        );
        if got.bytes.len() == bytes.len() {
            ensure!(broken >= 2, "only {broken} messages were lost");
            return world.stop().await;
        }
        ensure!(!got.ended_cleanly, "message {index}: a part ended like the whole");
        let rest = download(&session, world.registry.base(), &path, got.bytes.len()).await?;
        let expected = if got.bytes.is_empty() { 200 } else { 206 };
        ensure!((rest.status, rest.ended_cleanly) == (Some(expected), true));
        ensure!(rest.bytes == bytes[got.bytes.len()..], "message {index}");
        broken += 1;
    }
    anyhow::bail!("the stream has no end")
}

async fn several_ranges_broken_on_the_way_are_seen(transport: Transport) -> Result<()> {
    let world = Plan::new().over(transport).start().await?;
    let session = world.session(&[REPOSITORY]).await?;
    let bytes = noise(8, 2_000_000);
    let digest = session.push_blob(REPOSITORY, &bytes).await?;
    let url = format!("{}/v2/{REPOSITORY}/blobs/{digest}", world.registry.base());
    let client = reqwest::Client::builder().no_proxy().build()?;
    let ask = async || {
        let request = client.get(&url).bearer_auth(session.token());
        let response = request.header("range", "bytes=0-9,500000-1999999").send().await?;
        ensure!(response.status() == 206);
        Ok::<_, anyhow::Error>(response.bytes().await?.len())
    };
    let whole = ask().await?;
    // The first range's stream is whole, the second's is not.
    world
        .faults
        .next("BlobReadService/Read", 1, ResponseReset(ENOUGH));
    world.faults.next("BlobReadService/Read", 1, ResponseReset(1));
    ensure!(ask().await.is_err(), "a part ended like the whole");
    ensure!(ask().await? == whole);
    world.stop().await
}
