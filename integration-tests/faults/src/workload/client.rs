//! One client: chooses what to do next, asks, and notes the answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use reqwest::Method;
use roadstead_integration_tests::{Reply, Request, Session};
use roadstead_types::Digest;

use super::Signals;
use super::uploads::Upload;
use crate::ledger::{ChangeId, Effect, Key, Ledger, Outcome};

/// How long a client waits after a failure, as clients do.
const PAUSE: Duration = Duration::from_millis(40);

/// Things of each kind and repository that a client remembers to do something with.
const REMEMBERED: usize = 32;

/// How often what was interrupted is tried again at the end, when nothing is killed any more.
const LAST_ATTEMPTS: usize = 20;

/// A manifest that may be pushed again.
#[derive(Clone)]
pub(super) struct Manifest {
    pub(super) repository: String,
    pub(super) digest: Digest,
    pub(super) media_type: &'static str,
    pub(super) bytes: Bytes,
}

/// A client with repositories of its own.
pub(super) struct Client {
    pub(super) session: Session,
    pub(super) rng: SmallRng,
    pub(super) ledger: Ledger,
    pub(super) blobs: BTreeMap<String, Vec<Digest>>,
    pub(super) manifests: Vec<Manifest>,
    /// What some manifest names, or did.
    pub(super) referenced: BTreeSet<(String, Digest)>,
    pub(super) interrupted: Vec<Upload>,
    pub(super) neighbours: Vec<String>,
    pub(super) resumed: usize,
    seed: u64,
    number: usize,
    requests: usize,
}

/// What the registry says to a request.
pub(super) enum Answer {
    /// Something definite.
    Reply(Reply),
    /// Nothing, or that it could not do it now: both leave open whether it was done.
    Silence,
}

/// The repositories of a client.
pub(super) fn repositories(number: usize) -> Vec<String> {
    vec![format!("crash/{number}/a"), format!("crash/{number}/b")]
}

impl Client {
    pub(super) fn new(session: Session, seed: u64, number: usize, neighbours: Vec<String>) -> Self {
        Self {
            session,
            rng: SmallRng::seed_from_u64(seed.wrapping_mul(31).wrapping_add(number as u64)),
            ledger: Ledger::default(),
            blobs: BTreeMap::new(),
            manifests: Vec::new(),
            referenced: BTreeSet::new(),
            interrupted: Vec::new(),
            neighbours,
            resumed: 0,
            seed,
            number,
            requests: 0,
        }
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(super) fn number(&self) -> usize {
        self.number
    }

    pub(super) fn resumed(&self) -> usize {
        self.resumed
    }

    pub(super) async fn run(mut self, signals: Arc<Signals>) -> Self {
        while !signals.stop.load(Ordering::Relaxed) {
            self.act().await;
            signals.actions.fetch_add(1, Ordering::Relaxed);
            if !self.ledger.violations().is_empty() {
                signals.is_broken.store(true, Ordering::Relaxed);
                return self;
            }
        }
        for _ in 0..LAST_ATTEMPTS {
            let Some(upload) = self.interrupted.pop() else {
                return self;
            };
            self.resume(upload).await;
        }
        for upload in std::mem::take(&mut self.interrupted) {
            self.ledger
                .violation(format!("{} can't be finished", upload.digest));
        }
        self
    }

    async fn act(&mut self) {
        if let Some(upload) = self.interrupted.pop() {
            // Some clients never come back.
            if self.rng.random_ratio(3, 4) {
                self.resume(upload).await;
            }
            return;
        }
        match self.rng.random_range(0..100) {
            0..22 => self.push_at_once().await,
            22..40 => self.push_in_chunks().await,
            40..45 => self.cancel_an_upload().await,
            45..52 => self.mount().await,
            52..68 => self.push_image().await,
            68..72 => self.push_index().await,
            72..76 => self.push_referrer().await,
            76..82 => self.move_tag().await,
            82..85 => self.delete_tag().await,
            85..88 => self.delete_manifest().await,
            88..91 => self.delete_blob().await,
            91..96 => self.pull_tag().await,
            _ => self.pull_blob().await,
        }
    }

    /// One of the client's repositories.
    pub(super) fn repository(&mut self) -> String {
        let own = repositories(self.number);
        let at = self.rng.random_range(0..own.len());
        own[at].clone()
    }

    /// An id for the next request, which its events will carry.
    pub(super) fn request_id(&mut self) -> String {
        self.requests += 1;
        format!("crash-{}-{}-{}", self.seed, self.number, self.requests)
    }

    /// A number that no other content of this run has.
    pub(super) fn unique(&mut self) -> u64 {
        self.rng.random()
    }

    pub(super) fn request(&self, method: Method, path: &str, id: &str) -> Request {
        self.session.request(method, path).header("X-Request-Id", id)
    }

    /// Sends a request of one's own id.
    pub(super) async fn ask(&mut self, method: Method, path: &str) -> Answer {
        let id = self.request_id();
        let request = self.request(method, path, &id);
        self.send(request).await
    }

    pub(super) async fn send(&mut self, request: Request) -> Answer {
        match request.send().await {
            Ok(reply) if reply.status == 500 => {
                self.ledger
                    .violation(format!("the registry failed by itself: {:?}", reply.expect(200)));
                Answer::Silence
            }
            // Too busy, or another holds the upload: later it may work.
            Ok(reply) if !reply.status.is_server_error() && ![409, 429].contains(&reply.status.as_u16()) => {
                Answer::Reply(reply)
            }
            _ => {
                tokio::time::sleep(PAUSE).await;
                Answer::Silence
            }
        }
    }

    /// Asks for a change with one request. `done` is the status that says that it is done; the others listed refuse it.
    pub(super) async fn change(
        &mut self,
        effect: Effect,
        (method, path): (Method, &str),
        body: Option<(&str, Bytes)>,
        (done, refusals): (u16, &[u16]),
    ) -> Outcome {
        let id = self.request_id();
        let mut request = self.request(method, path, &id);
        if let Some((media_type, bytes)) = body {
            request = request.header("Content-Type", media_type).body(bytes);
        }
        let change = self.ledger.begin(effect, id);
        let answer = self.send(request).await;
        self.judge(change, answer, done, refusals)
    }

    pub(super) fn judge(&mut self, change: ChangeId, answer: Answer, done: u16, refusals: &[u16]) -> Outcome {
        let outcome = match answer {
            Answer::Silence => Outcome::Unknown,
            Answer::Reply(reply) if reply.status == done => Outcome::Acknowledged,
            Answer::Reply(reply) => {
                if !refusals.contains(&reply.status.as_u16()) {
                    self.ledger
                        .violation(format!("unexpected: {:?}", reply.expect(done)));
                }
                Outcome::Refused
            }
        };
        self.ledger.settle(change, outcome);
        outcome
    }

    pub(super) fn remember_blob(&mut self, repository: &str, digest: &Digest) {
        let blobs = self.blobs.entry(repository.to_owned()).or_default();
        if !blobs.contains(digest) {
            blobs.push(digest.clone());
        }
        if blobs.len() > REMEMBERED {
            blobs.remove(0);
        }
    }

    pub(super) fn remember_manifest(&mut self, manifest: Manifest) {
        self.manifests.push(manifest);
        if self.manifests.len() > REMEMBERED {
            self.manifests.remove(0);
        }
    }

    /// One of the blobs that the repository surely has.
    pub(super) fn certain_blob(&mut self, repository: &str) -> Option<Digest> {
        let blobs = self.blobs.get(repository)?;
        let certain: Vec<_> = blobs
            .iter()
            .filter(|digest| {
                self.ledger
                    .is_certain(&Key::Blob(repository.to_owned(), (*digest).clone()))
            })
            .collect();
        if certain.is_empty() {
            return None;
        }
        let at = self.rng.random_range(0..certain.len());
        Some(certain[at].clone())
    }

    /// One of the manifests that their repository surely has.
    pub(super) fn certain_manifest(&mut self) -> Option<Manifest> {
        let certain: Vec<_> = self
            .manifests
            .iter()
            .filter(|manifest| {
                let key = Key::Manifest(manifest.repository.clone(), manifest.digest.clone());
                self.ledger.is_certain(&key)
            })
            .collect();
        if certain.is_empty() {
            return None;
        }
        let at = self.rng.random_range(0..certain.len());
        Some(certain[at].clone())
    }
}
