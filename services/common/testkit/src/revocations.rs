//! The part of `auth.v1` that tells what was revoked.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{Stream, stream};
use roadstead_proto::auth::v1::{
    WatchRequest, WatchResponse, Watermark, revocation_service_server::RevocationService, watermark::Subject,
};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status};

const HEARTBEAT: Duration = Duration::from_secs(1);

/// Serves `RevocationService` as a test tells it.
#[derive(Clone, Debug, Default)]
pub struct TestRevocations(Arc<State>);

#[derive(Debug, Default)]
struct State {
    told: Mutex<Told>,
    streams: AtomicUsize,
}

#[derive(Debug)]
struct Told {
    revision: u64,
    watermarks: Vec<Watermark>,
    watchers: Vec<mpsc::UnboundedSender<WatchResponse>>,
}

impl Default for Told {
    fn default() -> Self {
        Self {
            revision: 1,
            watermarks: Vec::new(),
            watchers: Vec::new(),
        }
    }
}

impl TestRevocations {
    /// Revokes the tokens of a subject that say an earlier revision than this returns.
    pub fn revoke(&self, subject: Subject) -> u64 {
        let mut told = self.told();
        let message = told.mark(subject);
        told.watchers
            .retain(|watcher| watcher.send(message.clone()).is_ok());
        told.revision
    }

    /// Revokes as [`TestRevocations::revoke`] does, and tells only those who ask for a snapshot.
    pub fn revoke_untold(&self, subject: Subject) -> u64 {
        let mut told = self.told();
        told.mark(subject);
        told.revision
    }

    /// Forgets what was revoked, as when it has become meaningless, and tells only those who ask for a snapshot.
    pub fn forget(&self) {
        self.told().watermarks.clear();
    }

    /// Ends every stream.
    pub fn close_streams(&self) {
        self.told().watchers.clear();
    }

    /// Sends something to every stream, whatever it says.
    pub fn send(&self, message: &WatchResponse) {
        self.told()
            .watchers
            .retain(|watcher| watcher.send(message.clone()).is_ok());
    }

    /// The revision of the permissions.
    pub fn revision(&self) -> u64 {
        self.told().revision
    }

    /// How many streams were asked for.
    pub fn streams(&self) -> usize {
        self.0.streams.load(Ordering::SeqCst)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    fn mark(&mut self, subject: Subject) -> WatchResponse {
        let previous = self.revision;
        self.revision += 1;
        let watermark = Watermark {
            subject: Some(subject),
            revision: self.revision,
        };
        self.watermarks.push(watermark.clone());
        WatchResponse {
            revision: self.revision,
            previous,
            watermarks: vec![watermark],
            more: false,
        }
    }
}

#[tonic::async_trait]
impl RevocationService for TestRevocations {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(&self, _request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        self.0.streams.fetch_add(1, Ordering::SeqCst);
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut told = self.told();
        let snapshot = WatchResponse {
            revision: told.revision,
            previous: 0,
            watermarks: told.watermarks.clone(),
            more: false,
        };
        // Nobody else has the receiver's end.
        let _ = sender.send(snapshot);
        told.watchers.push(sender);
        Ok(Response::new(Box::pin(stream::unfold((receiver, 0), next))))
    }
}

type Reading = (mpsc::UnboundedReceiver<WatchResponse>, u64);

async fn next((mut receiver, revision): Reading) -> Option<(Result<WatchResponse, Status>, Reading)> {
    let message = match tokio::time::timeout(HEARTBEAT, receiver.recv()).await {
        Ok(message) => message?,
        Err(_) => WatchResponse {
            revision,
            previous: revision,
            ..WatchResponse::default()
        },
    };
    let revision = message.revision;
    Some((Ok(message), (receiver, revision)))
}
