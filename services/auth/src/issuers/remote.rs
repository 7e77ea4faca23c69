//! Keys of a remote issuer, fetched when needed and kept.
//!
//! Keys are used for [`FRESH`] without a thought, and for [`STALE`] while a fetch goes on in the background, so that a
//! slow or absent issuer is not felt. After that, or when there are none, an exchange waits for a fetch. A key id that
//! is not known makes one fetch a minute at most, however many tokens name it, because anybody can make up key ids.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use jsonwebtoken::{Algorithm, DecodingKey};
use openidconnect::DiscoveryError;
use roadstead_rpc::TaskSet;
use roadstead_types::Clock;
use tokio::sync::Mutex;

use super::{
    client::{FetchError, IssuerClient},
    keyset::IssuerKeySet,
};

const FRESH: Duration = Duration::from_mins(5);
/// A key that the issuer withdrew is believed no longer than this, even while the issuer cannot be reached.
const STALE: Duration = Duration::from_hours(1);
const UNKNOWN_KEY_PAUSE: Duration = Duration::from_mins(1);
/// An issuer that failed is left alone for this long; twice as long when it fails again, and so on.
const FIRST_FAILURE_PAUSE: Duration = Duration::from_secs(5);
const LAST_FAILURE_PAUSE: Duration = Duration::from_mins(1);

/// The issuer cannot be asked now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unavailable {
    pub(crate) retry_after: Duration,
}

/// The keys of one issuer.
#[derive(Debug)]
pub(crate) struct RemoteKeys {
    client: IssuerClient,
    clock: Clock,
    tasks: TaskSet,
    current: RwLock<Option<Arc<Fetched>>>,
    /// Held during a fetch, so that there is one at a time and those who waited for it use its outcome.
    last: Mutex<Option<Attempt>>,
    in_background: AtomicBool,
}

#[derive(Debug)]
struct Fetched {
    keys: IssuerKeySet,
    at: SystemTime,
}

#[derive(Clone, Copy, Debug)]
struct Attempt {
    at: SystemTime,
    /// How often in a row it failed.
    failures: u32,
}

impl Attempt {
    /// How long the issuer is left alone.
    fn pause(self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(8);
        (FIRST_FAILURE_PAUSE * (1 << doublings)).min(LAST_FAILURE_PAUSE)
    }
}

impl RemoteKeys {
    pub(crate) fn new(client: IssuerClient, clock: Clock, tasks: TaskSet) -> Arc<Self> {
        Arc::new(Self {
            client,
            clock,
            tasks,
            current: RwLock::new(None),
            last: Mutex::new(None),
            in_background: AtomicBool::new(false),
        })
    }

    /// Returns the keys that a token of this header may be signed with; none when there is no such key.
    pub(crate) async fn matching(
        self: &Arc<Self>,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Vec<DecodingKey>, Unavailable> {
        let fetched = self.usable().await?;
        let keys = fetched.keys.matching(kid, algorithm);
        if !keys.is_empty() {
            return Ok(keys);
        }
        let fetched = self.fetch_after(Some(fetched), UNKNOWN_KEY_PAUSE).await?;
        Ok(fetched.keys.matching(kid, algorithm))
    }

    async fn usable(self: &Arc<Self>) -> Result<Arc<Fetched>, Unavailable> {
        let Some(fetched) = self.current() else {
            return self.fetch_after(None, Duration::ZERO).await;
        };
        let age = self.since(fetched.at);
        if age > STALE {
            return self.fetch_after(Some(fetched), Duration::ZERO).await;
        }
        if age > FRESH && !self.in_background.swap(true, Ordering::AcqRel) {
            let (remote, seen) = (self.clone(), fetched.clone());
            self.tasks.spawn("issuer-keys", async move {
                let stop = remote.tasks.token().clone();
                tokio::select! {
                    () = stop.cancelled() => {}
                    // What went wrong is logged where it happened, and the keys at hand go on serving.
                    _ = remote.fetch_after(Some(seen), Duration::ZERO) => {}
                }
                remote.in_background.store(false, Ordering::Release);
            });
        }
        Ok(fetched)
    }

    /// Fetches keys newer than `seen`, unless a fetch succeeded less than `pause` ago: then what it gave must do.
    async fn fetch_after(
        &self,
        seen: Option<Arc<Fetched>>,
        pause: Duration,
    ) -> Result<Arc<Fetched>, Unavailable> {
        let mut last = self.last.lock().await;
        let current = self.current();
        if let Some(current) = &current
            && seen.is_none_or(|seen| !Arc::ptr_eq(&seen, current))
        {
            return Ok(current.clone());
        }
        if let Some(attempt) = *last {
            let since = self.since(attempt.at);
            let failed = attempt.failures > 0;
            if failed && since < attempt.pause() {
                return Err(Unavailable {
                    retry_after: attempt.pause().saturating_sub(since),
                });
            }
            if let Some(current) = current.filter(|_| !failed && since < pause) {
                return Ok(current);
            }
        }
        // Noted as failed first: a caller that gives up in the middle of a slow fetch must not let the next in at once.
        let at = self.clock.now();
        let failures = last.map_or(0, |attempt| attempt.failures).saturating_add(1);
        let attempt = Attempt { at, failures };
        *last = Some(attempt);
        match self
            .client
            .fetch()
            .await
            .map(|published| IssuerKeySet::from_published(&published))
        {
            Ok(keys) if !keys.is_empty() => {
                *last = Some(Attempt { at, failures: 0 });
                let fetched = Arc::new(Fetched { keys, at });
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(fetched.clone());
                Ok(fetched)
            }
            Ok(_) => Err(self.failed(
                attempt,
                "it publishes no key that signs with an accepted algorithm",
            )),
            Err(error) => Err(self.failed(attempt, &describe(&error))),
        }
    }

    fn failed(&self, attempt: Attempt, error: &str) -> Unavailable {
        tracing::warn!(
            issuer = self.client.issuer(),
            failures = attempt.failures,
            error,
            "an issuer's keys could not be fetched"
        );
        Unavailable {
            retry_after: attempt.pause(),
        }
    }

    fn current(&self) -> Option<Arc<Fetched>> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn since(&self, time: SystemTime) -> Duration {
        self.clock.now().duration_since(time).unwrap_or_default()
    }
}

/// Returns an error with its causes, of which the outermost says least. The bodies of answers are left out.
fn describe(error: &DiscoveryError<FetchError>) -> String {
    if let DiscoveryError::Response(status, _, message) = error {
        return format!("{status}: {message}");
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
