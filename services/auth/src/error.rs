//! What can go wrong in a call, and on the way to the first.

use std::time::Duration;

use roadstead_rpc::{ErrorReason, status, status_with, with_retry_after};
use tonic::{Code, Status};

/// Why a call failed: a variant for each thing that the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Show a token.
    #[error("no token was given")]
    TokenMissing,
    /// Get another token; this one will never do.
    #[error("the token is invalid: {0}")]
    TokenInvalid(&'static str),
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
    /// Ask for scopes in the protocol's grammar.
    #[error("the scope is invalid: {0}")]
    ScopeInvalid(String),
    /// Ask this registry for tokens for this registry.
    #[error("the service is not this registry, which is {0}")]
    ServiceUnknown(String),
    /// Use a real issuer.
    #[error("the development issuer is not enabled")]
    DevIssuerRefused,
    /// Nothing; a key that signed before does not sign any more.
    #[error("a token could not be signed")]
    Signing(#[from] jsonwebtoken::errors::Error),
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::TokenMissing => status(Code::Unauthenticated, ErrorReason::TokenMissing, text),
            Error::TokenInvalid(_) => status(Code::Unauthenticated, ErrorReason::TokenInvalid, text),
            Error::TokenExpired => status(Code::Unauthenticated, ErrorReason::TokenExpired, text),
            Error::IssuerUntrusted(issuer) => status_with(
                Code::Unauthenticated,
                ErrorReason::IssuerUntrusted,
                text,
                [("issuer", issuer)],
            ),
            Error::IssuerUnavailable { issuer, retry_after } => with_retry_after(
                status_with(
                    Code::Unavailable,
                    ErrorReason::IssuerUnavailable,
                    text,
                    [("issuer", issuer)],
                ),
                retry_after,
            ),
            Error::IdentityUnknown => status(Code::Unauthenticated, ErrorReason::IdentityUnknown, text),
            Error::ScopeInvalid(_) => status(Code::InvalidArgument, ErrorReason::ScopeInvalid, text),
            Error::ServiceUnknown(_) => status(Code::InvalidArgument, ErrorReason::ArgumentInvalid, text),
            Error::DevIssuerRefused => status(Code::PermissionDenied, ErrorReason::DevIssuerRefused, text),
            Error::Signing(_) => status(Code::Internal, ErrorReason::Internal, text),
        }
    }
}
