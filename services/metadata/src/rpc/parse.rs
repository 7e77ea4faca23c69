//! Text from outside becomes types.

use std::collections::HashMap;

use roadstead_proto::common::v1::RequestContext;
use roadstead_types::{Digest, DigestAlgorithm, Reference, RepositoryName, Tag, UploadId};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use uuid::Uuid;

use crate::domain::author::RequestInfo;
use crate::error::Error;
use crate::store::UploadKey;

pub(super) fn repository(text: &str) -> Result<RepositoryName, Error> {
    RepositoryName::parse(text).map_err(|error| Error::NameInvalid(error.to_string()))
}

pub(super) fn tag(text: &str) -> Result<Tag, Error> {
    Tag::parse(text).map_err(|error| Error::TagInvalid(error.to_string()))
}

pub(super) fn digest(text: &str) -> Result<Digest, Error> {
    Digest::parse(text).map_err(|error| Error::DigestInvalid(error.to_string()))
}

/// A tag has no colon, so what has one was meant as a digest.
pub(super) fn reference(text: &str) -> Result<Reference, Error> {
    if text.contains(':') {
        digest(text).map(Reference::Digest)
    } else {
        tag(text).map(Reference::Tag)
    }
}

pub(super) fn algorithm(text: &str) -> Result<DigestAlgorithm, Error> {
    if text.is_empty() {
        return Ok(DigestAlgorithm::Sha256);
    }
    text.parse()
        .map_err(|_| Error::DigestInvalid(format!("{text:?} is not an algorithm that is supported")))
}

/// An id that is malformed is the id of no session.
pub(super) fn upload(name: &str, id: &str) -> Result<UploadKey, Error> {
    let repository = repository(name)?;
    let id = UploadId::parse(id).map_err(|_| Error::UploadUnknown)?;
    Ok(UploadKey { repository, id })
}

pub(super) fn stored(value: u64) -> Result<i64, Error> {
    i64::try_from(value).map_err(|_| Error::ArgumentInvalid("a number is too large"))
}

/// What the database counts is never negative.
pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

pub(super) fn request_info(context: Option<RequestContext>) -> RequestInfo {
    let context = context.unwrap_or_default();
    RequestInfo {
        request_id: cut(context.request_id, 128),
        client_address: cut(context.client_address, 64),
        user_agent: cut(context.user_agent, 512),
        trace_parent: trace_parent(),
        operation: Uuid::parse_str(&context.operation_id).ok(),
    }
}

/// What comes from headers is bounded, so that an event and a line of history are.
fn cut(mut text: String, bytes: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes));
    text
}

fn trace_parent() -> Option<String> {
    let mut carrier = HashMap::new();
    let context = tracing::Span::current().context();
    opentelemetry::global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&context, &mut carrier);
    });
    carrier.remove("traceparent")
}
