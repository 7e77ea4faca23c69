//! Which session is written by whom, and what of it this process knows at first hand.

use std::{collections::HashMap, sync::Arc, time::Instant};

use parking_lot::Mutex;
use roadstead_types::UploadId;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio_util::sync::CancellationToken;

use crate::{
    error::Error,
    seal::{Lease, UploadState},
};

/// Sessions to remember. One that is forgotten costs a re-read of its bytes, nothing else.
const REMEMBERED: usize = 65_536;

/// The last state that this process issued for a session, if the session's file has since been written by nobody else.
/// Only such a state is believed without reading the bytes again: a gateway that carries an older state back, or a
/// crash that lost written pages, must not make hash and bytes disagree.
pub(crate) type LastIssued = Option<UploadState>;

/// All sessions that this process has seen lately.
#[derive(Default)]
pub(crate) struct Sessions {
    sessions: Mutex<HashMap<UploadId, Arc<Session>>>,
}

struct Session {
    control: Mutex<Control>,
    last_issued: Arc<AsyncMutex<LastIssued>>,
}

struct Control {
    /// The newest lease seen.
    epoch: u64,
    /// Cancelled when a newer lease is seen.
    superseded: CancellationToken,
    used: Instant,
}

/// The exclusive right to touch a session's bytes, until dropped. It goes along with every blocking job on the bytes, so
/// that no successor starts before the last job is done.
pub(crate) struct Claim {
    pub(crate) last_issued: OwnedMutexGuard<LastIssued>,
    pub(crate) superseded: CancellationToken,
    // Keeps the session from being forgotten, and thereby from existing twice.
    _session: Arc<Session>,
}

impl Sessions {
    /// Waits for the session's bytes to be free, after telling holders of older leases to stop.
    pub(crate) async fn claim(&self, lease: &Lease) -> Result<Claim, Error> {
        let session = self.session(lease);
        let superseded = session.admit(lease.epoch)?;
        let lock = Arc::clone(&session.last_issued).lock_owned();
        let last_issued = tokio::select! {
            biased;
            () = superseded.cancelled() => return Err(Error::Superseded),
            guard = lock => guard,
        };
        Ok(Claim {
            last_issued,
            superseded,
            _session: session,
        })
    }

    fn session(&self, lease: &Lease) -> Arc<Session> {
        let mut sessions = self.sessions.lock();
        if let Some(session) = sessions.get(&lease.upload_id) {
            return Arc::clone(session);
        }
        if sessions.len() >= REMEMBERED {
            forget_half(&mut sessions);
        }
        let session = Arc::new(Session {
            control: Mutex::new(Control {
                epoch: lease.epoch,
                superseded: CancellationToken::new(),
                used: Instant::now(),
            }),
            last_issued: Arc::default(),
        });
        sessions.insert(lease.upload_id, Arc::clone(&session));
        session
    }
}

impl Session {
    fn admit(&self, epoch: u64) -> Result<CancellationToken, Error> {
        let mut control = self.control.lock();
        if epoch < control.epoch {
            return Err(Error::Superseded);
        }
        if epoch > control.epoch {
            control.epoch = epoch;
            control.superseded.cancel();
            control.superseded = CancellationToken::new();
        }
        control.used = Instant::now();
        Ok(control.superseded.clone())
    }
}

/// Drops the longer unused half of the idle sessions.
fn forget_half(sessions: &mut HashMap<UploadId, Arc<Session>>) {
    let idle = |session: &Arc<Session>| Arc::strong_count(session) == 1;
    let mut used: Vec<Instant> = sessions
        .values()
        .filter(|session| idle(session))
        .map(|session| session.control.lock().used)
        .collect();
    if used.is_empty() {
        return;
    }
    let middle = used.len() / 2;
    let (_, median, _) = used.select_nth_unstable(middle);
    let median = *median;
    sessions.retain(|_, session| !idle(session) || session.control.lock().used > median);
}

#[cfg(test)]
mod tests {
    use roadstead_types::DigestAlgorithm;

    use super::*;

    fn lease(upload_id: &UploadId, epoch: u64) -> Lease {
        Lease {
            upload_id: *upload_id,
            epoch,
            algorithm: DigestAlgorithm::Sha256,
        }
    }

    #[tokio::test]
    async fn a_newer_lease_stops_the_older_and_waits_for_it() {
        let sessions = Sessions::default();
        let id = UploadId::new();
        let old = sessions.claim(&lease(&id, 1)).await.unwrap();
        let new_lease = lease(&id, 2);
        let mut new = Box::pin(sessions.claim(&new_lease));
        assert!(futures::poll!(&mut new).is_pending());
        assert!(old.superseded.is_cancelled());
        drop(old);
        assert!(!new.await.unwrap().superseded.is_cancelled());
        assert!(matches!(
            sessions.claim(&lease(&id, 1)).await,
            Err(Error::Superseded)
        ));
    }

    #[tokio::test]
    async fn a_waiter_gives_way_too() {
        let sessions = Sessions::default();
        let id = UploadId::new();
        let _held = sessions.claim(&lease(&id, 1)).await.unwrap();
        let (second, third) = (lease(&id, 2), lease(&id, 3));
        let mut second = Box::pin(sessions.claim(&second));
        assert!(futures::poll!(&mut second).is_pending());
        let mut third = Box::pin(sessions.claim(&third));
        assert!(futures::poll!(&mut third).is_pending());
        assert!(matches!(second.await, Err(Error::Superseded)));
    }

    #[tokio::test]
    async fn memory_of_sessions_is_bounded_and_spares_those_in_use() {
        let sessions = Sessions::default();
        let id = UploadId::new();
        let held = sessions.claim(&lease(&id, 5)).await.unwrap();
        for _ in 0..REMEMBERED + 10 {
            sessions.claim(&lease(&UploadId::new(), 1)).await.unwrap();
        }
        assert!(sessions.sessions.lock().len() <= REMEMBERED);
        assert!(matches!(
            sessions.claim(&lease(&id, 4)).await,
            Err(Error::Superseded)
        ));
        drop(held);
    }
}
