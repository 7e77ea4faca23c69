//! The most memory that the processes ever had (`VmHWM`), when many large blobs are on their way at once.
//!
//! The bounds do not depend on how large the blobs are. The short form moves several times what it allows, the long form
//! (`ROADSTEAD_SOAK`) as much as a busy day.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use roadstead_integration_tests::{Cluster, Mode, Session};
use tokio::task::JoinSet;

use crate::content::Content;
use crate::idle::IdleConnections;

const REPOSITORY: &str = "load/memory";
const IDLE_CONNECTIONS: usize = 256;
const PUSHES: u64 = 32;
const PULLS: usize = 64;
/// For one request among many, on a machine that is busy with other tests.
const REQUEST_LIMIT: Duration = Duration::from_mins(10);

/// The most that each program may ever have, in MiB, by the name that the kernel knows it by.
type Bounds = &'static [(&'static str, u64)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushes_to_one_process() -> Result<()> {
    pushes(Mode::AllInOne, &[("roadstead", 256)]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pulls_from_one_process() -> Result<()> {
    pulls(Mode::AllInOne, &[("roadstead", 200)]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushes_to_five_processes() -> Result<()> {
    pushes(Mode::Split, PUSH_BOUNDS).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pulls_from_five_processes() -> Result<()> {
    pulls(Mode::Split, PULL_BOUNDS).await
}

/// Half as much again as was measured in either form. What the gateway holds of pushes is what blobs granted credit for
/// and the connection between them has not taken yet; what blobs holds of pulls is the like.
const PUSH_BOUNDS: Bounds = &[
    ("roadstead-auth", 48),
    ("roadstead-blobs", 128),
    ("roadstead-event", 48),
    ("roadstead-gatew", 208),
    ("roadstead-metad", 48),
];

const PULL_BOUNDS: Bounds = &[
    ("roadstead-auth", 48),
    ("roadstead-blobs", 160),
    ("roadstead-event", 48),
    ("roadstead-gatew", 128),
    ("roadstead-metad", 48),
];

fn mib(short: usize, long: usize) -> usize {
    if std::env::var_os("ROADSTEAD_SOAK").is_some() {
        long
    } else {
        short
    }
}

async fn pushes(mode: Mode, bounds: Bounds) -> Result<()> {
    let mib = mib(16, 256);
    let contents: Vec<_> = (0..PUSHES).map(|number| Content::new(number, mib)).collect();
    let cluster = start(mode).await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    let mut idle = IdleConnections::open(&cluster, &session, IDLE_CONNECTIONS).await?;

    let mut running = JoinSet::new();
    for content in contents {
        let session = session.clone();
        running.spawn(async move { push(&session, &content).await });
    }
    while let Some(pushed) = running.join_next().await {
        pushed??;
    }
    idle.ask_all().await?;
    check(&cluster, bounds)?;
    cluster.stop().await.map(drop)
}

async fn pulls(mode: Mode, bounds: Bounds) -> Result<()> {
    let content = Arc::new(Content::new(0, mib(32, 1024)));
    let cluster = start(mode).await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    push(&session, &content).await?;

    let mut running = JoinSet::new();
    for _ in 0..PULLS {
        let (session, content) = (session.clone(), Arc::clone(&content));
        running.spawn(async move { pull(&session, &content).await });
    }
    while let Some(pulled) = running.join_next().await {
        pulled??;
    }
    check(&cluster, bounds)?;
    cluster.stop().await.map(drop)
}

async fn start(mode: Mode) -> Result<Cluster> {
    // Idle connections and tokens are to last, however long the rest takes.
    Cluster::setup(mode)
        .with("gateway.header_timeout", "\"1h\"")
        .with("auth.registry_token_ttl", "\"1h\"")
        .start()
        .await
}

async fn push(session: &Session, content: &Content) -> Result<()> {
    let location = session.open_upload(REPOSITORY).await?;
    let patch = session
        .request(Method::PATCH, &location)
        .chunked(content.pieces());
    let location = patch
        .within(REQUEST_LIMIT)
        .send()
        .await?
        .expect(202)?
        .location()?;
    let digest = content.digest();
    let finish = session.request(Method::PUT, &format!("{location}?digest={digest}"));
    let reply = finish.within(REQUEST_LIMIT).send().await?.expect(201)?;
    ensure!(reply.header("docker-content-digest")? == digest.as_str());
    let head = session.head(&reply.location()?).await?.expect(200)?;
    ensure!(head.header("content-length")? == content.size().to_string());
    Ok(())
}

async fn pull(session: &Session, content: &Content) -> Result<()> {
    let path = format!("/v2/{REPOSITORY}/blobs/{}", content.digest());
    let request = session.request(Method::GET, &path).within(REQUEST_LIMIT);
    let mut answer = request.open().await?;
    ensure!(answer.status() == 200, "{}", answer.status());
    let mut received = 0;
    while let Some(bytes) = answer.chunk().await? {
        content.check(received, &bytes)?;
        received += bytes.len();
    }
    ensure!(
        received == content.size(),
        "{received} of {} bytes",
        content.size()
    );
    Ok(())
}

/// Requires every process of the cluster to be within its bound.
fn check(cluster: &Cluster, bounds: Bounds) -> Result<()> {
    let mut peaks = BTreeMap::new();
    for program in cluster.process().programs() {
        peaks.insert(program.name.clone(), program.memory_kib("VmHWM")?.div_ceil(1024));
    }
    println!("peak memory in MiB: {peaks:?}");
    for (name, bound) in bounds {
        let peak = peaks.remove(*name).with_context(|| format!("{name} is gone"))?;
        ensure!(
            peak < *bound,
            "{name} had {peak} MiB, and is to have less than {bound}"
        );
    }
    ensure!(peaks.is_empty(), "programs without a bound: {peaks:?}");
    Ok(())
}
