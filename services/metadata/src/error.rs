//! What can go wrong, and how it is said over gRPC.

use std::time::Duration;

use roadstead_rpc::{ErrorReason, status, status_with, with_retry_after};
use roadstead_sqlite::{Failure, OpenError};
use roadstead_types::{Action, Principal};
use tonic::{Code, Status};

/// A variant per thing that a caller can do something about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the repository name is invalid: {0}")]
    NameInvalid(String),
    #[error("the repository is unknown")]
    RepositoryUnknown,
    #[error("the tag is invalid: {0}")]
    TagInvalid(String),
    #[error("a push may set at most {0} tags")]
    TooManyTags(usize),
    #[error("the digest is invalid: {0}")]
    DigestInvalid(String),
    #[error("the content does not have this digest")]
    DigestMismatch,
    #[error("the manifest is unknown")]
    ManifestUnknown,
    #[error("the manifest is invalid: {0}")]
    ManifestInvalid(String),
    #[error("the manifest is larger than {0} bytes")]
    ManifestTooLarge(usize),
    #[error("the manifest names content that the repository does not hold")]
    ManifestBlobUnknown { missing: Vec<String> },
    #[error("the blob is unknown")]
    BlobUnknown,
    #[error("a manifest still names this content")]
    ContentReferenced { parents: Vec<String> },
    #[error("the page token is invalid")]
    PageTokenInvalid,
    #[error("the upload is unknown")]
    UploadUnknown,
    #[error("the upload cannot go on: {0}")]
    UploadInvalid(&'static str),
    #[error("the upload has {offset} bytes")]
    UploadOutOfOrder { offset: i64 },
    #[error("another request took over the upload")]
    UploadConflict,
    #[error("a token is needed")]
    TokenMissing,
    #[error("the token is not valid here")]
    TokenInvalid,
    #[error("the token was revoked; get another")]
    TokenRevoked,
    #[error("the token expired")]
    TokenExpired,
    #[error("the token does not carry {action:?} for {resource}")]
    ScopeInsufficient { resource: String, action: Action },
    #[error("{identity} may not {action:?} {resource}")]
    PermissionMissing {
        identity: Principal,
        resource: String,
        action: Action,
    },
    #[error("the argument is invalid: {0}")]
    ArgumentInvalid(&'static str),
    #[error("auth cannot be reached")]
    AuthUnavailable,
    #[error(transparent)]
    Storage(#[from] Failure),
    #[error("internal: {0}")]
    Internal(String),
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(error.into())
    }
}

const RETRY_SOON: Duration = Duration::from_secs(1);

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let (code, reason) = classify(&error);
        if matches!(
            reason,
            ErrorReason::Internal | ErrorReason::StorageUnavailable | ErrorReason::StorageFull
        ) {
            tracing::error!(%error, reason = reason.as_str_name(), "request failed");
            // What SQLite says stays in the log.
            let status = status(code, reason, "the metadata store failed");
            return if reason == ErrorReason::Internal {
                status
            } else {
                with_retry_after(status, RETRY_SOON)
            };
        }
        let text = error.to_string();
        match error {
            Error::ManifestBlobUnknown { missing } => {
                status_with(code, reason, text, [("missing", missing.join(","))])
            }
            Error::ContentReferenced { parents } => {
                status_with(code, reason, text, [("parents", parents.join(","))])
            }
            Error::UploadOutOfOrder { offset } => {
                status_with(code, reason, text, [("offset", offset.to_string())])
            }
            Error::PermissionMissing {
                identity,
                resource,
                action,
            } => {
                let details = [
                    ("identity", identity.to_string()),
                    ("resource", resource),
                    ("action", action.as_str().to_owned()),
                ];
                status_with(code, reason, text, details)
            }
            Error::ScopeInsufficient { resource, action } => {
                let details = [("resource", resource), ("action", action.as_str().to_owned())];
                status_with(code, reason, text, details)
            }
            Error::AuthUnavailable | Error::Storage(Failure::Overloaded) => {
                with_retry_after(status(code, reason, text), RETRY_SOON)
            }
            _ => status(code, reason, text),
        }
    }
}

fn classify(error: &Error) -> (Code, ErrorReason) {
    match error {
        Error::NameInvalid(_) => (Code::InvalidArgument, ErrorReason::NameInvalid),
        Error::RepositoryUnknown => (Code::NotFound, ErrorReason::RepositoryUnknown),
        Error::TagInvalid(_) => (Code::InvalidArgument, ErrorReason::TagInvalid),
        Error::TooManyTags(_) => (Code::InvalidArgument, ErrorReason::TooManyTags),
        Error::DigestInvalid(_) => (Code::InvalidArgument, ErrorReason::DigestInvalid),
        Error::DigestMismatch => (Code::InvalidArgument, ErrorReason::DigestMismatch),
        Error::ManifestUnknown => (Code::NotFound, ErrorReason::ManifestUnknown),
        Error::ManifestInvalid(_) => (Code::InvalidArgument, ErrorReason::ManifestInvalid),
        Error::ManifestTooLarge(_) => (Code::InvalidArgument, ErrorReason::ManifestTooLarge),
        Error::ManifestBlobUnknown { .. } => (Code::FailedPrecondition, ErrorReason::ManifestBlobUnknown),
        Error::BlobUnknown => (Code::NotFound, ErrorReason::BlobUnknown),
        Error::ContentReferenced { .. } => (Code::FailedPrecondition, ErrorReason::ContentReferenced),
        Error::PageTokenInvalid => (Code::InvalidArgument, ErrorReason::PageTokenInvalid),
        Error::UploadUnknown => (Code::NotFound, ErrorReason::UploadUnknown),
        Error::UploadInvalid(_) => (Code::FailedPrecondition, ErrorReason::UploadInvalid),
        Error::UploadOutOfOrder { .. } => (Code::OutOfRange, ErrorReason::UploadOutOfOrder),
        Error::UploadConflict => (Code::Aborted, ErrorReason::UploadConflict),
        Error::TokenMissing => (Code::Unauthenticated, ErrorReason::TokenMissing),
        Error::TokenInvalid | Error::TokenRevoked => (Code::Unauthenticated, ErrorReason::TokenInvalid),
        Error::TokenExpired => (Code::Unauthenticated, ErrorReason::TokenExpired),
        Error::ScopeInsufficient { .. } => (Code::Unauthenticated, ErrorReason::ScopeInsufficient),
        Error::PermissionMissing { .. } => (Code::PermissionDenied, ErrorReason::PermissionMissing),
        Error::ArgumentInvalid(_) => (Code::InvalidArgument, ErrorReason::ArgumentInvalid),
        Error::AuthUnavailable => (Code::Unavailable, ErrorReason::Unavailable),
        Error::Storage(failure) => failure.classify(),
        Error::Internal(_) => (Code::Internal, ErrorReason::Internal),
    }
}

/// Why the service could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The database cannot be opened.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// The thread that opened the database ended early.
    #[error("the database was not opened: {0}")]
    Interrupted(String),
}

#[cfg(test)]
mod tests {
    use roadstead_rpc::{reason, retry_after};
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn faults_of_the_disk_ask_for_a_retry_and_faults_of_the_program_do_not() {
        let sqlite = |code| {
            Error::from(rusqlite::Error::SqliteFailure(
                ffi::Error::new(code),
                Some("secret table".to_owned()),
            ))
        };
        let lost = |full| Error::Storage(Failure::CommitFailed { full });
        let overloaded = Error::Storage(Failure::Overloaded);
        for (error, expected, retry) in [
            (sqlite(ffi::SQLITE_FULL), ErrorReason::StorageFull, true),
            (sqlite(ffi::SQLITE_IOERR), ErrorReason::StorageUnavailable, true),
            (sqlite(ffi::SQLITE_BUSY), ErrorReason::StorageUnavailable, true),
            (sqlite(ffi::SQLITE_CONSTRAINT), ErrorReason::Internal, false),
            (lost(true), ErrorReason::StorageFull, true),
            (lost(false), ErrorReason::StorageUnavailable, true),
            (overloaded, ErrorReason::Overloaded, true),
            (Error::AuthUnavailable, ErrorReason::Unavailable, true),
            (Error::Internal("secret".to_owned()), ErrorReason::Internal, false),
        ] {
            let status = Status::from(error);
            assert_eq!(reason(&status), expected);
            assert_eq!(retry_after(&status).is_some(), retry, "{expected:?}");
            assert!(!status.message().contains("secret"), "{status:?}");
        }
    }
}
