//! Services that take their time.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use roadstead_integration_tests::image::{Image, media, noise};
use roadstead_integration_tests::{Reply, Session};
use roadstead_testkit::RpcFault::{Down, ResponseSilent, Slow, SlowAnswer};

use crate::wire::download;
use crate::world::{Plan, World, unavailable};

const REPOSITORY: &str = "slow/one";

/// What unary calls may take here.
const DEADLINE: Duration = Duration::from_millis(600);
const BELOW: Duration = Duration::from_millis(200);
const BEYOND: Duration = Duration::from_secs(30);
/// A deadline that holds, on a loaded machine; far from [`BEYOND`].
const BOUND: Duration = Duration::from_secs(8);

async fn start() -> Result<(World, Session)> {
    let world = Plan::new().with_deadline(DEADLINE).start().await?;
    let session = world.session(&[REPOSITORY]).await?;
    Ok((world, session))
}

/// Requires that the request is given up at the deadline: not before it, and not long after.
async fn given_up(request: impl Future<Output = Result<Reply>>) -> Result<()> {
    let started = Instant::now();
    unavailable(request.await?)?;
    let took = started.elapsed();
    ensure!(took >= DEADLINE && took < BOUND, "it took {took:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_ends_reads_and_only_those_that_are_late() -> Result<()> {
    let (world, session) = start().await?;
    let image = Image::small("reads")?;
    session.push_image(REPOSITORY, "v1", &image).await?;
    let path = format!("/v2/{REPOSITORY}/manifests/v1");
    let method = "ReadService/GetManifest";

    world.faults.next(method, 1, Slow(BELOW));
    session.get(&path).await?.expect(200)?;
    let before = world.faults.calls(method).made;
    world.faults.next(method, 1, Slow(BEYOND));
    given_up(session.get(&path)).await?;
    ensure!(
        world.faults.calls(method).made == before + 1,
        "what is slow is not asked twice"
    );
    world.faults.next(method, 1, SlowAnswer(BEYOND));
    given_up(session.get(&path)).await?;
    world.faults.next("ReadService/ResolveBlob", 1, Slow(BEYOND));
    let blob = roadstead_integration_tests::image::sha256(&image.blobs[0]);
    given_up(session.get(&format!("/v2/{REPOSITORY}/blobs/{blob}"))).await?;
    world
        .faults
        .next("TokenService/IssueRegistryToken", 1, Slow(BEYOND));
    given_up(world.registry.ask_token(&["repository:slow/one:pull"])).await?;
    world.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_answer_is_late_was_made_once() -> Result<()> {
    let (world, session) = start().await?;
    let image = Image::small("writes")?;
    for blob in &image.blobs {
        session.push_blob(REPOSITORY, blob).await?;
    }
    let put = || session.put_manifest(REPOSITORY, "v1", media::MANIFEST, &image.manifest);
    world
        .faults
        .next("WriteService/PutManifest", 1, SlowAnswer(BEYOND));
    given_up(put()).await?;
    put().await?.expect(201)?;
    ensure!(world.store.history(REPOSITORY, "v1")?.len() == 1);

    // Never served: the client went before it arrived.
    world.faults.next("WriteService/DeleteTag", 1, Slow(BEYOND));
    given_up(session.delete(&format!("/v2/{REPOSITORY}/manifests/v1"))).await?;
    ensure!(world.faults.calls("DeleteTag").made == 1);
    ensure!(session.pull_everything(REPOSITORY, "v1").await? == image.digest());
    world.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_share_one_deadline() -> Result<()> {
    let (world, session) = start().await?;
    let image = Image::small("retries")?;
    session.push_image(REPOSITORY, "v1", &image).await?;
    let path = format!("/v2/{REPOSITORY}/manifests/v1");
    let method = "ReadService/GetManifest";

    world.faults.next(method, 2, Down);
    session.get(&path).await?.expect(200)?;
    ensure!(world.faults.calls(method).made == 3);
    world.faults.next(method, 1, Down);
    world.faults.next(method, 1, Slow(BEYOND));
    given_up(session.get(&path)).await?;
    ensure!(world.faults.calls(method).made == 5);
    world.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_calls_that_may_be_repeated_are() -> Result<()> {
    let (world, session) = start().await?;
    let image = Image::small("counted")?;
    session.push_image(REPOSITORY, "v1", &image).await?;
    let upload = session.open_upload(REPOSITORY).await?;
    let manifests = format!("/v2/{REPOSITORY}/manifests");
    let uploads = format!("/v2/{REPOSITORY}/blobs/uploads/");
    for (rpc, attempts, method, path) in [
        ("ReadService/ListTags", 3, Method::GET, "/v2/slow/one/tags/list"),
        ("UploadService/GetUpload", 3, Method::GET, &upload),
        ("UploadService/CreateUpload", 1, Method::POST, &uploads),
        ("UploadService/AcquireUpload", 1, Method::PATCH, &upload),
        (
            "WriteService/DeleteTag",
            1,
            Method::DELETE,
            &format!("{manifests}/v1"),
        ),
        (
            "WriteService/DeleteManifest",
            1,
            Method::DELETE,
            &format!("{manifests}/{}", image.digest()),
        ),
    ] {
        let before = world.faults.calls(rpc).made;
        world.faults.always(rpc, Down);
        unavailable(session.request(method, path).body("x").send().await?)?;
        world.faults.heal();
        let made = world.faults.calls(rpc).made - before;
        ensure!(made == attempts, "{rpc} was called {made} times");
    }
    world.stop().await
}

/// Bytes take as long as they take: what moves them has no deadline, and Finish one of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_bytes_are_no_failure() -> Result<()> {
    let (world, session) = start().await?;
    let late = DEADLINE + BELOW;
    for rpc in ["BlobWriteService/Append", "BlobWriteService/Finish"] {
        world.faults.next(rpc, 1, Slow(late));
    }
    let bytes = noise(9, 200_000);
    let digest = session.push_blob(REPOSITORY, &bytes).await?;
    world.faults.next("BlobReadService/Read", 1, SlowAnswer(late));
    let path = format!("/v2/{REPOSITORY}/blobs/{digest}");
    ensure!(session.get(&path).await?.expect(200)?.body == bytes);
    ensure!(world.faults.calls("/roadstead.blobs.v1.").struck == 3);
    world.stop().await
}

/// Bytes may take as long as they take only while some come: a service that lives and says nothing is given up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blobs_that_say_nothing_are_given_up() -> Result<()> {
    let idle_limit = format!("{}ms", DEADLINE.as_millis());
    let world = Plan::new()
        .with("gateway.body_idle_timeout", idle_limit)
        .start()
        .await?;
    let session = world.session(&[REPOSITORY]).await?;
    let (small, large) = (noise(10, 1_000), noise(11, 3_000_000));
    let rpc = "BlobReadService/Read";

    // Before the head: no answer, no message, and nothing after the only message.
    let digest = session.push_blob(REPOSITORY, &small).await?;
    let path = format!("/v2/{REPOSITORY}/blobs/{digest}");
    for fault in [SlowAnswer(BEYOND), ResponseSilent(0), ResponseSilent(1)] {
        world.faults.next(rpc, 1, fault);
        given_up(within_bound(session.get(&path)))
            .await
            .with_context(|| format!("{fault:?}"))?;
    }
    world.faults.next(rpc, 1, SlowAnswer(BEYOND));
    let ranges = session
        .request(Method::GET, &path)
        .header("range", "bytes=0-9,500-599");
    given_up(within_bound(ranges.send())).await?;
    ensure!(session.get(&path).await?.expect(200)?.body == small);

    // Behind it: a part never ends like the whole.
    let digest = session.push_blob(REPOSITORY, &large).await?;
    let path = format!("/v2/{REPOSITORY}/blobs/{digest}");
    for messages in [1, 2] {
        world.faults.next(rpc, 1, ResponseSilent(messages));
        let started = Instant::now();
        let got = within_bound(download(&session, world.registry.base(), &path, 0)).await?;
        ensure!(started.elapsed() >= DEADLINE && !got.ended_cleanly && got.status == Some(200));
        ensure!(!got.bytes.is_empty() && got.bytes.len() < large.len() && large.starts_with(&got.bytes));
    }
    ensure!(session.get(&path).await?.expect(200)?.body == large);
    world.stop().await
}

/// Ends a test that would wait for ever.
async fn within_bound<T>(request: impl Future<Output = Result<T>>) -> Result<T> {
    let answer = tokio::time::timeout(BOUND, request).await;
    answer.context("no answer at all")?
}
