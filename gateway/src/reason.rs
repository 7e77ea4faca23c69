//! How each reason of the services is told to clients: the one place where a reason becomes a status and a code.
//!
//! Some clients repeat a request on the codes `BLOB_UPLOAD_INVALID`, `TOOMANYREQUESTS`, `UNKNOWN` and `UNAVAILABLE`
//! whatever the status, so these stand only where starting over can help. `BLOB_UPLOAD_INVALID` is such a case: the
//! session is lost, and a new one is what the repetition begins with.

use std::{borrow::Cow, time::Duration};

use http::StatusCode;
use roadstead_rpc::ErrorReason;
use serde_json::{Value, json};
use tonic::Status;

use crate::error::{Challenge, ErrorCode, Failure};

/// How a reason is told.
#[derive(Debug)]
pub struct Rendering {
    /// The HTTP status.
    pub status: StatusCode,
    /// The code in the error body.
    pub code: ErrorCode,
    /// What stands in place of the service's own words, which could tell about the inside or would tell nothing.
    pub fixed: Option<&'static str>,
}

const TRY_AGAIN: &str = "the registry is busy or restarting; try again in a moment";
const OUR_FAULT: &str = "the registry failed; its log says why under this answer's X-Request-Id";

/// Maps a reason to what clients see.
pub fn rendering(reason: ErrorReason) -> Rendering {
    use ErrorCode as C;
    use ErrorReason as R;
    let (status, code, fixed) = match reason {
        R::NameInvalid | R::TagInvalid => (StatusCode::BAD_REQUEST, C::NameInvalid, None),
        R::RepositoryUnknown | R::NotFound => (StatusCode::NOT_FOUND, C::NameUnknown, None),
        R::DigestInvalid | R::DigestMismatch => (StatusCode::BAD_REQUEST, C::DigestInvalid, None),
        R::ManifestUnknown => (StatusCode::NOT_FOUND, C::ManifestUnknown, None),
        R::ManifestInvalid => (StatusCode::BAD_REQUEST, C::ManifestInvalid, None),
        // Not MANIFEST_INVALID for a manifest: clients answer that by pushing the same manifest in another format.
        R::ManifestTooLarge | R::BlobTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, C::SizeInvalid, None),
        R::ManifestBlobUnknown => (StatusCode::BAD_REQUEST, C::ManifestBlobUnknown, None),
        R::BlobUnknown => (StatusCode::NOT_FOUND, C::BlobUnknown, None),
        R::ContentReferenced | R::Unsupported | R::RoleBuiltIn => {
            (StatusCode::METHOD_NOT_ALLOWED, C::Unsupported, None)
        }
        R::RangeNotSatisfiable | R::UploadOutOfOrder => {
            (StatusCode::RANGE_NOT_SATISFIABLE, C::RangeInvalid, None)
        }
        R::PageTokenInvalid | R::ArgumentInvalid | R::ScopeInvalid | R::IdentityInvalid => {
            (StatusCode::BAD_REQUEST, C::Unsupported, None)
        }
        R::TooManyTags => (StatusCode::URI_TOO_LONG, C::SizeInvalid, None),
        R::UploadUnknown => (StatusCode::NOT_FOUND, C::BlobUploadUnknown, None),
        R::UploadInvalid => (StatusCode::BAD_REQUEST, C::BlobUploadInvalid, None),
        R::UploadConflict => (StatusCode::CONFLICT, C::BlobUploadInvalid, None),
        R::TokenMissing | R::TokenInvalid | R::TokenExpired | R::ScopeInsufficient | R::IssuerUntrusted => {
            (StatusCode::UNAUTHORIZED, C::Unauthorized, None)
        }
        R::PermissionMissing | R::CapabilityMissing | R::IdentityUnknown | R::DevIssuerRefused => {
            (StatusCode::FORBIDDEN, C::Denied, None)
        }
        R::AlreadyExists | R::NotEmpty | R::PathTombstoned => (StatusCode::CONFLICT, C::Denied, None),
        R::Overloaded => (StatusCode::TOO_MANY_REQUESTS, C::TooManyRequests, Some(TRY_AGAIN)),
        R::IssuerUnavailable => (StatusCode::SERVICE_UNAVAILABLE, C::Unavailable, None),
        R::StorageUnavailable | R::Unavailable | R::DeadlineExceeded => {
            (StatusCode::SERVICE_UNAVAILABLE, C::Unavailable, Some(TRY_AGAIN))
        }
        // Repeating does not help until someone makes room.
        R::StorageFull => (
            StatusCode::INSUFFICIENT_STORAGE,
            C::Denied,
            Some("the registry has no space left; its operator has to make room"),
        ),
        R::Unspecified | R::Internal | R::PeerRefused => {
            (StatusCode::INTERNAL_SERVER_ERROR, C::Unknown, Some(OUR_FAULT))
        }
    };
    Rendering { status, code, fixed }
}

/// How long clients should wait before they repeat a request, when the service did not say.
const RETRY_AFTER: Duration = Duration::from_secs(2);

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let reason = roadstead_rpc::reason(&status);
        let Rendering {
            status: http_status,
            code,
            fixed,
        } = rendering(reason);
        let message = fixed.map_or_else(|| Cow::Owned(status.message().to_owned()), Cow::Borrowed);
        let mut failure = Self::new(http_status, code, message);
        if matches!(
            http_status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        ) {
            failure = failure.retry_after(roadstead_rpc::retry_after(&status).unwrap_or(RETRY_AFTER));
        }
        if let Some(challenge) = challenge(reason) {
            failure = failure.challenged(challenge);
        }
        if let Some(detail) = detail(reason, &status) {
            failure = failure.detailed(detail);
        }
        if http_status.is_server_error() {
            failure = failure.caused_by(format!("{reason:?} ({:?}): {}", status.code(), status.message()));
        }
        failure
    }
}

const fn challenge(reason: ErrorReason) -> Option<Challenge> {
    match reason {
        ErrorReason::TokenMissing => Some(Challenge::Missing),
        ErrorReason::TokenInvalid | ErrorReason::TokenExpired => Some(Challenge::InvalidToken),
        ErrorReason::ScopeInsufficient => Some(Challenge::InsufficientScope),
        _ => None,
    }
}

/// What the service said about the error beyond its words.
fn detail(reason: ErrorReason, status: &Status) -> Option<Value> {
    let list = |key| {
        let text = roadstead_rpc::detail(status, key)?;
        let items: Vec<&str> = text.split(',').filter(|item| !item.is_empty()).collect();
        Some(json!({ key: items }))
    };
    match reason {
        ErrorReason::ManifestBlobUnknown => list("missing"),
        ErrorReason::ContentReferenced => list("parents"),
        ErrorReason::PermissionMissing => said(status, ["identity", "resource", "action"]),
        ErrorReason::CapabilityMissing => said(status, ["identity", "resource", "capability"]),
        _ => None,
    }
}

/// What the service said under each key; none when it said nothing.
fn said(status: &Status, keys: [&str; 3]) -> Option<Value> {
    let values = keys.map(|key| roadstead_rpc::detail(status, key));
    values.iter().flatten().next()?;
    Some(
        keys.into_iter()
            .zip(values)
            .map(|(key, value)| (key.to_owned(), json!(value)))
            .collect(),
    )
}
