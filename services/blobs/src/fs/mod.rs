//! Bytes in a directory of this machine.

mod append;
mod buffers;
mod finish;
mod read;
mod store;

use std::{path::Path, sync::Arc, time::Duration};

use roadstead_rpc::TaskSet;
use roadstead_runtime::DirectoryError;
use roadstead_types::Digest;
use tokio::{sync::mpsc, task::spawn_blocking};

pub(crate) use self::{append::Chunks, finish::Finished, read::ObjectChunks};
use self::{buffers::Buffers, store::Store};
use crate::{
    config::Config,
    error::Error,
    memory::Budget,
    object_key::ObjectKey,
    seal::{Lease, Locator, UploadState},
    session::Sessions,
};

/// Replies that may wait for a slow reader: a credit per batch and a checkpoint now and then.
const REPLIES: usize = 16;

/// What an `Append` says while it runs.
pub(crate) enum Progress {
    /// So many bytes more may be sent.
    Credit(u64),
    /// All bytes up to the state's offset are in the file.
    Checkpoint(UploadState),
}

struct Limits {
    checkpoint_interval: u64,
    max_blob_size: u64,
    disk_reserve: u64,
    chunk_idle_timeout: Duration,
}

/// The filesystem backend.
pub(crate) struct FsBackend {
    store: Store,
    sessions: Sessions,
    budget: Budget,
    buffers: Arc<Buffers>,
    limits: Limits,
    tasks: TaskSet,
}

impl FsBackend {
    pub(crate) fn open(root: &Path, config: &Config, tasks: TaskSet) -> Result<Arc<Self>, DirectoryError> {
        Ok(Arc::new(Self {
            store: Store::open(root)?,
            sessions: Sessions::default(),
            budget: Budget::new(config.upload_memory, config.upload_window),
            buffers: Buffers::new(read::CHUNK),
            limits: Limits {
                checkpoint_interval: config.checkpoint_interval,
                max_blob_size: config.max_blob_size,
                disk_reserve: config.disk_reserve,
                chunk_idle_timeout: config.chunk_idle_timeout,
            },
            tasks,
        }))
    }

    pub(crate) fn append(
        self: &Arc<Self>,
        lease: Lease,
        state: Option<UploadState>,
        chunks: Chunks,
    ) -> mpsc::Receiver<Result<Progress, Error>> {
        let (replies, progress) = mpsc::channel(REPLIES);
        self.tasks.spawn_for_request(
            "append",
            append::run(Arc::clone(self), lease, state, chunks, replies),
        );
        progress
    }

    pub(crate) async fn finish(
        self: &Arc<Self>,
        lease: Lease,
        state: Option<UploadState>,
        digest: Digest,
    ) -> Result<Finished, Error> {
        let claim = self.sessions.claim(&lease).await?;
        let backend = Arc::clone(self);
        blocking(move || backend.finish_claimed(&lease, state.as_ref(), &digest, claim)).await?
    }

    pub(crate) async fn abort(self: &Arc<Self>, lease: Lease) -> Result<(), Error> {
        let mut claim = self.sessions.claim(&lease).await?;
        let backend = Arc::clone(self);
        blocking(move || {
            *claim.last_issued = None;
            backend.store.discard_upload(&lease)
        })
        .await?
    }

    pub(crate) async fn purge(
        self: &Arc<Self>,
        lease: Lease,
        state: Option<UploadState>,
        named: Option<Digest>,
    ) -> Result<(), Error> {
        let claim = self.sessions.claim(&lease).await?;
        let backend = Arc::clone(self);
        blocking(move || backend.purge_claimed(&lease, state.as_ref(), named, claim)).await?
    }

    pub(crate) async fn stat(self: &Arc<Self>, locator: Locator) -> Result<u64, Error> {
        let backend = Arc::clone(self);
        let size = blocking(move || backend.store.object_size(&locator.object_key)).await??;
        if size == locator.size {
            Ok(size)
        } else {
            Err(Error::BlobUnknown)
        }
    }

    pub(crate) async fn delete(self: &Arc<Self>, keys: Vec<ObjectKey>) -> Result<(), Error> {
        let backend = Arc::clone(self);
        blocking(move || backend.store.delete_objects(&keys)).await?
    }
}

/// Runs what blocks on a thread that may, in the caller's span.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let span = tracing::Span::current();
    spawn_blocking(move || span.in_scope(work))
        .await
        .map_err(|_| Error::Internal("a worker thread panicked"))
}
