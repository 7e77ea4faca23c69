//! The kinds of storage.

use std::sync::Arc;

use roadstead_types::Digest;
use tokio::sync::mpsc;

use crate::{
    error::Error,
    fs::{Chunks, Finished, FsBackend, ObjectChunks, Progress},
    object_key::ObjectKey,
    seal::{Lease, Locator, UploadState},
};

/// Where bytes are. A closed set: what a backend must do is what these methods need.
#[derive(Clone)]
pub(crate) enum Backend {
    /// A directory.
    Fs(Arc<FsBackend>),
}

impl Backend {
    pub(crate) fn append(
        &self,
        lease: Lease,
        state: Option<UploadState>,
        chunks: Chunks,
    ) -> mpsc::Receiver<Result<Progress, Error>> {
        match self {
            Self::Fs(fs) => fs.append(lease, state, chunks),
        }
    }

    pub(crate) async fn finish(
        &self,
        lease: Lease,
        state: Option<UploadState>,
        digest: Digest,
    ) -> Result<Finished, Error> {
        match self {
            Self::Fs(fs) => fs.finish(lease, state, digest).await,
        }
    }

    /// Discards what a session has that is not an object yet.
    pub(crate) async fn abort(&self, lease: Lease) -> Result<(), Error> {
        match self {
            Self::Fs(fs) => fs.abort(lease).await,
        }
    }

    /// Discards all that a session has left, also an object under the digest that was `named` for it.
    pub(crate) async fn purge(
        &self,
        lease: Lease,
        state: Option<UploadState>,
        named: Option<Digest>,
    ) -> Result<(), Error> {
        match self {
            Self::Fs(fs) => fs.purge(lease, state, named).await,
        }
    }

    pub(crate) async fn stat(&self, locator: Locator) -> Result<u64, Error> {
        match self {
            Self::Fs(fs) => fs.stat(locator).await,
        }
    }

    pub(crate) async fn read(
        &self,
        locator: Locator,
        offset: u64,
        length: u64,
    ) -> Result<ObjectChunks, Error> {
        match self {
            Self::Fs(fs) => fs.read(locator, offset, length).await,
        }
    }

    pub(crate) async fn delete(&self, keys: Vec<ObjectKey>) -> Result<(), Error> {
        match self {
            Self::Fs(fs) => fs.delete(keys).await,
        }
    }
}
