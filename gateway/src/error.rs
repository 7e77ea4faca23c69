//! Errors as the distribution specification writes them.

use std::{borrow::Cow, time::Duration};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use roadstead_types::Principal;
use serde::Serialize;
use serde_json::Value;

/// The `code` of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// The blob is not in the repository.
    BlobUnknown,
    /// The upload cannot go on; start another.
    BlobUploadInvalid,
    /// There is no such upload.
    BlobUploadUnknown,
    /// The digest is malformed, or not that of the content.
    DigestInvalid,
    /// The manifest names content that is not in the repository.
    ManifestBlobUnknown,
    /// The manifest cannot be taken.
    ManifestInvalid,
    /// The manifest or tag is not in the repository.
    ManifestUnknown,
    /// The name of a repository or tag is malformed.
    NameInvalid,
    /// There is no such repository.
    NameUnknown,
    /// A length is wrong or too large.
    SizeInvalid,
    /// A token is needed, or another than the one sent.
    Unauthorized,
    /// The caller may not do this.
    Denied,
    /// The registry does not do this.
    Unsupported,
    /// The caller should slow down.
    #[serde(rename = "TOOMANYREQUESTS")]
    TooManyRequests,
    /// A range or the position of a chunk is wrong. Not in the specification, but what clients know for 416.
    RangeInvalid,
    /// The registry failed. Not in the specification; used with 5xx only.
    Unknown,
    /// Something that the registry needs is down. Not in the specification; used with 5xx only.
    Unavailable,
}

/// Why a token is asked for, as the `error` of a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// There was none. The challenge has no `error`.
    Missing,
    /// It is expired, malformed or not ours. Without this, clients send a cached token again.
    InvalidToken,
    /// It is good, but for something else.
    InsufficientScope,
}

impl Challenge {
    /// The value of the `error` parameter.
    pub const fn error(self) -> Option<&'static str> {
        match self {
            Self::Missing => None,
            Self::InvalidToken => Some("invalid_token"),
            Self::InsufficientScope => Some("insufficient_scope"),
        }
    }
}

/// The most of a message that is sent. It repeats what a client said, which may be as long as a head may be.
const MESSAGE_LIMIT: usize = 1024;

/// A request that is answered with an error.
#[derive(Debug)]
pub struct Failure {
    status: StatusCode,
    code: ErrorCode,
    message: Cow<'static, str>,
    detail: Option<Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    challenge: Option<Challenge>,
    scope: Option<String>,
    cause: Option<String>,
    refusal: Option<Box<Refusal>>,
    oauth: Option<&'static str>,
}

/// A known identity was refused, which auditors hear of.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) principal: Principal,
    /// What was missing.
    pub(crate) why: Cow<'static, str>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    errors: [ErrorEntry<'a>; 1],
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    oauth: Option<OauthError<'a>>,
}

/// The same as clients of OAuth read it (RFC 6749, section 5.2).
#[derive(Serialize)]
struct OauthError<'a> {
    error: &'static str,
    error_description: &'a str,
}

#[derive(Serialize)]
struct ErrorEntry<'a> {
    code: ErrorCode,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a Value>,
}

impl Failure {
    /// Makes a failure whose message says what to do next.
    pub fn new(status: StatusCode, code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            detail: None,
            headers: Vec::new(),
            challenge: None,
            scope: None,
            cause: None,
            refusal: None,
            oauth: None,
        }
    }

    pub(crate) fn bad_request(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// A failure of ours. `cause` goes to the log, never to the client.
    pub(crate) fn internal(cause: impl Into<String>) -> Self {
        Self::from(roadstead_rpc::status(
            tonic::Code::Internal,
            roadstead_rpc::ErrorReason::Internal,
            cause,
        ))
    }

    pub(crate) fn upload_unknown() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            ErrorCode::BlobUploadUnknown,
            "there is no such upload; start another with POST",
        )
    }

    pub(crate) fn no_such_route() -> Self {
        let message =
            "there is nothing at this path; the API is the OCI distribution specification's, under /v2/";
        Self::new(StatusCode::NOT_FOUND, ErrorCode::Unsupported, message)
    }

    pub(crate) fn unsupported_method() -> Self {
        let message = "the method is not supported at this path; the Allow header names those that are";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported, message)
    }

    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        Self::unsupported_method().header(header::ALLOW, HeaderValue::from_static(allow))
    }

    /// The caller has to show a token, or another one.
    pub(crate) fn unauthorized(challenge: Challenge, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, message).challenged(challenge)
    }

    pub(crate) fn challenged(mut self, challenge: Challenge) -> Self {
        self.challenge = Some(challenge);
        self
    }

    /// Names the scopes to ask for, where they are not those of the route.
    pub(crate) fn scoped(mut self, scope: String) -> Self {
        self.scope = Some(scope);
        self
    }

    pub(crate) fn detailed(mut self, detail: Value) -> Self {
        self.detail = Some(detail);
        self
    }

    pub(crate) fn caused_by(mut self, cause: String) -> Self {
        self.cause = Some(cause);
        self
    }

    pub(crate) fn refusing(mut self, principal: &Principal, why: impl Into<Cow<'static, str>>) -> Self {
        if !principal.is_anonymous() {
            self.refusal = Some(Box::new(Refusal {
                principal: principal.clone(),
                why: why.into(),
            }));
        }
        self
    }

    /// Names the error for clients of OAuth.
    pub(crate) fn oauth(mut self, error: &'static str) -> Self {
        self.oauth = Some(error);
        self
    }

    /// Names the error for clients of OAuth by its status, unless it is named already.
    pub(crate) fn in_oauth(self) -> Self {
        let error = self.oauth.unwrap_or(match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "invalid_grant",
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => "temporarily_unavailable",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request",
        });
        self.oauth(error)
    }

    /// Who was refused, if it is known.
    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_deref()
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn retry_after(self, wait: Duration) -> Self {
        self.header(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)))
    }

    /// The status that the client gets.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The code that the client gets.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// The challenge that the answer needs, and the scopes if they are not those of the route.
    pub(crate) fn challenge(&self) -> Option<(Challenge, Option<&str>)> {
        Some((self.challenge?, self.scope.as_deref()))
    }
}

/// Renders the error, and logs it if it is ours: this is the boundary where it becomes an answer.
impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        if self.status.is_server_error() {
            let cause = self.cause.as_deref().unwrap_or(&self.message);
            tracing::warn!(status = self.status.as_u16(), cause, "request failed");
        }
        let message = &self.message[..self.message.floor_char_boundary(MESSAGE_LIMIT)];
        let entry = ErrorEntry {
            code: self.code,
            message,
            detail: self.detail.as_ref(),
        };
        let body = ErrorBody {
            errors: [entry],
            oauth: self.oauth.map(|error| OauthError {
                error,
                error_description: message,
            }),
        };
        // Serialising text, a name and a JSON value into memory cannot fail.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        response
    }
}
