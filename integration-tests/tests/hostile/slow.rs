//! Clients that take their time: what they hold is bounded, given back, and no one else's loss.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::FutureExt as _;
use futures::future::{LocalBoxFuture, join_all};
use roadstead_integration_tests::Setup;
use roadstead_integration_tests::image::{noise, sha256};
use roadstead_types::Digest;
use tokio::time::Instant;

use crate::arena::Arena;
use crate::frames::{END_HEADERS, END_STREAM, HEADERS, block, frame, hello, outcome, read, request};
use crate::request::REPOSITORY;
use crate::table::{Case, Effect, Table, act, act_leaving};
use crate::wire::Connection;

pub(crate) const TABLE: Table = Table::new(cases)
    .with_setup(setup)
    .growing(2 * HELD_KIB * READERS as u64);

/// How long a head and a pause in a body may take here.
const PATIENCE: Duration = Duration::from_secs(1);
/// A connection is closed within twice the time; the rest is for a machine that has other things to do.
const CLOSED_WITHIN: Duration = Duration::from_secs(8);
/// The pause of a client that always sends a little.
const PACE: Duration = Duration::from_millis(100);
/// A blob that fits into no socket's buffers.
const LARGE: usize = 48 * 1024 * 1024;
/// Readers of it that stand still, and how much of it the registry may hold for each of them, in KiB: what waits in the
/// stream between its services.
const READERS: usize = 16;
const HELD_KIB: u64 = 4 * 1024;

fn setup(setup: Setup) -> Setup {
    setup
        .with("gateway.header_timeout", "\"1s\"")
        .with("gateway.body_idle_timeout", "\"1s\"")
}

#[rustfmt::skip] // A row is a line.
fn cases() -> Vec<Case> {
    let head = "GET /v2/ HTTP/1.1\r\nHost: x\r\nX: ";
    vec![
        drip("a head, a byte at a time", head.to_owned() + &"x".repeat(1_000), None),
        drip("a first line, a byte at a time", format!("GET /{}", "x".repeat(1_000)), None),
        drip("a preface, a byte at a time", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".repeat(10), None),
        drip("line breaks, a byte at a time", "\r\n".repeat(1_000), None),
        stall("nothing", b""),
        stall("half a head", head.as_bytes()),
        stall("a head that only lacks its end", b"GET /v2/ HTTP/1.1\r\nHost: x\r\n"),
        stall("a preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        stall("a preface and settings", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
        act("a connection that is kept for later", |arena| kept(arena).boxed_local()),
        act_leaving("a body that always comes a little", Effect::Uploads, |arena| steady(arena).boxed_local()),
        act_leaving("a body that comes after 100-continue or not at all", Effect::Uploads, |arena| promised(arena).boxed_local()),
        act_leaving("a blob that nobody takes", Effect::Content, |arena| unread(arena).boxed_local()),
        act_leaving("a blob through a window that stays shut", Effect::Content, |arena| shut(arena).boxed_local()),
        act("thousands of requests whose answers nobody takes", |arena| pipelined(arena).boxed_local()),
    ]
}

/// Sends a byte now and then until the server closes, which it does no later than if nothing came.
fn drip(name: &'static str, text: String, answer: Option<u16>) -> Case {
    act(name, move |arena| {
        let text = text.clone();
        async move {
            let started = Instant::now();
            let mut connection = Connection::open(&arena.cluster.address()).await?;
            for byte in text.as_bytes() {
                if connection.send(&[*byte]).await.is_err() {
                    break;
                }
                ensure!(
                    started.elapsed() < CLOSED_WITHIN,
                    "still open after {:?}",
                    started.elapsed()
                );
                tokio::time::sleep(PACE).await;
            }
            let said = connection.closed().await?;
            ensure!(
                answer.is_some() || !said.starts_with(b"HTTP/1.1 2"),
                "was answered"
            );
            ensure!(
                started.elapsed() >= PATIENCE / 2,
                "closed after {:?}",
                started.elapsed()
            );
            Ok(())
        }
        .boxed_local()
    })
}

/// Sends something and then nothing more.
fn stall(name: &'static str, text: &'static [u8]) -> Case {
    act(format!("{name}, and then nothing"), move |arena| {
        async move {
            let started = Instant::now();
            let mut connection = Connection::open(&arena.cluster.address()).await?;
            connection.send(text).await?;
            connection.closed().await?;
            let took = started.elapsed();
            ensure!(
                took >= PATIENCE / 2 && took < CLOSED_WITHIN,
                "closed after {took:?}"
            );
            Ok(())
        }
        .boxed_local()
    })
}

/// A connection that was of use is closed as well when nothing more comes.
async fn kept(arena: &Arena) -> Result<()> {
    let mut connection = Connection::open(&arena.cluster.address()).await?;
    let request = arena.fill(
        b"GET /v2/ HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n",
        None,
    );
    let answer = connection.ask(&request, false).await?.context("an answer")?;
    ensure!(answer.status == 200, "{}", answer.status);
    let started = Instant::now();
    connection.closed().await?;
    ensure!(
        started.elapsed() < CLOSED_WITHIN,
        "closed after {:?}",
        started.elapsed()
    );
    Ok(())
}

/// There is no limit on the whole of a body: it may take many times the pause that it may make.
async fn steady(arena: &Arena) -> Result<()> {
    let upload = arena.session.open_upload(REPOSITORY).await?;
    let mut connection = patch(arena, &upload, "Content-Length: 25\r\n").await?;
    let started = Instant::now();
    for _ in 0..25 {
        connection.send(b"x").await?;
        tokio::time::sleep(PACE).await;
    }
    ensure!(started.elapsed() > 2 * PATIENCE, "a test of nothing");
    let answer = connection.answer().await?.context("an answer")?;
    ensure!(
        answer.status == 202 && answer.header("range") == Some("0-24"),
        "{}",
        answer.head
    );
    arena.session.delete(&upload).await?.expect(204).map(drop)
}

async fn promised(arena: &Arena) -> Result<()> {
    let upload = arena.session.open_upload(REPOSITORY).await?;
    let mut connection = patch(arena, &upload, "Content-Length: 5\r\nExpect: 100-continue\r\n").await?;
    let answer = connection.answer().await?.context("an answer")?;
    ensure!(answer.status == 408, "{}", answer.head);
    arena.session.delete(&upload).await?.expect(204).map(drop)
}

async fn patch(arena: &Arena, upload: &str, headers: &str) -> Result<Connection> {
    let head = format!(
        "PATCH {upload} HTTP/1.1\r\nHost: {{host}}\r\nAuthorization: Bearer {{token}}\r\n{headers}\r\n"
    );
    let mut connection = Connection::open(&arena.cluster.address()).await?;
    connection.send(&arena.fill(head.as_bytes(), None)).await?;
    Ok(connection)
}

async fn push_large(arena: &Arena) -> Result<Digest> {
    let content = noise(11, LARGE);
    let digest = sha256(&content);
    let path = format!("/v2/{REPOSITORY}/blobs/uploads/?digest={digest}");
    let push = arena.session.request(reqwest::Method::POST, &path).body(content);
    push.send().await?.expect(201)?;
    Ok(digest)
}

/// Readers that take the first bytes only. Little is held for them; others are served; in the end they are cut off.
async fn unread(arena: &Arena) -> Result<()> {
    let digest = push_large(arena).await?;
    let before = arena.memory_kib("VmRSS")?;
    let request = format!(
        "GET /v2/{REPOSITORY}/blobs/{digest} HTTP/1.1\r\nHost: {{host}}\r\nAuthorization: Bearer {{token}}\r\n\r\n"
    );
    let request = arena.fill(request.as_bytes(), None);
    let readers = join_all((0..READERS).map(|_| async {
        let mut connection = Connection::open(&arena.cluster.address()).await?;
        connection.send(&request).await?;
        ensure!(
            connection.exactly(12).await?.as_deref() == Some(b"HTTP/1.1 200"),
            "no blob"
        );
        anyhow::Ok(connection)
    }));
    let readers = readers.await.into_iter().collect::<Result<Vec<_>>>()?;
    let started = Instant::now();
    let mut most = 0;
    // Twice the time that a reader may stand still, and a little.
    while started.elapsed() < 2 * PATIENCE + PATIENCE / 2 {
        arena.session.get("/v2/").await?.expect(200)?;
        most = most.max(arena.memory_kib("VmRSS")?.saturating_sub(before));
    }
    ensure!(
        most <= HELD_KIB * READERS as u64,
        "{most} KiB for {READERS} readers that stand still"
    );
    let rests = join_all(readers.into_iter().map(async |mut reader| reader.closed().await)).await;
    for rest in rests {
        let length = rest?.len();
        ensure!(length < LARGE, "all of it was sent, {length} bytes");
    }
    arena
        .session
        .delete(&format!("/v2/{REPOSITORY}/blobs/{digest}"))
        .await?
        .expect(202)
        .map(drop)
}

/// The same over HTTP/2, where a window holds the server back.
fn shut(arena: &Arena) -> LocalBoxFuture<'_, Result<()>> {
    async move {
        let digest = push_large(arena).await?;
        let path = format!("/v2/{REPOSITORY}/blobs/{digest}");
        let (host, token) = (
            arena.cluster.address(),
            format!("Bearer {}", arena.session.token()),
        );
        let head = frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            1,
            &block(&request("GET", &host, &path, &token)),
        );
        let mut connection = Connection::open(&host).await?;
        connection.send(&[hello(&[(4, 0)]), head].concat()).await?;
        ensure!(
            outcome(&mut connection, 1).await? == crate::frames::Outcome::Status(200),
            "no blob"
        );
        let started = Instant::now();
        while let Some(frame) = read(&mut connection).await? {
            ensure!(
                frame.kind != crate::frames::DATA || frame.payload.is_empty(),
                "data for a window that is shut"
            );
        }
        ensure!(
            started.elapsed() < CLOSED_WITHIN,
            "closed after {:?}",
            started.elapsed()
        );
        arena.session.delete(&path).await?.expect(202).map(drop)
    }
    .boxed_local()
}

/// Answers pile up only as far as they are taken.
async fn pipelined(arena: &Arena) -> Result<()> {
    let request = arena.fill(b"GET /v2/hostile/one/manifests/latest HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n", None);
    let flood = request.repeat(30_000);
    let before = arena.memory_kib("VmRSS")?;
    let mut connection = Connection::open(&arena.cluster.address()).await?;
    // It stops being taken when the answers fill the buffers between the two.
    let _stuck = tokio::time::timeout(2 * PATIENCE, connection.send(&flood)).await;
    let grown = arena.memory_kib("VmRSS")?.saturating_sub(before);
    ensure!(grown < 16 * 1024, "{grown} KiB for answers that nobody takes");
    arena.session.get("/v2/").await?.expect(200).map(drop)
}
