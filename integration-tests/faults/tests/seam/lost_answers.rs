//! A call is served and its answer is lost. Calls that may be repeated are, unseen; the rest is answered 503, and a client
//! that repeats its request finds one change made, announced once.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::Method;
use roadstead_integration_tests::Session;
use roadstead_integration_tests::image::{Image, media, noise, sha256};
use roadstead_integration_tests::registry::with_query;
use roadstead_testkit::RpcFault::AnswerLost;
use serde_json::Value;

use crate::store::Change;
use crate::wire::received;
use crate::world::{Plan, Transport, World, over_both_transports, unavailable};

over_both_transports!(
    each_call_of_an_upload,
    a_manifest_whose_answer_is_lost_once_is_one_push,
    deletions,
);

const REPOSITORY: &str = "lost/one";
const OTHER: &str = "lost/two";

/// As often as an idempotent call is tried.
const EVERY_ATTEMPT: usize = 3;

async fn send(session: &Session, method: Method, path: &str, body: &[u8]) -> Result<reqwest::StatusCode> {
    let reply = session.request(method, path).body(body.to_vec()).send().await?;
    if reply.status == 503 {
        return Ok(unavailable(reply)?.status);
    }
    Ok(reply.status)
}

/// Events about a subject that tell of a push.
async fn pushes(world: &World, subject: &str) -> Result<Vec<Value>> {
    let mut events = world.store.events_about(subject).await?;
    events.retain(|event| event["data"]["method"] == "PUT");
    Ok(events)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opening_an_upload() -> Result<()> {
    let world = World::start().await?;
    let session = world.session(&[REPOSITORY]).await?;
    let method = "UploadService/CreateUpload";
    world.faults.next(method, 1, AnswerLost);
    let path = format!("/v2/{REPOSITORY}/blobs/uploads/");
    ensure!(send(&session, Method::POST, &path, b"").await? == 503);
    ensure!(
        world.faults.calls(method).made == 1,
        "it may not be repeated unasked"
    );
    session.push_blob(REPOSITORY, b"content").await?;
    ensure!(
        world.store.count("upload_sessions", "status = 'open'")? == 1,
        "the unknown one is left to the reaper"
    );
    world.store.check()?;
    world.stop().await
}

/// Every call of an upload, lost once and lost as often as it is tried.
async fn each_call_of_an_upload(transport: Transport) -> Result<()> {
    let world = Plan::new().over(transport).start().await?;
    let mut seed = 0;
    for method in ["AcquireUpload", "Append", "SaveUpload", "Finish", "FinishUpload"] {
        // When the end of an Append is lost, all its bytes are there: nobody appends a second time.
        let often = if method == "Append" { 1 } else { EVERY_ATTEMPT };
        for times in BTreeSet::from([1, often]) {
            seed += 1;
            upload_with_lost(&world, seed, method, times)
                .await
                .with_context(|| format!("{method} lost {times} times"))?;
        }
    }
    world.store.check()?;
    world.stop().await
}

async fn upload_with_lost(world: &World, seed: u64, method: &str, times: usize) -> Result<()> {
    let session = world.session(&[REPOSITORY]).await?;
    let bytes = noise(seed, 300_000);
    let digest = sha256(&bytes);
    let location = session.open_upload(REPOSITORY).await?;
    let method = format!("Service/{method}");
    let before = world.faults.calls(&method).struck;
    world.faults.next(&method, times, AnswerLost);
    let mut failures = send_all(&session, &location, &bytes).await?;
    let finish = with_query(&location, "digest", digest.as_str());
    while send(&session, Method::PUT, &finish, b"").await? != 201 {
        failures += 1;
        ensure!(failures <= EVERY_ATTEMPT, "the upload does not end");
    }
    let struck = world.faults.calls(&method).struck - before;
    ensure!(struck == u64::try_from(times)?, "{struck} faults struck");
    let repeatable = !["Service/AcquireUpload", "Service/Append"].contains(&&*method);
    let expected = if repeatable { times / EVERY_ATTEMPT } else { times };
    ensure!(failures == expected, "{failures} answers were 503");

    // Whoever asks again for what is done is told that it is.
    ensure!(send(&session, Method::PUT, &finish, b"").await? == 201);
    let path = format!("/v2/{REPOSITORY}/blobs/{digest}");
    ensure!(session.get(&path).await?.expect(200)?.body == bytes);
    let announced = pushes(world, &format!("{REPOSITORY}@{digest}")).await?;
    ensure!(announced.len() == 1, "announced {} times", announced.len());
    Ok(())
}

/// Brings all bytes into the session, and counts the answers that were 503 meanwhile.
async fn send_all(session: &Session, location: &str, bytes: &[u8]) -> Result<usize> {
    for failures in 0..=EVERY_ATTEMPT {
        let have = received(&session.get(location).await?.expect(204)?)?;
        if have == bytes.len() {
            return Ok(failures);
        }
        let patch = session
            .request(Method::PATCH, location)
            .header("content-range", &format!("{have}-{}", bytes.len() - 1));
        let reply = patch.body(bytes[have..].to_vec()).send().await?;
        if reply.status != 503 {
            reply.expect(202)?;
            return Ok(failures);
        }
        unavailable(reply)?;
    }
    bail!("the upload does not get on")
}

async fn a_manifest_whose_answer_is_lost_once_is_one_push(transport: Transport) -> Result<()> {
    let world = Plan::new().over(transport).start().await?;
    let session = world.session(&[REPOSITORY]).await?;
    let image = Image::small("once")?;
    for blob in &image.blobs {
        session.push_blob(REPOSITORY, blob).await?;
    }
    world.faults.next("WriteService/PutManifest", 1, AnswerLost);
    session
        .push_manifest(REPOSITORY, "v1", media::MANIFEST, &image.manifest)
        .await?;
    let calls = world.faults.calls("PutManifest");
    ensure!((calls.made, calls.arrived) == (2, 2), "{calls:?}");
    let announced = pushes(&world, &format!("{REPOSITORY}:v1")).await?;
    ensure!(announced.len() == 1, "one request is one event: {announced:?}");
    only_version(&world, &image)?;
    world.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_that_is_put_again_after_a_503_changes_nothing_more() -> Result<()> {
    let world = World::start().await?;
    let session = world.session(&[REPOSITORY]).await?;
    let image = Image::small("again")?;
    for blob in &image.blobs {
        session.push_blob(REPOSITORY, blob).await?;
    }
    world
        .faults
        .next("WriteService/PutManifest", EVERY_ATTEMPT, AnswerLost);
    let put = async || {
        session
            .put_manifest(REPOSITORY, "v1", media::MANIFEST, &image.manifest)
            .await
    };
    unavailable(put().await?)?;
    put().await?.expect(201)?;
    only_version(&world, &image)?;
    // A second request is announced as one, under the version that it found.
    let announced = pushes(&world, &format!("{REPOSITORY}:v1")).await?;
    ensure!(announced.len() == 2, "{announced:?}");
    ensure!(
        announced.iter().all(|event| event["data"]["tag_version"] == 1),
        "{announced:?}"
    );
    world.stop().await
}

fn only_version(world: &World, image: &Image) -> Result<()> {
    let history = world.store.history(REPOSITORY, "v1")?;
    let only = Change {
        version: 1,
        digest: Some(image.digest().to_string()),
    };
    ensure!(history == [only], "{history:?}");
    world.store.check()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mount() -> Result<()> {
    let world = World::start().await?;
    let session = world.session(&[REPOSITORY, OTHER]).await?;
    for (content, times) in [(&b"once"[..], 1), (b"always", EVERY_ATTEMPT)] {
        let digest = session.push_blob(REPOSITORY, content).await?;
        world.faults.next("WriteService/MountBlob", times, AnswerLost);
        let mount = format!("/v2/{OTHER}/blobs/uploads/?mount={digest}&from={REPOSITORY}");
        let first = send(&session, Method::POST, &mount, b"").await?;
        ensure!(first == if times == 1 { 201 } else { 503 });
        if times > 1 {
            ensure!(send(&session, Method::POST, &mount, b"").await? == 201);
        }
        let path = format!("/v2/{OTHER}/blobs/{digest}");
        ensure!(session.get(&path).await?.expect(200)?.body == content);
        let announced = pushes(&world, &format!("{OTHER}@{digest}")).await?;
        let requests = if times == 1 { 1 } else { 2 };
        ensure!(announced.len() == requests, "{announced:?}");
    }
    world.store.check()?;
    world.stop().await
}

/// Deletions are not repeated unasked: the second would say that there is nothing.
async fn deletions(transport: Transport) -> Result<()> {
    let world = Plan::new().over(transport).start().await?;
    let session = world.session(&[REPOSITORY]).await?;
    let image = Image::small("deleted")?;
    session.push_image(REPOSITORY, "v1", &image).await?;
    let (manifest, blob) = (image.digest(), sha256(&image.blobs[0]));
    for (method, path, subject) in [
        ("DeleteTag", "manifests/v1".to_owned(), format!("{REPOSITORY}:v1")),
        (
            "DeleteManifest",
            format!("manifests/{manifest}"),
            format!("{REPOSITORY}@{manifest}"),
        ),
        (
            "UnlinkBlob",
            format!("blobs/{blob}"),
            format!("{REPOSITORY}@{blob}"),
        ),
    ] {
        world.faults.next(method, 1, AnswerLost);
        let path = format!("/v2/{REPOSITORY}/{path}");
        ensure!(
            send(&session, Method::DELETE, &path, b"").await? == 503,
            "{method}"
        );
        ensure!(world.faults.calls(method).made == 1, "{method} was repeated");
        session.get(&path).await?.expect(404)?;
        session.delete(&path).await?.expect(404)?;
        let mut events = world.store.events_about(&subject).await?;
        events.retain(|event| event["data"]["method"] == "DELETE");
        ensure!(events.len() == 1, "{method}: {events:?}");
    }
    let versions: Vec<_> = world.store.history(REPOSITORY, "v1")?;
    ensure!(
        versions.len() == 2 && versions[1].digest.is_none(),
        "{versions:?}"
    );
    world.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn giving_an_upload_up() -> Result<()> {
    let world = World::start().await?;
    let session = world.session(&[REPOSITORY]).await?;
    for method in [
        "UploadService/AcquireUpload",
        "BlobWriteService/Abort",
        "UploadService/CancelUpload",
    ] {
        let location = session.open_upload(REPOSITORY).await?;
        let location = session.append(&location, 0, b"unwanted").await?;
        world.faults.next(method, EVERY_ATTEMPT, AnswerLost);
        ensure!(
            send(&session, Method::DELETE, &location, b"").await? == 503,
            "{method}"
        );
        world.faults.heal();
        session.get(&location).await?.expect(404)?;
        session.delete(&location).await?.expect(404)?;
    }
    world.store.check()?;
    world.stop().await
}

/// What the events service does behind everybody's back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_moves_events() -> Result<()> {
    let plan = Plan::new().with("metadata.outbox_lease", "1s");
    let world = plan.start().await?;
    let session = world.session(&[REPOSITORY]).await?;
    for (seed, method) in ["ClaimEvents", "AckEvents", "PublishEvents"]
        .into_iter()
        .enumerate()
    {
        world.faults.next(method, 2, AnswerLost);
        let bytes = noise(u64::try_from(seed)?, 100);
        let digest = session.push_blob(REPOSITORY, &bytes).await?;
        session
            .get(&format!("/v2/{REPOSITORY}/blobs/{digest}"))
            .await?
            .expect(200)?;
        let subject = format!("{REPOSITORY}@{digest}");
        let about = async || {
            let events = world.store.events_about(&subject).await?;
            let methods = events.iter().filter_map(|event| event["data"]["method"].as_str());
            let mut methods: Vec<_> = methods.map(ToOwned::to_owned).collect();
            methods.sort();
            Ok((methods.len() >= 2 && world.faults.calls(method).struck == 2).then_some(methods))
        };
        let methods = roadstead_integration_tests::deadline::eventually(
            "the push and the pull are logged",
            crate::world::PATIENCE,
            about,
        )
        .await?;
        ensure!(methods == ["GET", "PUT"], "{method}: {methods:?}");
    }
    world.stop().await
}
