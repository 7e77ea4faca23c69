//! Private parsers, for the fuzz targets in `integration-tests/fuzz`.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};

use crate::deadline;

/// Reads a `grpc-timeout`.
pub fn parse_timeout(value: &HeaderValue) -> Option<Duration> {
    deadline::parse_timeout(value)
}

/// Writes a `grpc-timeout`.
pub fn set_timeout(headers: &mut HeaderMap, timeout: Duration) {
    deadline::set_timeout(headers, timeout);
}
