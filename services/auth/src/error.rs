//! What can go wrong in a call, and on the way to the first.

use std::time::Duration;

use roadstead_rpc::{ErrorReason, status, status_with, with_retry_after};
use roadstead_sqlite::Failure;
use tonic::{Code, Status};

use crate::domain::{Capability, Resource};

/// Why a call failed: a variant for each thing that the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Show a token.
    #[error("no token was given")]
    TokenMissing,
    /// Get another token; this one will never do.
    #[error("the token is invalid: {0}")]
    TokenInvalid(&'static str),
    /// Get another token; this one was good.
    #[error("the token was revoked; get another")]
    TokenRevoked,
    /// Get a fresh token.
    #[error("the token has expired")]
    TokenExpired,
    /// Have the issuer configured.
    #[error("tokens of the issuer {0:?} are not accepted here")]
    IssuerUntrusted(String),
    /// Try again later.
    #[error("the keys of the issuer {issuer} cannot be had at the moment")]
    IssuerUnavailable { issuer: String, retry_after: Duration },
    /// Have the issuer name a subject.
    #[error("the token names no usable subject")]
    IdentityUnknown,
    /// Name another identity, or have the token say what that one's rule demands.
    #[error("{0}")]
    IdentityMismatch(String),
    /// Ask for scopes in the protocol's grammar.
    #[error("the scope is invalid: {0}")]
    ScopeInvalid(String),
    /// Ask this registry for tokens for this registry.
    #[error("the service is not this registry, which is {0}")]
    ServiceUnknown(String),
    /// Use a real issuer.
    #[error("the development issuer is not enabled")]
    DevIssuerRefused,
    /// Ask whoever may give the capability.
    #[error("{identity} may not do this: it needs the capability {capability} at {resource}")]
    CapabilityMissing {
        identity: String,
        resource: Resource,
        capability: Capability,
    },
    /// Name something that is there and that the caller may see.
    #[error("the {0} is unknown")]
    NotFound(&'static str),
    /// Take another name, or what is there.
    #[error("{0} is there already")]
    AlreadyExists(String),
    /// Delete or unbind what is in it first.
    #[error("{0}")]
    NotEmpty(&'static str),
    /// Ask for the path to be taken into use again, or take another.
    #[error("the path {0} was deleted; whoever owns the group above may restore it")]
    PathTombstoned(String),
    /// Give a rule that says whom it means.
    #[error("the identity is invalid: {0}")]
    IdentityInvalid(String),
    /// Make a role of the group.
    #[error("the role is one of every registry and does not change")]
    RoleBuiltIn,
    /// Give a name in the grammar of repositories.
    #[error("the name is invalid: {0}")]
    NameInvalid(String),
    /// Correct the request.
    #[error("the argument is invalid: {0}")]
    ArgumentInvalid(String),
    /// Begin the list again.
    #[error("the page token is invalid")]
    PageTokenInvalid,
    /// Nothing; the database failed.
    #[error(transparent)]
    Storage(#[from] Failure),
    /// Nothing; the operating system failed.
    #[error("the operating system has no randomness")]
    Randomness,
    /// Nothing; what is stored or told cannot be written.
    #[error("encoding: {0}")]
    Encoding(#[from] serde_json::Error),
    /// Nothing; a key that signed before does not sign any more.
    #[error("a token could not be signed")]
    Signing(#[from] jsonwebtoken::errors::Error),
}

/// When to try again what failed for want of room or of the disk.
const RETRY_SOON: Duration = Duration::from_secs(1);

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(error.into())
    }
}

impl Error {
    /// Of an argument that could not be understood.
    pub(crate) fn argument(text: impl Into<String>) -> Self {
        Self::ArgumentInvalid(text.into())
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let (code, reason) = classify(&error);
        let text = error.to_string();
        match error {
            Error::IssuerUntrusted(issuer) => status_with(code, reason, text, [("issuer", issuer)]),
            Error::IssuerUnavailable { issuer, retry_after } => {
                with_retry_after(status_with(code, reason, text, [("issuer", issuer)]), retry_after)
            }
            Error::CapabilityMissing {
                identity,
                resource,
                capability,
            } => {
                let details = [
                    ("identity", identity),
                    ("resource", resource.to_string()),
                    ("capability", capability.to_string()),
                ];
                status_with(code, reason, text, details)
            }
            Error::Storage(Failure::Overloaded) => with_retry_after(status(code, reason, text), RETRY_SOON),
            Error::Storage(_) | Error::Encoding(_) | Error::Signing(_) | Error::Randomness => {
                tracing::error!(error = text, reason = reason.as_str_name(), "request failed");
                // What SQLite and the libraries say stays in the log.
                let status = status(code, reason, "the service of identities and permissions failed");
                if reason == ErrorReason::Internal {
                    status
                } else {
                    with_retry_after(status, RETRY_SOON)
                }
            }
            _ => status(code, reason, text),
        }
    }
}

fn classify(error: &Error) -> (Code, ErrorReason) {
    match error {
        Error::TokenMissing => (Code::Unauthenticated, ErrorReason::TokenMissing),
        Error::TokenInvalid(_) | Error::TokenRevoked => (Code::Unauthenticated, ErrorReason::TokenInvalid),
        Error::TokenExpired => (Code::Unauthenticated, ErrorReason::TokenExpired),
        Error::IssuerUntrusted(_) => (Code::Unauthenticated, ErrorReason::IssuerUntrusted),
        Error::IssuerUnavailable { .. } => (Code::Unavailable, ErrorReason::IssuerUnavailable),
        Error::IdentityUnknown | Error::IdentityMismatch(_) => {
            (Code::Unauthenticated, ErrorReason::IdentityUnknown)
        }
        Error::ScopeInvalid(_) => (Code::InvalidArgument, ErrorReason::ScopeInvalid),
        Error::ServiceUnknown(_) | Error::ArgumentInvalid(_) => {
            (Code::InvalidArgument, ErrorReason::ArgumentInvalid)
        }
        Error::DevIssuerRefused => (Code::PermissionDenied, ErrorReason::DevIssuerRefused),
        Error::CapabilityMissing { .. } => (Code::PermissionDenied, ErrorReason::CapabilityMissing),
        Error::NotFound(_) => (Code::NotFound, ErrorReason::NotFound),
        Error::AlreadyExists(_) => (Code::AlreadyExists, ErrorReason::AlreadyExists),
        Error::NotEmpty(_) => (Code::FailedPrecondition, ErrorReason::NotEmpty),
        Error::PathTombstoned(_) => (Code::FailedPrecondition, ErrorReason::PathTombstoned),
        Error::IdentityInvalid(_) => (Code::InvalidArgument, ErrorReason::IdentityInvalid),
        Error::RoleBuiltIn => (Code::FailedPrecondition, ErrorReason::RoleBuiltIn),
        Error::NameInvalid(_) => (Code::InvalidArgument, ErrorReason::NameInvalid),
        Error::PageTokenInvalid => (Code::InvalidArgument, ErrorReason::PageTokenInvalid),
        Error::Storage(failure) => failure.classify(),
        Error::Encoding(_) | Error::Signing(_) | Error::Randomness => (Code::Internal, ErrorReason::Internal),
    }
}

#[cfg(test)]
mod tests {
    use roadstead_rpc::{reason, retry_after};

    use super::*;

    #[test]
    fn what_the_database_says_stays_inside() {
        let secret = || Failure::Internal("secret".to_owned());
        let failed = |full| Error::Storage(Failure::CommitFailed { full });
        for (error, expected, retry) in [
            (Error::Storage(secret()), ErrorReason::Internal, false),
            (failed(true), ErrorReason::StorageFull, true),
            (failed(false), ErrorReason::StorageUnavailable, true),
            (Error::Storage(Failure::Overloaded), ErrorReason::Overloaded, true),
        ] {
            let status = Status::from(error);
            assert_eq!(reason(&status), expected);
            assert_eq!(retry_after(&status).is_some(), retry, "{expected:?}");
            assert!(!status.message().contains("secret"), "{status:?}");
        }
    }
}
