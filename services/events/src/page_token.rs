//! Where a listing goes on. Opaque to callers, and good only for the listing that it came from.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use roadstead_proto::events::v1::ListEventsRequest;

use crate::error::Error;

/// Offsets are no secret, so the token is not sealed: a made-up one shows nothing that the caller may not see.
pub(crate) fn encode(request: &ListEventsRequest, after: i64) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("{}{after}", listing(request)))
}

pub(crate) fn decode(request: &ListEventsRequest) -> Result<Option<i64>, Error> {
    if request.page_token.is_empty() {
        return Ok(None);
    }
    let token = BASE64_URL_SAFE_NO_PAD
        .decode(&request.page_token)
        .map_err(|_| Error::PageTokenInvalid)?;
    let after = std::str::from_utf8(&token)
        .ok()
        .and_then(|token| token.strip_prefix(&listing(request)))
        .and_then(|after| after.parse().ok())
        .filter(|after: &i64| *after >= 0)
        .ok_or(Error::PageTokenInvalid)?;
    Ok(Some(after))
}

fn listing(request: &ListEventsRequest) -> String {
    let direction = if request.newest_first { "newest" } else { "oldest" };
    format!("1 {direction} {} {:?} ", request.repository, request.type_prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_belongs_to_its_listing() {
        let request = ListEventsRequest {
            repository: "acme/web".to_owned(),
            ..Default::default()
        };
        let next = ListEventsRequest {
            page_token: encode(&request, 42),
            page_size: 7,
            ..request.clone()
        };
        assert_eq!(decode(&next).unwrap(), Some(42));
        assert_eq!(decode(&request).unwrap(), None);
        for other in [
            ListEventsRequest {
                newest_first: true,
                ..next.clone()
            },
            ListEventsRequest {
                repository: "acme".to_owned(),
                ..next.clone()
            },
            ListEventsRequest {
                type_prefix: "x".to_owned(),
                ..next.clone()
            },
            ListEventsRequest {
                page_token: "?".to_owned(),
                ..next.clone()
            },
            ListEventsRequest {
                page_token: "AAAA".to_owned(),
                ..next
            },
        ] {
            assert!(
                matches!(decode(&other), Err(Error::PageTokenInvalid)),
                "{other:?}"
            );
        }
    }
}
