//! What can go wrong, and the one mapping to `Status`.

use std::time::Duration;

use roadstead_authn::{AccessClaims, VerifyError};
use roadstead_rpc::ErrorReason;
use roadstead_sqlite::Failure;
use tonic::{Code, Status};

/// When to try again what failed for the moment.
const RETRY_SOON: Duration = Duration::from_secs(1);

/// Everything that a call to events can fail with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Argument(String),
    #[error("the page token is not one of this listing")]
    PageTokenInvalid,
    #[error("an access token is needed")]
    TokenMissing,
    #[error(transparent)]
    Token(#[from] VerifyError<AccessClaims>),
    /// auth said why itself.
    #[error("auth did not answer: {0}")]
    Auth(Status),
    #[error("the event log failed")]
    Storage(#[from] Failure),
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        match error {
            Error::Argument(_) => roadstead_rpc::status(
                Code::InvalidArgument,
                ErrorReason::ArgumentInvalid,
                error.to_string(),
            ),
            Error::PageTokenInvalid => roadstead_rpc::status(
                Code::InvalidArgument,
                ErrorReason::PageTokenInvalid,
                error.to_string(),
            ),
            Error::TokenMissing => roadstead_rpc::status(
                Code::Unauthenticated,
                ErrorReason::TokenMissing,
                error.to_string(),
            ),
            Error::Token(error) => error.into(),
            Error::Auth(status) => refuse(&status),
            Error::Storage(failure) => storage(&failure),
        }
    }
}

/// What SQLite says stays in the log.
fn storage(failure: &Failure) -> Status {
    let (code, reason) = failure.classify();
    tracing::error!(error = %failure, reason = reason.as_str_name(), "the event log failed");
    let status = roadstead_rpc::status(code, reason, "the event log failed");
    if reason == ErrorReason::Internal {
        status
    } else {
        roadstead_rpc::with_retry_after(status, RETRY_SOON)
    }
}

/// Passes on what auth says about the token, and nothing else.
fn refuse(status: &Status) -> Status {
    let reason = roadstead_rpc::reason(status);
    if matches!(reason, ErrorReason::TokenInvalid | ErrorReason::TokenExpired) {
        return roadstead_rpc::status(Code::Unauthenticated, reason, status.message());
    }
    tracing::warn!(%status, "cannot learn what the caller may read");
    unavailable(
        "what the caller may read cannot be learnt just now",
        ErrorReason::Unavailable,
    )
}

fn unavailable(message: &str, reason: ErrorReason) -> Status {
    let status = roadstead_rpc::status(Code::Unavailable, reason, message);
    roadstead_rpc::with_retry_after(status, RETRY_SOON)
}
