//! Clients that push, move, delete and read all at once, whatever happens to the registry meanwhile.

mod client;
mod manifests;
mod uploads;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use roadstead_integration_tests::{Registry, deadline::eventually};
use tokio::task::JoinSet;

use self::client::Client;
use crate::ledger::Ledger;

/// Enough for group commits and for uploads beside each other; two cores serve them and the registry.
const CLIENTS: usize = 4;

/// The clients, at rest.
pub struct Workload {
    clients: Vec<Client>,
}

/// The clients, at work.
pub struct Running {
    signals: Arc<Signals>,
    clients: JoinSet<Client>,
}

/// What clients and their test tell each other.
#[derive(Default)]
struct Signals {
    stop: AtomicBool,
    /// A client saw what must never be.
    is_broken: AtomicBool,
    /// Things that the clients did or tried.
    actions: AtomicUsize,
}

impl Workload {
    /// Clients of the registry, who do the same for the same seed as far as the registry lets them.
    pub async fn new(registry: &Registry, seed: u64) -> Result<Self> {
        let mut clients = Vec::new();
        let repositories: Vec<_> = (0..CLIENTS).map(client::repositories).collect();
        for number in 0..CLIENTS {
            // Mounts also read the next one's.
            let next = &repositories[(number + 1) % CLIENTS];
            let names: Vec<_> = repositories[number]
                .iter()
                .chain(next)
                .map(String::as_str)
                .collect();
            let session = registry.session_for(&names).await?;
            clients.push(Client::new(session, seed, number, next.clone()));
        }
        Ok(Self { clients })
    }

    /// Sets the clients to work.
    pub fn start(self) -> Running {
        let signals = Arc::<Signals>::default();
        let mut clients = JoinSet::new();
        for client in self.clients {
            clients.spawn(client.run(Arc::clone(&signals)));
        }
        Running { signals, clients }
    }

    /// What all clients know.
    pub fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::default();
        for client in &self.clients {
            ledger.absorb(client.ledger().clone());
        }
        ledger
    }

    /// How many uploads went on after an interruption and finished.
    pub fn resumed(&self) -> usize {
        self.clients.iter().map(Client::resumed).sum()
    }
}

impl Running {
    /// Whether a client saw what must never be.
    pub fn is_broken(&self) -> bool {
        self.signals.is_broken.load(Ordering::Relaxed)
    }

    /// Waits until the clients together did or tried so many things.
    pub async fn until(&self, actions: usize, limit: Duration) -> Result<()> {
        eventually("the clients are busy", limit, async || {
            Ok((self.signals.actions.load(Ordering::Relaxed) >= actions).then_some(()))
        })
        .await
    }

    /// Lets every client finish what it is at, and what was interrupted. The registry must be up.
    pub async fn rest(mut self) -> Result<Workload> {
        self.signals.stop.store(true, Ordering::Relaxed);
        let mut clients = Vec::new();
        while let Some(client) = self.clients.join_next().await {
            clients.push(client.context("a client panicked")?);
        }
        clients.sort_by_key(Client::number);
        Ok(Workload { clients })
    }
}
