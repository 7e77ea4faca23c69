//! What travels sealed: who may say what to blobs, and what blobs says to itself by way of the gateway.

use bytes::Bytes;
use roadstead_proto::blobs::v1 as proto;
use roadstead_rpc::SealKey;
use roadstead_types::{Clock, DigestAlgorithm, UploadId};

use crate::{error::Error, object_key::ObjectKey};

const LOCATOR: &str = "locator";
const LEASE: &str = "lease";
const RECEIPT: &str = "receipt";
const UPLOAD_STATE: &str = "upload-state";

/// Opens and makes sealed values.
#[derive(Clone)]
pub(crate) struct Seals {
    key: SealKey,
    clock: Clock,
}

/// The right to write a session.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    pub(crate) upload_id: UploadId,
    pub(crate) epoch: u64,
    pub(crate) algorithm: DigestAlgorithm,
}

/// The right to read an object.
#[derive(Debug)]
pub(crate) struct Locator {
    pub(crate) object_key: ObjectKey,
    pub(crate) size: u64,
}

/// How far a session is: `hash` is the state of the session's hash over its first `offset` bytes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct UploadState {
    pub(crate) offset: u64,
    pub(crate) hash: Vec<u8>,
}

/// The plaintext of an upload state. Fields are only ever added: a state outlives an upgrade.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct SealedUploadState {
    #[prost(string, tag = "1")]
    upload_id: String,
    /// Of the lease under which it was made.
    #[prost(uint64, tag = "2")]
    epoch: u64,
    #[prost(string, tag = "3")]
    algorithm: String,
    #[prost(uint64, tag = "4")]
    offset: u64,
    #[prost(bytes = "vec", tag = "5")]
    hash: Vec<u8>,
}

impl Seals {
    pub(crate) fn new(key: SealKey, clock: Clock) -> Self {
        Self { key, clock }
    }

    pub(crate) fn open_locator(&self, sealed: &[u8]) -> Result<Locator, Error> {
        let locator: proto::Locator = self
            .key
            .open(LOCATOR, sealed)
            .map_err(|_| Error::LocatorInvalid)?;
        if locator.expires_at <= self.clock.unix_seconds() {
            return Err(Error::LocatorExpired);
        }
        let object_key = ObjectKey::parse(&locator.object_key).map_err(|_| Error::LocatorInvalid)?;
        Ok(Locator {
            object_key,
            size: locator.size,
        })
    }

    pub(crate) fn open_lease(&self, sealed: &[u8]) -> Result<Lease, Error> {
        const INVALID: Error = Error::UploadInvalid("the lease is not valid");
        let lease: proto::Lease = self.key.open(LEASE, sealed).map_err(|_| INVALID)?;
        Ok(Lease {
            upload_id: UploadId::parse(&lease.upload_id).map_err(|_| INVALID)?,
            epoch: lease.epoch,
            algorithm: lease.digest_algorithm.parse().map_err(|_| INVALID)?,
        })
    }

    /// Opens the state of the lease's session; `None` at the start of one.
    pub(crate) fn open_state(&self, lease: &Lease, sealed: &[u8]) -> Result<Option<UploadState>, Error> {
        if sealed.is_empty() {
            return Ok(None);
        }
        let state: SealedUploadState = self
            .key
            .open(UPLOAD_STATE, sealed)
            .map_err(|_| Error::UploadInvalid("the state is not valid"))?;
        if state.upload_id != lease.upload_id.to_string() || state.algorithm != lease.algorithm.as_str() {
            return Err(Error::UploadInvalid("the state is of another session"));
        }
        // A state that a later lease made proves that this lease is stale, even if this process never saw the later.
        if state.epoch > lease.epoch {
            return Err(Error::Superseded);
        }
        Ok(Some(UploadState {
            offset: state.offset,
            hash: state.hash,
        }))
    }

    pub(crate) fn seal_state(&self, lease: &Lease, state: &UploadState) -> Bytes {
        self.key.seal(
            UPLOAD_STATE,
            &SealedUploadState {
                upload_id: lease.upload_id.to_string(),
                epoch: lease.epoch,
                algorithm: lease.algorithm.as_str().to_owned(),
                offset: state.offset,
                hash: state.hash.clone(),
            },
        )
    }

    pub(crate) fn seal_receipt(&self, receipt: &proto::Receipt) -> Bytes {
        self.key.seal(RECEIPT, receipt)
    }
}
