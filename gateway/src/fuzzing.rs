//! Private parsers, for the fuzz targets in `integration-tests/fuzz`.

use http::{HeaderMap, HeaderValue};

use crate::{auth, conditional, multipart::Multipart, range::ByteRange, respond};

/// The entity tag of the content with this digest.
pub fn entity_tag(digest: &str) -> HeaderValue {
    conditional::entity_tag(digest)
}

/// Whether `If-None-Match` says that the client has this content already.
pub fn has_current(headers: &HeaderMap, digest: &str) -> bool {
    conditional::has_current(headers, digest)
}

/// Whether a `Range` counts under `If-Range`.
pub fn range_counts(headers: &HeaderMap, digest: &str) -> bool {
    conditional::range_counts(headers, digest)
}

/// The token in an `Authorization: Bearer` line.
pub fn bearer(line: &HeaderValue) -> Option<&str> {
    auth::bearer(line)
}

/// The `Link` to the next page.
pub fn next_link(path: &str, pairs: &[(&str, &str)]) -> HeaderValue {
    respond::next_link(path, pairs)
}

/// Writes an answer with several ranges of `content`: its type, the length that it names, and its bytes.
pub fn multipart(content: &[u8], ranges: &[ByteRange]) -> (HeaderValue, u64, Vec<u8>) {
    let multipart = Multipart::new(content.len() as u64);
    let mut body = Vec::new();
    for range in ranges {
        body.extend_from_slice(&multipart.head(*range));
        let bounds = |position: u64| usize::try_from(position).unwrap_or(usize::MAX);
        body.extend_from_slice(&content[bounds(range.first)..=bounds(range.last)]);
    }
    body.extend_from_slice(&multipart.tail());
    (multipart.content_type(), multipart.length(ranges), body)
}
