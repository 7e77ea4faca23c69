//! A service is away: what still works, what the rest is answered, and that all is well when it comes back.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use roadstead_integration_tests::deadline::eventually;
use roadstead_integration_tests::image::{Image, artifact, descriptor, media, noise, sha256};
use roadstead_integration_tests::registry::{challenge, with_query};
use roadstead_integration_tests::{Reply, Session};
use roadstead_testkit::RpcFault::Down;

use crate::world::{PATIENCE, Plan, World, unavailable};

const AUTH: &str = "/roadstead.auth.v1.";
const METADATA: &str = "/roadstead.metadata.v1.";
const BLOBS: &str = "/roadstead.blobs.v1.";
const EVENTS: &str = "/roadstead.events.v1.";
/// What only the events service calls.
const OUTBOX: &str = "OutboxService/";

const REPOSITORY: &str = "down/one";
const OTHER: &str = "down/two";

async fn get(session: &Session, path: &str) -> Result<Reply> {
    session.get(&format!("/v2/{REPOSITORY}/{path}")).await
}

async fn send(session: &Session, method: Method, path: &str, body: &[u8]) -> Result<Reply> {
    session.request(method, path).body(body.to_vec()).send().await
}

/// The challenge that makes a client ask for a token costs no call.
async fn anonymous_is_challenged(world: &World) -> Result<()> {
    let reply = world.registry.get("/v2/").await?.expect(401)?;
    ensure!(challenge(&reply)?.contains_key("realm"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_auth_those_who_have_a_token_pull_and_push() -> Result<()> {
    let world = World::start().await?;
    let session = world.session(&[REPOSITORY, OTHER]).await?;
    let image = Image::small("before")?;
    session.push_image(REPOSITORY, "v1", &image).await?;

    world.faults.always(AUTH, Down);
    session.get("/v2/").await?.expect(200)?;
    anonymous_is_challenged(&world).await?;
    ensure!(session.pull_everything(REPOSITORY, "v1").await? == image.digest());
    let meanwhile = Image::small("meanwhile")?;
    session.push_image(REPOSITORY, "v2", &meanwhile).await?;
    get(&session, "tags/list").await?.expect(200)?;
    get(&session, &format!("referrers/{}", image.digest()))
        .await?
        .expect(200)?;
    let blob = sha256(&image.blobs[0]);
    let mount = format!("/v2/{OTHER}/blobs/uploads/?mount={blob}&from={REPOSITORY}");
    send(&session, Method::POST, &mount, b"").await?.expect(201)?;
    // Where it may be mounted from only auth knows, so there is an upload to do.
    let mount = format!("/v2/{OTHER}/blobs/uploads/?mount={}", sha256(&meanwhile.blobs[0]));
    send(&session, Method::POST, &mount, b"").await?.expect(202)?;
    session
        .delete(&format!("/v2/{REPOSITORY}/manifests/v2"))
        .await?
        .expect(202)?;

    unavailable(world.registry.ask_token(&["repository:down/one:pull"]).await?)?;
    unavailable(world.exchange().await?)?;

    world.faults.heal();
    world.exchange().await?.expect(200)?;
    let session = world.session(&[REPOSITORY]).await?;
    ensure!(session.pull_everything(REPOSITORY, "v1").await? == image.digest());
    world.store.check()?;
    world.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_catalog_needs_auth_and_says_so() -> Result<()> {
    let world = World::start().await?;
    let session = world.registry.session(&["registry:catalog:*"]).await?;
    world.faults.always(AUTH, Down);
    unavailable(session.get("/v2/_catalog").await?)?;
    world.faults.heal();
    session.get("/v2/_catalog").await?.expect(200)?;
    world.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_never_had_keys_waits_for_auth() -> Result<()> {
    let world = World::start().await?;
    let session = world.session(&[REPOSITORY]).await?;
    session
        .push_image(REPOSITORY, "v1", &Image::small("keys")?)
        .await?;

    world.faults.always(AUTH, Down);
    let gateway = world.another_gateway().await?;
    let there = Session::new(gateway.registry.clone(), session.token().to_owned());
    unavailable(there.get("/v2/").await?)?;
    unavailable(get(&there, "manifests/v1").await?)?;
    ensure!(!gateway.readiness.is_ready());

    world.faults.heal();
    tokio::time::timeout(PATIENCE, gateway.readiness.wait_ready())
        .await
        .context("the keys were never fetched")?;
    get(&there, "manifests/v1").await?.expect(200)?;
    world.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_metadata_there_are_tokens_and_nothing_else() -> Result<()> {
    let world = World::start().await?;
    let session = world.session(&[REPOSITORY, OTHER]).await?;
    let image = Image::small("metadata")?;
    session.push_image(REPOSITORY, "v1", &image).await?;
    let location = session.open_upload(REPOSITORY).await?;
    let (blob, manifest) = (sha256(&image.blobs[0]), image.digest());

    world.faults.always(METADATA, Down);
    session.get("/v2/").await?.expect(200)?;
    anonymous_is_challenged(&world).await?;
    world.session(&[REPOSITORY]).await?;
    for path in [
        "manifests/v1".to_owned(),
        format!("manifests/{manifest}"),
        format!("blobs/{blob}"),
        format!("referrers/{manifest}"),
        "tags/list".to_owned(),
    ] {
        let path = format!("/v2/{REPOSITORY}/{path}");
        unavailable(session.get(&path).await?).with_context(|| path.clone())?;
        unavailable(session.head(&path).await?).with_context(|| path)?;
    }
    let uploads = format!("/v2/{REPOSITORY}/blobs/uploads/");
    let finish = with_query(&location, "digest", blob.as_str());
    for (method, path, body) in [
        (Method::POST, uploads.clone(), &b""[..]),
        (Method::POST, format!("{uploads}?digest={blob}"), &image.blobs[0]),
        (
            Method::POST,
            format!("/v2/{OTHER}/blobs/uploads/?mount={blob}&from={REPOSITORY}"),
            b"",
        ),
        (Method::GET, location.clone(), b""),
        (Method::PATCH, location.clone(), &image.blobs[0]),
        (Method::PUT, finish.clone(), &image.blobs[0]),
        (Method::DELETE, location, b""),
        (Method::DELETE, format!("/v2/{REPOSITORY}/blobs/{blob}"), b""),
        (
            Method::DELETE,
            format!("/v2/{REPOSITORY}/manifests/{manifest}"),
            b"",
        ),
        (Method::DELETE, format!("/v2/{REPOSITORY}/manifests/v1"), b""),
    ] {
        let reply = send(&session, method.clone(), &path, body).await?;
        unavailable(reply).with_context(|| format!("{method} {path}"))?;
    }
    unavailable(
        session
            .put_manifest(REPOSITORY, "v2", media::MANIFEST, &image.manifest)
            .await?,
    )?;

    world.faults.heal();
    ensure!(session.pull_everything(REPOSITORY, "v1").await? == manifest);
    // The session is where it was.
    send(&session, Method::PUT, &finish, &image.blobs[0])
        .await?
        .expect(201)?;
    ensure!(
        world.store.count("tags", "true")? == 1,
        "what was refused was not done"
    );
    world.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_blobs_all_but_bytes_is_served() -> Result<()> {
    let world = World::start().await?;
    let session = world.session(&[REPOSITORY, OTHER]).await?;
    let image = Image::small("blobs")?;
    session.push_image(REPOSITORY, "v1", &image).await?;
    let (blob, subject) = (sha256(&image.blobs[0]), image.digest());
    session.push_blob(REPOSITORY, b"{}").await?;
    let begun = session.open_upload(REPOSITORY).await?;
    let bytes = noise(3, 100_000);
    let begun = session.append(&begun, 0, &bytes[..40_000]).await?;

    world.faults.always(BLOBS, Down);
    world.session(&[REPOSITORY]).await?;
    get(&session, "manifests/v1").await?.expect(200)?;
    get(&session, "tags/list").await?.expect(200)?;
    let head = session.head(&format!("/v2/{REPOSITORY}/blobs/{blob}")).await?;
    ensure!(head.expect(200)?.header("content-length")? == image.blobs[0].len().to_string());
    let subject = Some(descriptor(media::MANIFEST, &image.manifest)).filter(|_| !subject.as_str().is_empty());
    let referrer = artifact("application/vnd.test", subject, "meanwhile")?;
    let digest = sha256(&referrer);
    session
        .push_manifest(REPOSITORY, digest.as_str(), media::MANIFEST, &referrer)
        .await?;
    let listed = get(&session, &format!("referrers/{}", image.digest())).await?;
    ensure!(listed.expect(200)?.json()?["manifests"][0]["digest"] == digest.as_str());
    let mount = format!("/v2/{OTHER}/blobs/uploads/?mount={blob}&from={REPOSITORY}");
    send(&session, Method::POST, &mount, b"").await?.expect(201)?;
    session
        .delete(&format!("/v2/{REPOSITORY}/manifests/{digest}"))
        .await?
        .expect(202)?;

    unavailable(get(&session, &format!("blobs/{blob}")).await?)?;
    let ranged = session.request(Method::GET, &format!("/v2/{REPOSITORY}/blobs/{blob}"));
    unavailable(ranged.header("range", "bytes=1-5,9-").send().await?)?;
    let rest = &bytes[40_000..];
    let finish = with_query(&begun, "digest", sha256(&bytes).as_str());
    let whole = format!("/v2/{REPOSITORY}/blobs/uploads/?digest={}", sha256(&bytes));
    for (method, path) in [
        (Method::PATCH, &begun),
        (Method::PUT, &finish),
        (Method::POST, &whole),
    ] {
        unavailable(send(&session, method.clone(), path, rest).await?).with_context(|| method.to_string())?;
    }
    ensure!(session.get(&begun).await?.expect(204)?.header("range")? == "0-39999");

    world.faults.heal();
    ensure!(session.pull_everything(REPOSITORY, "v1").await? == image.digest());
    let begun = session.append(&begun, 40_000, rest).await?;
    session.finish(&begun, &sha256(&bytes), &[]).await?.expect(201)?;
    world.store.check()?;
    world.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_events_nothing_is_missed_and_nothing_pushed_is_lost() -> Result<()> {
    const ROOM: usize = 5;
    let plan = Plan::new().with("gateway.pull_event_buffer", ROOM);
    let world = plan.start().await?;
    let session = world.session(&[REPOSITORY]).await?;
    let dropped = async || world.metric("gateway_pull_events_dropped_total").await;
    let dropped_before = dropped().await?;

    world.faults.always(EVENTS, Down);
    world.faults.always(OUTBOX, Down);
    for number in 0..4 {
        let image = Image::small(&format!("events {number}"))?;
        session
            .push_image(REPOSITORY, &format!("v{number}"), &image)
            .await?;
    }
    let waiting = world.store.count("outbox", "true")?;
    ensure!(waiting == 4 * 3, "two blobs and a tag each, not {waiting}");
    // The first is taken from the buffer and tried; from then on the buffer only fills.
    get(&session, "manifests/v0").await?.expect(200)?;
    eventually("the publisher tries", PATIENCE, async || {
        Ok((world.faults.calls("PublishEvents").made > 0).then_some(()))
    })
    .await?;
    for _ in 0..ROOM + 7 {
        get(&session, "manifests/v1").await?.expect(200)?;
    }
    ensure!(
        dropped().await? - dropped_before >= 7.0,
        "what does not fit is counted"
    );
    // What auth tells of tokens came before and beside; nothing was heard of pushes and pulls.
    let logged = world.store.logged()?;
    ensure!(
        logged.iter().all(|event| event["source"] == "/auth"),
        "{logged:?}"
    );

    world.faults.heal();
    for number in 0..4 {
        let events = world
            .store
            .events_about(&format!("{REPOSITORY}:v{number}"))
            .await?;
        let pushes = events.iter().filter(|event| event["data"]["method"] == "PUT");
        ensure!(pushes.count() == 1, "v{number}: {events:?}");
    }
    eventually(
        "the pulls that fit are logged",
        Duration::from_secs(30),
        async || {
            let pulls = world.store.logged()?;
            let pulls = pulls.iter().filter(|event| event["data"]["method"] == "GET");
            Ok((pulls.count() == 1 + ROOM).then_some(()))
        },
    )
    .await?;
    world.stop().await
}
