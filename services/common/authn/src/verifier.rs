//! Verification with keys that are kept fresh in the background.

use std::{sync::Arc, time::Duration};

use moka::sync::Cache;
use roadstead_proto::auth::v1::{
    KeySet, ListKeySetsRequest, ListKeySetsResponse, TokenKind, key_service_client::KeyServiceClient,
};
use roadstead_rpc::{RpcChannel, TaskSet};
use roadstead_types::Clock;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use crate::{
    AccessClaims, Believed, KeySetError, PinnedKeys, RegistryClaims, TokenClaims, VerifyError,
    revocations::{self, Revocations},
};

/// Tokens remembered of each kind. At some 500 bytes each this is a few megabytes.
const REMEMBERED: u64 = 8192;
/// A token that nobody shows any more is forgotten after this long.
const IDLE: Duration = Duration::from_mins(2);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);
/// Bounds of how often keys are asked for, whatever auth says.
const REFRESH: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(5));

/// Returns the SHA-256 of a token, by which caches and push grants know it without holding it.
pub fn token_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Verifies access and registry tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Verifier(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    /// None until keys have been had once.
    ring: watch::Sender<Option<Arc<KeyRing>>>,
    revocations: Arc<Revocations>,
    registry: Decisions<RegistryClaims>,
    access: Decisions<AccessClaims>,
}

/// The keys of both kinds, as auth published them at one time.
#[derive(Debug)]
struct KeyRing {
    generation: u64,
    published: Vec<KeySet>,
    registry: PinnedKeys,
    access: PinnedKeys,
}

/// Claims of tokens that were verified, by token hash, with the generation of keys that did.
type Decisions<C> = Cache<[u8; 32], (u64, Arc<C>)>;

impl Verifier {
    /// Makes a verifier whose keys and revocations are kept up to date by tasks of `tasks` through `auth`.
    ///
    /// Once had, both are kept while auth is unreachable: tokens that are out in the world stay good until they expire.
    pub fn new(auth: RpcChannel, clock: Clock, tasks: &TaskSet) -> Self {
        let shared = Arc::new(Shared {
            clock,
            ring: watch::Sender::new(None),
            revocations: Arc::default(),
            registry: decisions(),
            access: decisions(),
        });
        let follow = revocations::follow(shared.revocations.clone(), auth.clone());
        spawn_until_stopped(tasks, "authn-revocations", follow);
        let refresh = keep_fresh(shared.clone(), KeyServiceClient::new(auth));
        spawn_until_stopped(tasks, "authn-keys", refresh);
        Self(shared)
    }

    /// Waits until keys, and what was revoked, have been had once.
    pub async fn wait_ready(&self) {
        // The sender lives in `self`, so that the wait ends only with an arrival.
        let _ = self.0.ring.subscribe().wait_for(Option::is_some).await;
        self.0.revocations.wait_known().await;
    }

    /// Verifies a registry token.
    ///
    /// # Errors
    ///
    /// [`VerifyError::Expired`] carries the claims of a token of which all else holds; [`VerifyError::Revoked`] those of one
    /// that was taken back, expired or not.
    pub fn registry(&self, token: &str) -> Result<Arc<RegistryClaims>, VerifyError> {
        self.decide(token, &self.0.registry, |ring| &ring.registry)
    }

    /// Verifies an access token.
    ///
    /// # Errors
    ///
    /// As [`Verifier::registry`].
    pub fn access(&self, token: &str) -> Result<Arc<AccessClaims>, VerifyError<AccessClaims>> {
        self.decide(token, &self.0.access, |ring| &ring.access)
    }

    fn decide<C: TokenClaims + Send + Sync + 'static>(
        &self,
        token: &str,
        decisions: &Decisions<C>,
        keys: impl FnOnce(&KeyRing) -> &PinnedKeys,
    ) -> Result<Arc<C>, VerifyError<C>> {
        let claims = self.believe(token, decisions, keys)?;
        match self.0.revocations.revoke(&*claims) {
            None => Err(VerifyError::KeysUnavailable),
            Some(true) => Err(VerifyError::Revoked(claims)),
            Some(false) if claims.expires_at() <= self.0.clock.unix_seconds() => {
                Err(VerifyError::Expired(claims))
            }
            Some(false) => Ok(claims),
        }
    }

    /// Returns the claims of a token of which everything holds but perhaps its age.
    fn believe<C: TokenClaims + Send + Sync + 'static>(
        &self,
        token: &str,
        decisions: &Decisions<C>,
        keys: impl FnOnce(&KeyRing) -> &PinnedKeys,
    ) -> Result<Arc<C>, VerifyError<C>> {
        let ring = self.0.ring.borrow().clone().ok_or(VerifyError::KeysUnavailable)?;
        let hash = token_hash(token);
        if let Some((generation, claims)) = decisions.get(&hash)
            && generation == ring.generation
        {
            return Ok(claims);
        }
        match keys(&ring).verify::<C>(token, self.0.clock.unix_seconds()) {
            None => Err(VerifyError::Invalid),
            Some(Believed::Expired(claims)) => Ok(Arc::new(claims)),
            Some(Believed::Fresh(claims)) => {
                let claims = Arc::new(claims);
                decisions.insert(hash, (ring.generation, claims.clone()));
                Ok(claims)
            }
        }
    }
}

fn spawn_until_stopped(tasks: &TaskSet, name: &str, task: impl Future<Output = ()> + Send + 'static) {
    let stop = tasks.token().clone();
    tasks.spawn(name, async move {
        tokio::select! {
            // First, so that what ends at the same time is not taken for a failure.
            biased;
            () = stop.cancelled() => {}
            () = task => {}
        }
    });
}

fn decisions<C: Send + Sync + 'static>() -> Decisions<C> {
    Cache::builder()
        .max_capacity(REMEMBERED)
        .time_to_idle(IDLE)
        .build()
}

async fn keep_fresh(shared: Arc<Shared>, mut auth: KeyServiceClient<RpcChannel>) {
    let mut retry = FIRST_RETRY;
    loop {
        let answer = auth.list_key_sets(ListKeySetsRequest {}).await;
        let outcome = match answer {
            Ok(answer) => shared
                .accept(answer.into_inner())
                .map_err(|error| error.to_string()),
            Err(status) => Err(status.code().to_string()),
        };
        let pause = match outcome {
            Ok(max_age) => {
                retry = FIRST_RETRY;
                (max_age / 2).clamp(REFRESH.0, REFRESH.1)
            }
            Err(error) => {
                tracing::warn!(
                    error,
                    had_keys = shared.ring.borrow().is_some(),
                    "token keys could not be refreshed"
                );
                let pause = retry;
                retry = (retry * 2).min(LAST_RETRY);
                pause
            }
        };
        tokio::time::sleep(pause).await;
    }
}

impl Shared {
    /// Takes over the keys of `answer` and returns how long they may be used.
    fn accept(&self, answer: ListKeySetsResponse) -> Result<Duration, KeySetError> {
        let max_age = Duration::from_secs(answer.max_age.into());
        let current = self.ring.borrow().clone();
        let generation = match current {
            Some(current) if current.published == answer.key_sets => return Ok(max_age),
            Some(current) => current.generation + 1,
            None => 0,
        };
        let keys_of = |kind: TokenKind| {
            let set = answer.key_sets.iter().find(|set| set.kind() == kind);
            PinnedKeys::from_key_set(set.unwrap_or(&KeySet::default()))
        };
        let (registry, access) = (keys_of(TokenKind::Registry)?, keys_of(TokenKind::Access)?);
        self.ring.send_replace(Some(Arc::new(KeyRing {
            generation,
            published: answer.key_sets,
            registry,
            access,
        })));
        Ok(max_age)
    }
}
