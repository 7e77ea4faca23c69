//! Two gateways before one set of services: neither knows of the other, and clients need not know either.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use reqwest::Method;
use roadstead_integration_tests::image::{Image, media, noise, sha256};
use roadstead_integration_tests::registry::challenge;
use roadstead_integration_tests::{Session, deadline::eventually};
use tokio::sync::mpsc;

use crate::wire::received;
use crate::world::{Gateway, PATIENCE, World};

const REPOSITORY: &str = "gateways/one";

async fn two() -> Result<(World, Gateway, Session, Session)> {
    let world = World::start().await?;
    let gateway = world.another_gateway().await?;
    tokio::time::timeout(PATIENCE, gateway.readiness.wait_ready())
        .await
        .context("the second gateway is not ready")?;
    let first = world.session(&[REPOSITORY]).await?;
    let second = Session::new(gateway.registry.clone(), first.token().to_owned());
    Ok((world, gateway, first, second))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_goes_on_and_ends_wherever_its_requests_arrive() -> Result<()> {
    let (world, _gateway, first, second) = two().await?;
    let bytes = noise(11, 500_000);
    let location = first.open_upload(REPOSITORY).await?;
    let location = first.append(&location, 0, &bytes[..200_000]).await?;
    ensure!(received(&second.get(&location).await?.expect(204)?)? == 200_000);
    let location = second
        .append(&location, 200_000, &bytes[200_000..400_000])
        .await?;
    ensure!(received(&first.get(&location).await?.expect(204)?)? == 400_000);
    let location = first.append(&location, 400_000, &bytes[400_000..]).await?;
    let digest = sha256(&bytes);
    let blob = second.finish(&location, &digest, &[]).await?.expect(201)?;
    // The answer was lost on the way to the client, say, who asks the other.
    first.finish(&location, &digest, &[]).await?.expect(201)?;
    for session in [&first, &second] {
        let got = session.get(&blob.location()?).await?.expect(200)?;
        ensure!(got.body == bytes);
    }
    let subject = format!("{REPOSITORY}@{digest}");
    let mut events = world.store.events_about(&subject).await?;
    events.retain(|event| event["data"]["method"] == "PUT");
    ensure!(events.len() == 1, "{events:?}");
    world.store.check()?;
    world.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_is_seen_everywhere_at_once() -> Result<()> {
    let (world, gateway, first, second) = two().await?;
    let sessions = [&first, &second];
    let path = format!("/v2/{REPOSITORY}/manifests/latest");
    for number in 0..10 {
        let (writer, reader) = (sessions[number % 2], sessions[(number + 1) % 2]);
        let image = Image::small(&format!("gateways {number}"))?;
        for blob in &image.blobs {
            writer.push_blob(REPOSITORY, blob).await?;
        }
        let digest = reader
            .push_manifest(REPOSITORY, "latest", media::MANIFEST, &image.manifest)
            .await?;
        let seen = writer.head(&path).await?.expect(200)?;
        ensure!(seen.header("docker-content-digest")? == digest.as_str());
        ensure!(reader.pull_everything(REPOSITORY, "latest").await? == digest);
    }
    first.delete(&path).await?.expect(202)?;
    second.get(&path).await?.expect(404)?;
    // Both send clients to the one address that they are known by.
    let asked = [
        world.registry.get("/v2/").await?,
        gateway.registry.get("/v2/").await?,
    ];
    ensure!(challenge(&asked[0])? == challenge(&asked[1])?);
    world.stop().await
}

/// A client that lost its connection begins again elsewhere, while the first gateway still believes in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newer_request_takes_an_upload_over() -> Result<()> {
    let (world, _gateway, first, second) = two().await?;
    let bytes = noise(12, 300_000);
    let location = first.open_upload(REPOSITORY).await?;
    let (pieces, body) = mpsc::channel(1);
    let stalled = {
        let body = futures::stream::unfold(body, |mut body: mpsc::Receiver<Bytes>| async move {
            body.recv()
                .await
                .map(|piece| (Ok::<_, std::io::Error>(piece), body))
        });
        let request = first.request(Method::PATCH, &location);
        let request = request.body(reqwest::Body::wrap_stream(body));
        #[expect(clippy::disallowed_methods, reason = "joined below")]
        tokio::spawn(request.send())
    };
    pieces.send(bytes[..100_000].to_vec().into()).await?;
    eventually("the first gateway streams", PATIENCE, async || {
        Ok((world.faults.calls("BlobWriteService/Append").arrived == 1).then_some(()))
    })
    .await?;

    let location = second.append(&location, 0, &bytes).await?;
    stalled.await??.expect_error(409, "BLOB_UPLOAD_INVALID")?;
    drop(pieces);
    let digest = sha256(&bytes);
    second.finish(&location, &digest, &[]).await?.expect(201)?;
    let path = format!("/v2/{REPOSITORY}/blobs/{digest}");
    ensure!(first.get(&path).await?.expect(200)?.body == bytes);
    world.stop().await
}
