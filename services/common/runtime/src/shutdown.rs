//! The order in which a process stops, the same everywhere.
//!
//! Readiness off -> drain delay -> stop accepting -> requests in flight finish, up to the grace period -> background tasks
//! stop -> telemetry is flushed -> exit 0. Tasks go after requests, because a request in flight may wait for one.

use std::future::Future;
use std::time::Duration;

use anyhow::Context as _;
use roadstead_rpc::TaskSet;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, NamedReadiness};

/// How long a task may take to notice that it should stop.
const TASK_GRACE: Duration = Duration::from_secs(2);

/// Everything that runs in a process, and how it is stopped.
#[derive(Debug)]
pub struct Lifecycle {
    stop: CancellationToken,
    hurry: CancellationToken,
    accepting: CancellationToken,
    background: CancellationToken,
    readiness: Vec<NamedReadiness>,
    servers: JoinSet<anyhow::Result<()>>,
    tasks: Vec<(&'static str, TaskSet)>,
    companions: JoinSet<()>,
    drain_delay: Duration,
    grace: Duration,
    watches_signals: bool,
}

impl Lifecycle {
    /// Begins a process that drains for `drain_delay` and gives requests in flight `grace` to finish.
    pub fn new(drain_delay: Duration, grace: Duration) -> Self {
        Self {
            stop: CancellationToken::new(),
            hurry: CancellationToken::new(),
            accepting: CancellationToken::new(),
            background: CancellationToken::new(),
            readiness: Vec::new(),
            servers: JoinSet::new(),
            tasks: Vec::new(),
            companions: JoinSet::new(),
            drain_delay,
            grace,
            watches_signals: false,
        }
    }

    /// Returns the token that starts the shutdown when cancelled.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Returns the token that is cancelled when no further requests are to be accepted.
    pub fn accepting_token(&self) -> CancellationToken {
        self.accepting.clone()
    }

    /// Returns the token that is cancelled when requests have finished and background tasks are to stop.
    pub fn background_token(&self) -> CancellationToken {
        self.background.clone()
    }

    /// Adds a service: its readiness and its tasks, which stop before those of the services added earlier.
    pub fn add(&mut self, readiness: NamedReadiness, tasks: TaskSet) {
        self.tasks.push((readiness.0, tasks));
        self.readiness.push(readiness);
    }

    /// Waits until everything added so far is ready.
    ///
    /// # Errors
    ///
    /// If that takes longer than `limit`; the message names what is not.
    pub async fn ready(&self, limit: Duration) -> anyhow::Result<()> {
        if timeout(limit, until_ready(&self.readiness)).await.is_ok() {
            return Ok(());
        }
        let waiting: Vec<_> = self
            .readiness
            .iter()
            .filter(|(_, service)| !service.is_ready())
            .map(|(name, _)| *name)
            .collect();
        anyhow::bail!("not ready after {limit:?}: {}", waiting.join(", "))
    }

    /// From now on SIGTERM and SIGINT stop the process in order, as soon as it [runs](Self::run). To be called before
    /// anybody is told that the process serves: the answer may be a signal.
    pub fn watch_signals(&mut self) {
        if std::mem::replace(&mut self.watches_signals, true) {
            return;
        }
        let (Ok(terminate), Ok(interrupt)) =
            (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            tracing::warn!("signals can't be watched");
            return;
        };
        let tokens = [self.stop.clone(), self.hurry.clone()];
        self.companions.spawn(pass_on([terminate, interrupt], tokens));
    }

    /// Prints `line` on stdout once everything added so far is ready.
    pub fn announce(&mut self, line: String) {
        // Before: whoever reads the line may send a signal at once.
        self.watch_signals();
        let services = self.readiness.clone();
        self.companions.spawn(async move {
            until_ready(&services).await;
            println!("{line}");
        });
    }

    /// Serves the admin port for everything added so far, until the very end: it has to answer while the rest drains.
    pub fn serve_admin(&mut self, listener: TcpListener) {
        let services = self.readiness.clone();
        self.companions.spawn(async move {
            if let Err(error) = admin::serve(listener, services).await {
                tracing::error!(%error, "the admin port failed");
            }
        });
    }

    /// Runs a server, which returns soon after [`Lifecycle::accepting_token`] is cancelled, when its requests have
    /// finished. One that ends earlier takes the process down.
    pub fn serve(&mut self, server: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.servers.spawn(server);
    }

    /// Runs the process until SIGTERM, SIGINT, [`Lifecycle::stop_token`] or the failure of a server, then stops it in
    /// order. A second signal ends the waiting for requests.
    ///
    /// # Errors
    ///
    /// If a server failed or ended by itself.
    pub async fn run(mut self) -> anyhow::Result<()> {
        self.watch_signals();
        let stop = self.stop.clone();
        let outcome = tokio::select! {
            () = stop.cancelled() => Ok(()),
            Some(ended) = self.servers.join_next() => {
                ended.context("a server panicked").flatten().and_then(|()| Err(anyhow::anyhow!("a server ended by itself")))
            }
        };
        self.shut_down().await;
        outcome
    }

    async fn shut_down(mut self) {
        tracing::info!("shutting down");
        for (_, readiness) in &self.readiness {
            readiness.set_not_ready("shutting down");
        }
        let hurry = self.hurry.clone();
        let _ = timeout(self.drain_delay, hurry.cancelled()).await;
        self.accepting.cancel();
        let finished = async { while self.servers.join_next().await.is_some() {} };
        tokio::select! {
            finished = timeout(self.grace, finished) => if finished.is_err() {
                tracing::warn!("requests still in flight after the grace period are cut off");
            },
            () = hurry.cancelled() => tracing::warn!("requests in flight are cut off by a second signal"),
        }
        self.servers.shutdown().await;
        self.background.cancel();
        while let Some((service, tasks)) = self.tasks.pop() {
            for task in tasks.stop(TASK_GRACE).await {
                tracing::warn!(service, task, "task did not stop in time");
            }
        }
    }
}

async fn until_ready(services: &[NamedReadiness]) {
    for (_, readiness) in services {
        readiness.wait_ready().await;
    }
}

/// The first signal cancels the first token, the second the second.
async fn pass_on([mut terminate, mut interrupt]: [Signal; 2], tokens: [CancellationToken; 2]) {
    for token in tokens {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        token.cancel();
    }
}
