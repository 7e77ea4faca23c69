//! Private parsers, for the fuzz targets in `integration-tests/fuzz`.

use bytes::Bytes;
use roadstead_proto::events::v1::ListEventsRequest;

use crate::{cloudevent::CloudEvent, page_token};

/// Parses an event: its id, type and repository.
///
/// # Errors
///
/// Says what is wrong.
pub fn cloud_event(json: &[u8]) -> Result<(String, String, String), String> {
    let event = CloudEvent::parse(Bytes::copy_from_slice(json))?;
    Ok((event.id, event.r#type, event.repository))
}

/// Writes a page token.
pub fn write_page_token(request: &ListEventsRequest, after: i64) -> String {
    page_token::encode(request, after)
}

/// Reads the page token of a request; none when it is not one of this listing.
pub fn read_page_token(request: &ListEventsRequest) -> Option<Option<i64>> {
    page_token::decode(request).ok()
}
