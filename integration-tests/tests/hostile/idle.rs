//! Ten thousand connections that do nothing, and a thousand that say more than anyone reads.
//!
//! Each case has a registry of its own, because memory that one case gave back would hide what the next one takes. Memory
//! is what a connection adds to the resident memory of the process. The bounds are twice what was measured.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::FutureExt as _;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use roadstead_integration_tests::deadline::eventually;
use roadstead_integration_tests::process::Program;
use roadstead_integration_tests::{Cluster, Mode};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::Instant;

use crate::frames::hello;
use crate::table::{Case, Table, act};
use crate::wire::{Answer, Connection};

pub(crate) const TABLE: Table = Table::new(cases);

const IDLE: usize = 10_000;
/// Files that this process needs: a socket for each connection, and some. The registry inherits the limit.
const FILES: u64 = 12_000;
/// Files that the registry opens and closes as it likes.
const NOISE: usize = 10;
/// How fast a request must be answered beside them all.
const REASONABLE: Duration = Duration::from_secs(2);
const SETTLED_WITHIN: Duration = Duration::from_secs(20);
/// Where a test sets a limit on connections.
const FEW: usize = 100;

/// Of a head that may have 84 KiB, so many are sent and then nothing more.
const UNFINISHED_HEAD: usize = 80 * 1024;
/// What an attacker would like to have kept.
const ENDLESS_HEAD: usize = 500 * 1024;
const HEADS: usize = 1_000;

fn cases() -> Vec<Case> {
    let answered = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
    vec![
        holding("10,000 connections that say nothing", IDLE, 10, Vec::new(), 0),
        holding("2,000 connections that had an answer", 2_000, 40, answered, 12),
        holding("1,000 connections of HTTP/2", 1_000, 60, hello(&[]), 9),
        holding(
            "1,000 heads that are nearly over",
            HEADS,
            300,
            head_of(UNFINISHED_HEAD),
            0,
        ),
        act("1,000 heads that never end", |_| endless_heads().boxed_local()),
        act("more connections than are allowed", |_| too_many().boxed_local()),
    ]
}

fn head_of(length: usize) -> Vec<u8> {
    let start = "GET /v2/ HTTP/1.1\r\nHost: x\r\nX: ";
    format!("{start}{}", "x".repeat(length - start.len())).into_bytes()
}

/// A registry with room for so many connections.
struct Crowded {
    cluster: Cluster,
    program: Program,
    /// What it had before anybody came.
    files: usize,
    memory_kib: u64,
}

impl Crowded {
    async fn start(max_connections: usize) -> Result<Self> {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: Some(limit.current.unwrap_or(FILES).max(FILES)),
            maximum: Some(limit.maximum.unwrap_or(FILES).max(FILES)),
        };
        setrlimit(Resource::Nofile, raised).with_context(|| format!("the right to open {FILES} files"))?;
        let cluster = Cluster::setup(Mode::AllInOne)
            .with("gateway.max_connections", &max_connections.to_string())
            .start()
            .await?;
        let program = cluster
            .process()
            .programs()
            .into_iter()
            .next()
            .context("a process")?;
        let mut crowded = Self {
            cluster,
            program,
            files: 0,
            memory_kib: 0,
        };
        crowded.serves().await?;
        crowded.files = crowded.open_files()?;
        crowded.memory_kib = crowded.program.memory_kib("VmRSS")?;
        Ok(crowded)
    }

    fn open_files(&self) -> Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.program.pid))?.count())
    }

    /// How much more memory there is than at the start, for each of so many.
    fn grown_kib_each(&self, what: &str, count: usize) -> Result<u64> {
        let each = self.program.memory_kib("VmRSS")?.saturating_sub(self.memory_kib) / count as u64;
        println!("idle: {what}: {each} KiB each");
        Ok(each)
    }

    /// Opens connections that say something, and waits for so many bytes of the answer of each.
    async fn open(&self, count: usize, said: &[u8], answered: usize) -> Result<Vec<Connection>> {
        let address = self.cluster.address();
        stream::iter(0..count)
            .map(|_| async {
                let mut connection = Connection::open(&address).await?;
                connection.send(said).await?;
                connection
                    .exactly(answered)
                    .await?
                    .context("closed without an answer")?;
                anyhow::Ok(connection)
            })
            .buffer_unordered(64)
            .try_collect()
            .await
    }

    async fn has_accepted(&self, count: usize) -> Result<()> {
        eventually("all are accepted", SETTLED_WITHIN, async || {
            Ok((self.open_files()? + NOISE >= self.files + count).then_some(()))
        })
        .await
    }

    async fn has_released_all(&self) -> Result<()> {
        eventually("all are released", SETTLED_WITHIN, async || {
            Ok((self.open_files()? <= self.files + NOISE).then_some(()))
        })
        .await
    }

    /// Somebody new gets an answer in reasonable time, again and again.
    async fn serves(&self) -> Result<()> {
        for _ in 0..20 {
            let started = Instant::now();
            let mut connection = Connection::open(&self.cluster.address()).await?;
            ping(&mut connection).await?;
            ensure!(started.elapsed() < REASONABLE, "took {:?}", started.elapsed());
        }
        Ok(())
    }
}

/// Asks something that everybody is answered.
async fn ping(connection: &mut Connection) -> Result<Answer> {
    let answer = connection
        .ask(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n", false)
        .await?;
    let answer = answer.context("closed without an answer")?;
    ensure!(answer.status == 401, "{}", answer.head);
    Ok(answer)
}

/// Connections are accepted and held. Others are served meanwhile; each takes no more than so many KiB; and all is given
/// back.
fn holding(name: &'static str, count: usize, limit_kib: u64, said: Vec<u8>, answered: usize) -> Case {
    act(name, move |_| {
        let said = said.clone();
        async move {
            let crowded = Crowded::start(count + FEW).await?;
            let connections = crowded.open(count, &said, answered).await?;
            crowded.has_accepted(count).await?;
            crowded.serves().await?;
            let each = crowded.grown_kib_each(name, count)?;
            ensure!(each < limit_kib, "{each} KiB for each connection");
            drop(connections);
            crowded.has_released_all().await?;
            crowded.cluster.stop().await.map(drop)
        }
        .boxed_local()
    })
}

/// A head that is too long is refused when it is, and not when it would be over.
async fn endless_heads() -> Result<()> {
    let crowded = Crowded::start(HEADS + FEW).await?;
    let (address, head) = (crowded.cluster.address(), head_of(ENDLESS_HEAD));
    let statuses: Vec<u16> = stream::iter(0..HEADS)
        .map(|_| async {
            let mut connection = Connection::open(&address).await?;
            // What was sent after the refusal may make the kernel take the refusal back.
            let answer = connection.ask(&head, false).await?;
            anyhow::Ok(answer.map_or(0, |answer| answer.status))
        })
        .buffer_unordered(HEADS)
        .try_collect()
        .await?;
    ensure!(
        statuses.iter().all(|status| [0, 431].contains(status)),
        "{statuses:?}"
    );
    ensure!(statuses.contains(&431), "nobody was told why");
    crowded.has_released_all().await?;
    let peak = crowded
        .program
        .memory_kib("VmHWM")?
        .saturating_sub(crowded.memory_kib)
        / HEADS as u64;
    println!("idle: heads that never end: {peak} KiB each at most");
    ensure!(peak < 200, "{peak} KiB for each head");
    crowded.serves().await?;
    crowded.cluster.stop().await.map(drop)
}

/// What is over the limit waits its turn. Those who have a connection are served as ever.
async fn too_many() -> Result<()> {
    let crowded = Crowded::start(FEW).await?;
    let mut held = crowded.open(FEW, b"", 0).await?;
    crowded.has_accepted(FEW).await?;
    // The kernel completes their handshakes, and nobody reads what they say.
    let mut waiting = crowded
        .open(FEW, b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n", 0)
        .await?;
    ping(&mut held[0]).await?;
    ensure!(
        crowded.open_files()? <= crowded.files + FEW + NOISE,
        "more are accepted than are allowed"
    );
    drop(held);
    for connection in &mut waiting {
        let answer = connection.answer().await?.context("closed without an answer")?;
        ensure!(answer.status == 401, "{}", answer.head);
    }
    drop(waiting);
    crowded.has_released_all().await?;
    crowded.cluster.stop().await.map(drop)
}
