//! What was revoked, kept up to date by auth's stream.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use roadstead_proto::auth::v1::{
    WatchRequest, WatchResponse, revocation_service_client::RevocationServiceClient,
};
use roadstead_rpc::{ErrorReason, MAX_MESSAGE_BYTES, RpcChannel, reason};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tonic::{Status, Streaming};

use crate::{TokenClaims, Watermarks};

/// A stream that says nothing for this long is given up; auth says something every second.
const SILENCE: Duration = Duration::from_secs(5);
/// A snapshot lacks what has become meaningless, so one is asked for this often.
const SNAPSHOT_LIFE: Duration = Duration::from_hours(1);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(1);
/// An auth of the previous release has no such stream; it may be replaced at any time.
const RETRY_OF_UNKNOWN: Duration = Duration::from_secs(5);
/// More subjects than auth ever tells of. At some 100 bytes each these are 20 megabytes; beyond, what is held is coalesced.
const LIMIT: usize = 200_000;

/// What was revoked, as far as auth has told.
#[derive(Debug, Default)]
pub(crate) struct Revocations {
    known: RwLock<Watermarks>,
    /// Whether auth has told once.
    told: watch::Sender<bool>,
}

impl Revocations {
    /// Returns whether a token was revoked; none when that is not known yet.
    pub(crate) fn revoke(&self, claims: &impl TokenClaims) -> Option<bool> {
        let told = *self.told.borrow();
        told.then(|| claims.is_revoked(&self.known.read().unwrap_or_else(PoisonError::into_inner)))
    }

    pub(crate) async fn wait_known(&self) {
        let _ = self.told.subscribe().wait_for(|told| *told).await;
    }

    fn replace(&self, watermarks: Watermarks) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = watermarks;
        self.told.send_replace(true);
    }

    fn add(&self, message: WatchResponse) {
        if message.watermarks.is_empty() {
            return;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for watermark in message.watermarks {
            known.add(watermark);
        }
        bound(&mut known);
    }
}

/// Follows the stream for as long as the service runs.
pub(crate) async fn follow(revocations: Arc<Revocations>, auth: RpcChannel) {
    let mut auth = RevocationServiceClient::new(auth)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let mut retry = FIRST_RETRY;
    loop {
        let started = Instant::now();
        let end = follow_once(&revocations, &mut auth).await;
        if started.elapsed() > SILENCE {
            retry = FIRST_RETRY;
        }
        let pause = match end {
            End::SnapshotOld => Duration::ZERO,
            End::Unknown => {
                // It revokes nothing, and says so by not having the service.
                if !*revocations.told.borrow() {
                    tracing::warn!("auth is of a release that revokes no tokens");
                    revocations.replace(Watermarks::default());
                }
                RETRY_OF_UNKNOWN
            }
            // Auth that stops is back in a moment, or is missed by what follows.
            End::Gap | End::Closed => FIRST_RETRY,
            End::Silent | End::Failed(_) => {
                tracing::warn!(error = %end, "auth's revocations are not heard");
                let pause = retry;
                retry = (retry * 2).min(LAST_RETRY);
                pause
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Why a stream is not followed any longer.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("a change was missed")]
    Gap,
    #[error("the snapshot is old")]
    SnapshotOld,
    #[error("nothing was heard for too long")]
    Silent,
    #[error("the stream was closed")]
    Closed,
    #[error("auth has no such stream")]
    Unknown,
    #[error("{0}")]
    Failed(tonic::Code),
}

impl From<Status> for End {
    fn from(status: Status) -> Self {
        match reason(&status) {
            // The previous release allows nobody a service that it has not.
            ErrorReason::PeerRefused | ErrorReason::Unsupported => Self::Unknown,
            _ => Self::Failed(status.code()),
        }
    }
}

async fn follow_once(revocations: &Revocations, auth: &mut RevocationServiceClient<RpcChannel>) -> End {
    let mut stream = match timeout(SILENCE, auth.watch(WatchRequest {})).await {
        Ok(Ok(answer)) => answer.into_inner(),
        Ok(Err(status)) => return status.into(),
        Err(_) => return End::Silent,
    };
    let mut reader = Reader::default();
    let opened = Instant::now();
    loop {
        let message = match next(&mut stream).await {
            Ok(message) => message,
            Err(end) => return end,
        };
        if let Err(end) = reader.read(revocations, message) {
            return end;
        }
        if opened.elapsed() > SNAPSHOT_LIFE {
            return End::SnapshotOld;
        }
    }
}

async fn next(stream: &mut Streaming<WatchResponse>) -> Result<WatchResponse, End> {
    match timeout(SILENCE, stream.message()).await {
        Ok(Ok(Some(message))) => Ok(message),
        Ok(Ok(None)) => Err(End::Closed),
        Ok(Err(status)) => Err(status.into()),
        Err(_) => Err(End::Silent),
    }
}

/// One stream, read in order.
#[derive(Debug, Default)]
struct Reader {
    /// The snapshot, until it is whole. What was known before is used so long.
    snapshot: Option<Watermarks>,
    revision: u64,
}

impl Reader {
    fn read(&mut self, revocations: &Revocations, message: WatchResponse) -> Result<(), End> {
        let begins = message.previous == 0;
        if !begins && message.previous != self.revision {
            return Err(End::Gap);
        }
        self.revision = message.revision;
        let more = message.more;
        if begins {
            self.snapshot = Some(Watermarks::default());
        }
        let Some(snapshot) = &mut self.snapshot else {
            revocations.add(message);
            return Ok(());
        };
        for watermark in message.watermarks {
            snapshot.add(watermark);
        }
        bound(snapshot);
        if !more && let Some(snapshot) = self.snapshot.take() {
            revocations.replace(snapshot);
        }
        Ok(())
    }
}

fn bound(watermarks: &mut Watermarks) {
    if watermarks.len() > LIMIT {
        tracing::warn!("more was revoked than can be held; every token has to be got anew");
        watermarks.coalesce();
    }
}

#[cfg(test)]
#[path = "revocations_tests.rs"]
mod tests;
