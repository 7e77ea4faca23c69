//! One case against one peer: checked, warmed, loaded, and its processor time taken.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::api::Api;
use crate::cases::{Case, Style, Target, Work};
use crate::content::{Content, PUSHED};
use crate::figures::Run;
use crate::http::Expected;
use crate::load::{self, Pusher};
use crate::peer::{Purpose, Running};
use crate::proc::Memory;

/// How long a server must do nothing to count as quiet. Timers of a few ticks a second remain below a tick in that time.
const QUIET: Duration = Duration::from_millis(100);
/// How long a server may go on after a load. One that takes longer has no figure, since what it still does would be missing.
const QUIET_LIMIT: Duration = Duration::from_secs(30);
/// The same after it was filled: a million tags are a million events.
const FILLED_LIMIT: Duration = Duration::from_mins(3);

/// Measures cases; counts what was pushed, so that no blob is pushed twice.
#[derive(Debug)]
pub(crate) struct Meter<'a> {
    pub(crate) content: &'a Content,
    pub(crate) run: Duration,
    next_blob: u64,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(content: &'a Content, run: Duration) -> Self {
        Self {
            content,
            run,
            next_blob: 0,
        }
    }

    /// One run.
    pub(crate) async fn measure(&mut self, case: Case, peer: &Running) -> Result<Run> {
        let spec = case.spec();
        match spec.work {
            Work::Get(target) => self.ask("GET", target, spec.connections, peer).await,
            Work::Head(target) => self.ask("HEAD", target, spec.connections, peer).await,
            Work::Post(target) => self.ask("POST", target, spec.connections, peer).await,
            Work::Push(style) => self.push(style, peer).await,
        }
    }

    async fn ask(&self, method: &str, target: Target, connections: usize, peer: &Running) -> Result<Run> {
        let purpose = match target {
            Target::Token => Purpose::Token,
            Target::TokenMany => Purpose::TokenMany,
            Target::Exchange => Purpose::Exchange,
            _ => Purpose::Pull,
        };
        let authorization = peer.authorization(purpose).await?;
        let path = self.content.path(target, &format!("127.0.0.1:{}", peer.port));
        let api = Api::new(peer.port, authorization.clone())?;
        let expected = Expected {
            status: 200,
            length: api.check(self.content, target, &path).await?,
            body: method != "HEAD",
        };
        let request = load::request(method, &path, peer.port, authorization.as_deref());
        let load = async |connections, duration| {
            load::repeat(peer.port, &request, expected, connections, duration).await
        };
        load(connections, self.run / 8).await.context("warm up")?;
        let alone = load(1, self.run / 4).await?;
        let (measured, cpu) = costs(peer, load(connections, self.run)).await?;
        Ok(Run::new(&measured, cpu, &alone))
    }

    async fn push(&mut self, style: Style, peer: &Running) -> Result<Run> {
        let authorization = peer.authorization(Purpose::Push).await?;
        let api = Api::new(peer.port, authorization.clone())?;
        let pusher = Pusher {
            port: peer.port,
            authorization,
            style,
            content: self.content,
        };
        // Also warms up.
        let (_, first) = pusher.run(self.take(1), Duration::ZERO).await?;
        for digest in &first {
            api.check_pushed(PUSHED, digest)
                .await
                .context("pull back what was pushed")?;
        }
        // What another peer left to the kernel to write is not this one's business.
        rustix::fs::sync();
        let blobs = self.take(1 << 32);
        let ((measured, pushed), cpu) = costs(peer, pusher.run(blobs, self.run)).await?;
        let digests: Vec<String> = first
            .iter()
            .chain(&pushed)
            .map(|digest| digest.encoded().to_owned())
            .collect();
        peer.discard(&digests)?;
        // One client pushes anyway.
        Ok(Run::new(&measured, cpu, &measured))
    }

    fn take(&mut self, count: u64) -> u64 {
        let first = self.next_blob;
        self.next_blob += count;
        first
    }
}

/// Runs a load, and gives what it cost the server until it was quiet again: what is put off is paid for as well.
async fn costs<T>(peer: &Running, load: impl Future<Output = Result<T>>) -> Result<(T, Duration)> {
    let before = settle(peer, QUIET_LIMIT).await?;
    let result = load.await?;
    let after = settle(peer, QUIET_LIMIT).await?;
    Ok((result, after.saturating_sub(before)))
}

/// Waits until a peer that was just filled has nothing more to do.
pub(crate) async fn calm(peer: &Running) -> Result<()> {
    settle(peer, FILLED_LIMIT).await.map(drop)
}

/// Waits until a peer is quiet, and gives its processor time then.
async fn settle(peer: &Running, limit: Duration) -> Result<Duration> {
    let start = Instant::now();
    let mut last = peer.family.cpu()?;
    loop {
        tokio::time::sleep(QUIET).await;
        let now = peer.family.cpu()?;
        if now == last {
            return Ok(now);
        }
        ensure!(
            start.elapsed() < limit,
            "it is still busy {limit:?} after its last request"
        );
        last = now;
    }
}

/// The memory of a peer that has nothing to do.
pub(crate) async fn memory(peer: &Running) -> Result<Memory> {
    settle(peer, QUIET_LIMIT).await?;
    peer.family.memory()
}
