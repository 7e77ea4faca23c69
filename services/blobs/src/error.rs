//! What can go wrong, and the one mapping to `Status`.

use std::io;

use roadstead_rpc::ErrorReason;
use roadstead_types::DigestError;
use tonic::{Code, Status};

/// Everything that a call to blobs can fail with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The locator was not sealed by metadata for reading.
    #[error("the locator is not valid")]
    LocatorInvalid,
    /// The locator was good once.
    #[error("the locator has expired")]
    LocatorExpired,
    /// No object, or one of another size, is where the locator points.
    #[error("the object is not there")]
    BlobUnknown,
    /// The first byte that was asked for lies behind the end.
    #[error("the range does not start within the {size} bytes of the object")]
    RangeNotSatisfiable {
        /// Of the whole object.
        size: u64,
    },
    /// Lease, state and bytes do not belong together, or are not ours.
    #[error("the upload cannot go on: {0}")]
    UploadInvalid(&'static str),
    /// A newer lease took the session over.
    #[error("a newer request took over the upload")]
    Superseded,
    /// More bytes than a blob may have.
    #[error("a blob may have at most {limit} bytes")]
    BlobTooLarge {
        /// `blobs.max_blob_size`
        limit: u64,
    },
    /// Not a digest at all.
    #[error("not a digest: {0}")]
    DigestInvalid(#[from] DigestError),
    /// The bytes hash to something else.
    #[error("the bytes received do not have the digest given")]
    DigestMismatch,
    /// The caller broke the protocol of the RPC.
    #[error("{0}")]
    Argument(&'static str),
    /// No memory for one more upload within the time that a caller should wait.
    #[error("too many uploads at once")]
    Overloaded,
    /// The peer sent or took nothing for `blobs.chunk_idle_timeout`.
    #[error("the stream stood still for too long")]
    Idle,
    /// The peer is gone; nobody reads the answer.
    #[error("the caller went away")]
    CallerGone,
    /// The filesystem has no room.
    #[error("no space is left for the bytes")]
    StorageFull(#[source] io::Error),
    /// The filesystem failed.
    #[error("the storage failed")]
    Storage(#[source] io::Error),
    /// A defect of ours.
    #[error("{0}")]
    Internal(&'static str),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match error.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => Self::StorageFull(error),
            _ => Self::Storage(error),
        }
    }
}

impl Error {
    fn classify(&self) -> (Code, ErrorReason) {
        match self {
            Self::LocatorInvalid => (Code::PermissionDenied, ErrorReason::TokenInvalid),
            Self::LocatorExpired => (Code::PermissionDenied, ErrorReason::TokenExpired),
            Self::BlobUnknown => (Code::NotFound, ErrorReason::BlobUnknown),
            Self::RangeNotSatisfiable { .. } => (Code::OutOfRange, ErrorReason::RangeNotSatisfiable),
            Self::UploadInvalid(_) => (Code::FailedPrecondition, ErrorReason::UploadInvalid),
            Self::Superseded => (Code::Aborted, ErrorReason::UploadConflict),
            Self::BlobTooLarge { .. } => (Code::OutOfRange, ErrorReason::BlobTooLarge),
            Self::DigestInvalid(_) => (Code::InvalidArgument, ErrorReason::DigestInvalid),
            Self::DigestMismatch => (Code::FailedPrecondition, ErrorReason::DigestMismatch),
            Self::Argument(_) => (Code::InvalidArgument, ErrorReason::ArgumentInvalid),
            Self::Overloaded => (Code::ResourceExhausted, ErrorReason::Overloaded),
            Self::Idle => (Code::DeadlineExceeded, ErrorReason::DeadlineExceeded),
            Self::CallerGone => (Code::Cancelled, ErrorReason::Unavailable),
            Self::StorageFull(_) => (Code::ResourceExhausted, ErrorReason::StorageFull),
            Self::Storage(_) => (Code::Unavailable, ErrorReason::StorageUnavailable),
            Self::Internal(_) => (Code::Internal, ErrorReason::Internal),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let (code, reason) = error.classify();
        match &error {
            Error::StorageFull(source) | Error::Storage(source) => {
                tracing::error!(error = %source, ?reason, "storage failure");
            }
            Error::Internal(defect) => tracing::error!(defect, "internal error"),
            other => tracing::debug!(error = %other, ?reason, "call refused"),
        }
        roadstead_rpc::status(code, reason, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart_from_a_broken_one() {
        for (kind, reason) in [
            (io::ErrorKind::StorageFull, ErrorReason::StorageFull),
            (io::ErrorKind::QuotaExceeded, ErrorReason::StorageFull),
            (io::ErrorKind::FileTooLarge, ErrorReason::StorageFull),
            (io::ErrorKind::PermissionDenied, ErrorReason::StorageUnavailable),
            (io::ErrorKind::Other, ErrorReason::StorageUnavailable),
        ] {
            let status = Status::from(Error::from(io::Error::from(kind)));
            assert_eq!(roadstead_rpc::reason(&status), reason, "{kind:?}");
        }
    }

    #[test]
    fn the_cause_stays_inside() {
        let status = Status::from(Error::from(io::Error::other("/srv/secret/path")));
        assert!(!status.message().contains("secret"));
    }
}
