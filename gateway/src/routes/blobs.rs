//! `/v2/<name>/blobs/<digest>`

use axum::{body::Body, response::Response};
use http::{HeaderValue, Method, StatusCode, header};
use roadstead_proto::metadata::v1::{ResolveBlobRequest, UnlinkBlobRequest};
use roadstead_types::{Action, Digest, RepositoryName, media_type};

use crate::{
    app::App,
    auth::{Caller, Expiry},
    blob_body::{self, BlobSource},
    call::Call,
    conditional,
    error::{ErrorCode, Failure},
    multipart::Multipart,
    pull_events::{PullEvent, Pulled},
    range::{self, ByteRange, Selection},
    respond::{self, CONTENT_DIGEST, set, set_text},
};

const OCTET_STREAM: HeaderValue = HeaderValue::from_static(media_type::OCTET_STREAM);

/// Answers HEAD from metadata alone. Bytes are sent as they were pushed, without any `Content-Encoding`: the digest and
/// every range are of these bytes.
pub(super) async fn get(
    app: &App,
    call: &Call,
    caller: &Caller<'_>,
    name: RepositoryName,
    digest: Digest,
) -> Result<Response, Failure> {
    let is_head = call.method == Method::HEAD;
    let request = ResolveBlobRequest {
        repository: name.to_string(),
        digest: digest.to_string(),
        access: Some(caller.read(&name, Expiry::of_reading(is_head))?),
    };
    let answer = app.services.read.clone().resolve_blob(request).await;
    let blob = answer
        .map_err(|status| {
            if is_head {
                caller.explain_look(&name, status)
            } else {
                caller.explain_read(&name, status)
            }
        })?
        .into_inner();

    if conditional::has_current(&call.headers, digest.as_str()) {
        let mut response = respond::empty(StatusCode::NOT_MODIFIED);
        respond::identify(&mut response, digest.as_str());
        return Ok(response);
    }
    let source = BlobSource {
        blobs: app.channels.blobs.clone(),
        locator: blob.locator,
        size: blob.size,
        patience: app.config.body_idle_timeout,
    };
    let selection = if is_head {
        Selection::Whole
    } else {
        selection(app, call, &digest, blob.size)
    };
    let starts_at_the_start = match &selection {
        Selection::Whole => true,
        Selection::One(range) => range.first == 0,
        Selection::Many(ranges) => ranges.iter().any(|range| range.first == 0),
        Selection::NotSatisfiable | Selection::TooMany => false,
    };
    let mut response = match selection {
        Selection::Whole if is_head => sized(Body::empty(), blob.size),
        Selection::Whole => sized(blob_body::whole(source).await?, blob.size),
        Selection::One(range) => single(source, range).await?,
        Selection::Many(ranges) => multiple(source, ranges).await?,
        Selection::NotSatisfiable => return Err(not_satisfiable(blob.size)),
        Selection::TooMany => return Err(too_many_ranges(app.config.max_ranges)),
    };
    respond::identify(&mut response, digest.as_str());
    set(
        &mut response,
        header::ACCEPT_RANGES,
        HeaderValue::from_static("bytes"),
    );
    // One pull is one event, however many ranges a client cuts it into.
    if !is_head && starts_at_the_start {
        app.pull_events.publish(|| {
            let digest = digest.to_string();
            PullEvent::new(
                &app.clock,
                call,
                caller.principal(),
                name,
                blob.repository_id,
                digest,
                Pulled::Blob,
            )
        });
    }
    Ok(response)
}

fn selection(app: &App, call: &Call, digest: &Digest, size: u64) -> Selection {
    let mut lines = call.headers.get_all(header::RANGE).iter();
    match (lines.next().map(HeaderValue::to_str), lines.next()) {
        (Some(Ok(line)), None) if conditional::range_counts(&call.headers, digest.as_str()) => {
            range::select(line, size, app.config.max_ranges)
        }
        _ => Selection::Whole,
    }
}

fn sized(body: Body, size: u64) -> Response {
    let mut response = Response::new(body);
    set(&mut response, header::CONTENT_TYPE, OCTET_STREAM);
    set(&mut response, header::CONTENT_LENGTH, HeaderValue::from(size));
    response
}

async fn single(source: BlobSource, range: ByteRange) -> Result<Response, Failure> {
    let content_range = format!("bytes {}-{}/{}", range.first, range.last, source.size);
    let mut response = sized(blob_body::one(source, range).await?, range.length());
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    set_text(&mut response, header::CONTENT_RANGE, &content_range);
    Ok(response)
}

async fn multiple(source: BlobSource, ranges: Vec<ByteRange>) -> Result<Response, Failure> {
    let frame = Multipart::new(source.size);
    let (length, content_type) = (frame.length(&ranges), frame.content_type());
    let mut response = sized(blob_body::many(source, frame, ranges).await?, length);
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    set(&mut response, header::CONTENT_TYPE, content_type);
    Ok(response)
}

fn not_satisfiable(size: u64) -> Failure {
    let message = format!("the range is not within the {size} bytes of the blob");
    let failure = Failure::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        ErrorCode::RangeInvalid,
        message,
    );
    match HeaderValue::try_from(format!("bytes */{size}")) {
        Ok(value) => failure.header(header::CONTENT_RANGE, value),
        Err(_) => failure,
    }
}

fn too_many_ranges(limit: usize) -> Failure {
    let message = format!("a request may name at most {limit} ranges; ask for fewer");
    Failure::bad_request(ErrorCode::RangeInvalid, message)
}

/// Takes the blob out of this repository; others that have it keep it.
pub(super) async fn delete(
    app: &App,
    call: &Call,
    caller: &Caller<'_>,
    name: &RepositoryName,
    digest: &Digest,
) -> Result<Response, Failure> {
    let request = UnlinkBlobRequest {
        registry_token: caller.write(name, Action::Delete, Expiry::Refused)?.to_owned(),
        context: Some(call.context()),
        repository: name.to_string(),
        digest: digest.to_string(),
    };
    app.services.write.clone().unlink_blob(request).await?;
    let mut response = respond::empty(StatusCode::ACCEPTED);
    set_text(&mut response, CONTENT_DIGEST, digest.as_str());
    Ok(response)
}
