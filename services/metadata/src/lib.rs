//! Repositories, manifests, tags, referrers, blob links and upload sessions.
//!
//! The service owns `<data_dir>/metadata/metadata.db` and what is in it: which repository holds what, what every tag
//! points at and ever pointed at, how far every upload is, and the events that tell of it. It never sees a blob's bytes,
//! never renders HTTP, and never takes the gateway's word for who writes: each write carries the caller's registry token.
//!
//! Invariants:
//!
//! * a manifest, its edges, its tags, their history and its events are one transaction;
//! * a read answers from what was committed before it began: no content is cached, only for moments who may read what;
//! * a digest resolves to one object; a newcomer's object is queued for deletion in the transaction that rejects it;
//! * whether content exists is never told to who may not read it;
//! * a version of a tag is never given twice, also when the tag was deleted in between.

mod access;
mod config;
mod domain;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod mount;
mod notices;
mod reaper;
mod rpc;
mod store;

use std::path::PathBuf;
use std::sync::Arc;

use roadstead_authn::Verifier;
use roadstead_rpc::{Readiness, RpcChannel, SealKey, TaskSet};
use roadstead_runtime::BuiltService;
use roadstead_types::{Clock, RepositoryName};
use tokio_util::sync::CancellationToken;

pub use config::{Config, ManifestValidation, RepositoryConfig};
pub use error::BuildError;

use crate::access::Authority;
use crate::domain::policy::Policy;
use crate::notices::Notices;
use crate::reaper::Reaper;
use crate::store::{Pushed, Store};

/// What values are sealed for. blobs opens and seals under the same names, so they are part of the contract.
mod purpose {
    pub(crate) const LOCATOR: &str = "locator";
    pub(crate) const LEASE: &str = "lease";
    pub(crate) const RECEIPT: &str = "receipt";
}

/// What the service is built from.
pub struct Deps {
    /// The time.
    pub clock: Clock,
    /// The root data directory; the service keeps to `metadata` in it.
    pub data_dir: PathBuf,
    /// Shared with blobs.
    pub seal_key: SealKey,
    /// Reaches auth: keys, what a token may read, what is public, and the groups of new repositories.
    pub auth: RpcChannel,
    /// Reaches blobs: abandoned uploads and discarded objects.
    pub blobs: RpcChannel,
    /// Cancelled when background tasks are to stop.
    pub shutdown: CancellationToken,
}

/// What every RPC works with.
struct Core {
    store: Store,
    authority: Authority,
    policy: Policy,
    notices: Notices,
    seal: SealKey,
    clock: Clock,
    locator_seconds: i64,
    manifest_size_limit: usize,
    max_tags_per_push: usize,
}

impl Core {
    /// Gives what a push gave, and sees to it that auth hears of the repository if the push made it.
    fn note<T>(&self, name: &RepositoryName, pushed: Pushed<T>) -> T {
        if pushed.made_repository {
            self.notices.repository_made(name);
        }
        pushed.value
    }
}

/// Opens the database and builds the service. It is ready when auth's keys have arrived.
///
/// # Errors
/// When the data directory is in use, was written by a newer release, or cannot be used.
pub async fn build(config: Config, deps: Deps) -> Result<BuiltService, BuildError> {
    let directory = deps.data_dir.join("metadata");
    let (opened_config, clock) = (config.clone(), deps.clock.clone());
    let opened = tokio::task::spawn_blocking(move || Store::open(&directory, &opened_config, clock)).await;
    let store = opened.map_err(|error| BuildError::Interrupted(error.to_string()))??;

    let tasks = TaskSet::new(deps.shutdown.clone());
    let verifier = Verifier::new(deps.auth.clone(), deps.clock.clone(), &tasks);
    let readiness = Readiness::new();
    let (ready, keys) = (readiness.clone(), verifier.clone());
    let stop = deps.shutdown.clone();
    readiness.set_not_ready("waiting for the keys of auth");
    tasks.spawn("metadata-ready", async move {
        if stop.run_until_cancelled(keys.wait_ready()).await.is_some() {
            ready.set_ready();
        }
    });
    let reaper = Reaper::new(
        store.clone(),
        deps.seal_key.clone(),
        deps.blobs,
        deps.clock.clone(),
    );
    tasks.spawn(
        "metadata-reaper",
        reaper.run(config.reaper_interval, deps.shutdown),
    );

    let core = Arc::new(Core {
        store,
        notices: Notices::start(deps.auth.clone(), &tasks),
        authority: Authority::new(verifier, deps.auth),
        policy: Policy::new(&config),
        seal: deps.seal_key,
        clock: deps.clock,
        // At most half of the range, so that adding it to a time does not overflow.
        locator_seconds: i64::try_from(config.locator_ttl.as_secs()).unwrap_or(i64::MAX / 2),
        manifest_size_limit: config.manifest_size_limit,
        max_tags_per_push: config.max_tags_per_push,
    });
    let server = rpc::server(&core, readiness.clone());
    Ok(BuiltService {
        server,
        tasks,
        readiness,
    })
}
