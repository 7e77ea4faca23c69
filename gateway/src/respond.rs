//! Parts that successful answers share.

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use crate::error::Failure;

pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub(crate) const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// Content may be kept but is asked about before each use: a delete or a lost grant counts from the next request on.
const CONTENT_CACHING: HeaderValue = HeaderValue::from_static("private, no-cache");

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    if status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED {
        set(
            &mut response,
            header::CONTENT_LENGTH,
            HeaderValue::from_static("0"),
        );
    }
    response
}

/// A JSON answer that nobody keeps.
pub(crate) fn json(body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::from(body.into()));
    set(
        &mut response,
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    set(
        &mut response,
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-store"),
    );
    response
}

/// Writes a value as JSON, likewise.
pub(crate) fn json_of(value: &impl Serialize) -> Result<Response, Failure> {
    let body = serde_json::to_vec(value).map_err(|error| Failure::internal(error.to_string()))?;
    Ok(json(body))
}

/// Sets the headers that identify content and say how long it may be kept.
pub(crate) fn identify(response: &mut Response, digest: &str) {
    set_text(response, CONTENT_DIGEST, digest);
    set(response, header::ETAG, crate::conditional::entity_tag(digest));
    set(response, header::CACHE_CONTROL, CONTENT_CACHING);
}

pub(crate) fn set(response: &mut Response, name: HeaderName, value: HeaderValue) {
    response.headers_mut().insert(name, value);
}

/// Sets a header to a text that is visible ASCII by its grammar; anything else is left out.
pub(crate) fn set_text(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        set(response, name, value);
    }
}

/// Everything that may stand in a query value as it is.
const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// Writes a `Link` to the next page: relative, since some clients refuse another host and others drop it.
pub(crate) fn next_link(path: &str, pairs: &[(&str, &str)]) -> HeaderValue {
    let query: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, QUERY_VALUE)))
        .collect();
    HeaderValue::try_from(format!("<{path}?{}>; rel=\"next\"", query.join("&")))
        .unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_relative_and_encoded() {
        let link = next_link(
            "/v2/a/b/referrers/sha256:ab",
            &[("artifactType", "a/b+c;d"), ("next", "x=&")],
        );
        assert_eq!(
            link,
            "</v2/a/b/referrers/sha256:ab?artifactType=a/b%2Bc%3Bd&next=x%3D%26>; rel=\"next\""
        );
    }
}
