//! Errors that cross an RPC: a gRPC status with google.rpc `ErrorInfo` whose reason is one of [`ErrorReason`].

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

pub use roadstead_proto::common::v1::ErrorReason;

/// The `domain` of our `ErrorInfo`: reasons of other domains are not ours to interpret.
pub const ERROR_DOMAIN: &str = "roadstead";

/// What can go wrong in setting up servers and channels.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// A file with a certificate or key cannot be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A certificate or key is unusable.
    #[error("the TLS identity is unusable: {0}")]
    Tls(String),
    /// The address of a service is unusable.
    #[error("the endpoint {uri:?} is unusable: {problem}")]
    Endpoint {
        /// The address as configured.
        uri: String,
        /// Why.
        problem: String,
    },
    /// The listening socket failed.
    #[error("the RPC listener failed: {0}")]
    Listen(#[from] std::io::Error),
}

/// Makes an error with a reason.
pub fn status(code: Code, reason: ErrorReason, message: impl Into<String>) -> Status {
    status_with(code, reason, message, [])
}

/// Makes an error with a reason and facts about it, which become the metadata of `ErrorInfo`.
pub fn status_with<'a>(
    code: Code,
    reason: ErrorReason,
    message: impl Into<String>,
    facts: impl IntoIterator<Item = (&'a str, String)>,
) -> Status {
    let facts: HashMap<String, String> = facts
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    let details = ErrorDetails::with_error_info(reason.as_str_name(), ERROR_DOMAIN, facts);
    Status::with_error_details(code, message, details)
}

/// Tells the caller when to try again. Details that the status has already are kept.
#[must_use]
#[expect(
    clippy::needless_pass_by_value,
    reason = "it replaces the status, as builders do"
)]
pub fn with_retry_after(status: Status, delay: Duration) -> Status {
    let mut details = status.get_error_details();
    details.set_retry_info(Some(delay));
    Status::with_error_details_and_metadata(
        status.code(),
        status.message(),
        details,
        status.metadata().clone(),
    )
}

/// When the server asked the caller to try again.
pub fn retry_after(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}

/// Why a call failed. Errors that no service made (the transport's, a deadline's) have reasons too; anything else
/// without `ErrorInfo` of our domain is [`ErrorReason::Unspecified`].
pub fn reason(status: &Status) -> ErrorReason {
    let info = status
        .get_details_error_info()
        .filter(|info| info.domain == ERROR_DOMAIN);
    match (info, status.code()) {
        (Some(info), _) => ErrorReason::from_str_name(&info.reason).unwrap_or_default(),
        (None, Code::Unavailable) => ErrorReason::Unavailable,
        (None, Code::DeadlineExceeded) => ErrorReason::DeadlineExceeded,
        (None, _) => ErrorReason::Unspecified,
    }
}

/// A fact about the error, from the metadata of its `ErrorInfo`.
pub fn detail(status: &Status, key: &str) -> Option<String> {
    let mut info = status
        .get_details_error_info()
        .filter(|info| info.domain == ERROR_DOMAIN)?;
    info.metadata.remove(key)
}

/// A call took longer than its caller was ready to wait.
pub(crate) fn deadline_exceeded() -> Status {
    status(
        Code::DeadlineExceeded,
        ErrorReason::DeadlineExceeded,
        "the deadline passed",
    )
}
