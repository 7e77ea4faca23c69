//! Entity tags and conditions (RFC 9110 section 13). The tag of content is its digest.

use http::{HeaderMap, HeaderValue, header};

/// The entity tag of the content with this digest.
pub(crate) fn entity_tag(digest: &str) -> HeaderValue {
    HeaderValue::try_from(format!("\"{digest}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// Whether `If-None-Match` says that the client has this content already.
pub(crate) fn has_current(headers: &HeaderMap, digest: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || names(tag.strip_prefix("W/").unwrap_or(tag), digest))
}

/// Whether a `Range` counts: there is no `If-Range`, or it names this very content.
pub(crate) fn range_counts(headers: &HeaderMap, digest: &str) -> bool {
    headers
        .get(header::IF_RANGE)
        .is_none_or(|tag| tag.to_str().is_ok_and(|tag| names(tag.trim(), digest)))
}

fn names(tag: &str, digest: &str) -> bool {
    tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')) == Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &header::HeaderName, values: &[&'static str]) -> HeaderMap {
        values
            .iter()
            .map(|value| (name.clone(), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn if_none_match() {
        let have =
            |values: &[&'static str]| has_current(&headers(&header::IF_NONE_MATCH, values), "sha256:ab");
        assert!(have(&["\"sha256:ab\""]));
        assert!(have(&["\"x\"", "W/\"y\", W/\"sha256:ab\""]));
        assert!(have(&["*"]));
        assert!(!have(&[]));
        assert!(!have(&["sha256:ab"]));
        assert!(!have(&["\"sha256:abc\""]));
    }

    #[test]
    fn if_range() {
        let counts = |values: &[&'static str]| range_counts(&headers(&header::IF_RANGE, values), "sha256:ab");
        assert!(counts(&[]));
        assert!(counts(&["\"sha256:ab\""]));
        assert!(!counts(&["W/\"sha256:ab\""]));
        assert!(!counts(&["Wed, 21 Oct 2015 07:28:00 GMT"]));
    }
}
