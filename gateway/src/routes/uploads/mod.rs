//! `/v2/<name>/blobs/uploads/...`: sessions that take a blob's bytes.
//!
//! A request that brings bytes runs in a task of its own: a client that goes away must not cut it between a checkpoint and
//! its saving, or between the commit of the bytes and that of the link. What was received before the client went stays
//! received, and the next request goes on from there.

mod append;
mod finish;
mod session;
mod start;

use std::sync::Arc;

use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use roadstead_proto::metadata::v1::acquire_upload_request::Purpose;
use roadstead_rpc::run_to_completion;
use roadstead_types::{Action, Digest, RepositoryName, UploadId};

use self::session::{Place, Session};
use super::reading;
use crate::{
    app::App,
    auth::{Caller, Expiry},
    body::RequestBody,
    call::Call,
    error::{ErrorCode, Failure},
    range::ByteRange,
    respond::{self, set_text},
};

/// Starts an upload, or does all of it at once.
pub(super) async fn post(
    app: &Arc<App>,
    call: &Arc<Call>,
    name: RepositoryName,
    body: RequestBody,
) -> Result<Response, Failure> {
    let (app, call) = (app.clone(), call.clone());
    run_to_completion(reading(body, async move |body| {
        start::start(&app, &call, name, body).await
    }))
    .await
}

/// Takes a chunk: all that comes, or the range that `Content-Range` names, which must begin where the session ends.
pub(super) async fn patch(
    app: &Arc<App>,
    call: &Arc<Call>,
    name: RepositoryName,
    id: UploadId,
    body: RequestBody,
) -> Result<Response, Failure> {
    let (app, call) = (app.clone(), call.clone());
    let work = async move |body: &mut RequestBody| {
        let caller = Caller::of(&call.headers, &app.verifier)?;
        let token = caller.write(&name, Action::Push, Expiry::PushGrant)?;
        let chunk = chunk(&call, body)?;
        let place = Place { name, id };
        let mut session = Session::acquire(
            &app,
            token,
            place,
            Purpose::Append,
            None,
            chunk.map(|chunk| chunk.first),
        )
        .await?;
        session.append(body, chunk).await?;
        Ok(accepted(StatusCode::ACCEPTED, &session.place, session.offset))
    };
    run_to_completion(reading(body, work)).await
}

/// Takes the last bytes, if any, and makes a blob of all.
pub(super) async fn put(
    app: &Arc<App>,
    call: &Arc<Call>,
    name: RepositoryName,
    id: UploadId,
    body: RequestBody,
) -> Result<Response, Failure> {
    let (app, call) = (app.clone(), call.clone());
    let work = async move |body: &mut RequestBody| {
        let caller = Caller::of(&call.headers, &app.verifier)?;
        let token = caller.write(&name, Action::Push, Expiry::PushGrant)?;
        let digest = digest_of(&call)?.ok_or_else(|| {
            let message = "finishing an upload needs ?digest=, the digest of the whole blob";
            Failure::bad_request(ErrorCode::DigestInvalid, message)
        })?;
        let chunk = chunk(&call, body)?;
        let (place, first) = (Place { name, id }, chunk.map(|chunk| chunk.first));
        let mut session = Session::acquire(&app, token, place, Purpose::Finish, Some(&digest), first).await?;
        if session.is_finished {
            body.drain().await;
        } else {
            session.append(body, chunk).await?;
            session.finish(call.context(), &digest).await?;
        }
        Ok(created(&session.place.name, &digest))
    };
    run_to_completion(reading(body, work)).await
}

/// Tells how far an upload is.
pub(super) async fn status(
    app: &App,
    caller: &Caller<'_>,
    name: &RepositoryName,
    id: UploadId,
) -> Result<Response, Failure> {
    let token = caller.write(name, Action::Push, Expiry::PushGrant)?;
    let offset = session::offset(app, token, name, id).await?;
    Ok(accepted(
        StatusCode::NO_CONTENT,
        &Place {
            name: name.clone(),
            id,
        },
        offset,
    ))
}

/// Gives an upload up.
pub(super) async fn cancel(
    app: &App,
    call: &Call,
    caller: &Caller<'_>,
    name: &RepositoryName,
    id: UploadId,
) -> Result<Response, Failure> {
    let token = caller.write(name, Action::Push, Expiry::PushGrant)?;
    let place = Place {
        name: name.clone(),
        id,
    };
    Session::acquire(app, token, place, Purpose::Cancel, None, None)
        .await?
        .cancel(call.context())
        .await?;
    Ok(respond::empty(StatusCode::NO_CONTENT))
}

/// The position that `Content-Range` names, which must fit the length.
fn chunk(call: &Call, body: &RequestBody) -> Result<Option<ByteRange>, Failure> {
    let mut lines = call.headers.get_all(header::CONTENT_RANGE).iter();
    let Some(value) = lines.next() else {
        return Ok(None);
    };
    let chunk = value
        .to_str()
        .ok()
        .filter(|_| lines.next().is_none())
        .and_then(ByteRange::parse_chunk)
        .ok_or_else(|| {
            let message =
                "the one Content-Range of a chunk must read <first>-<last>, counted from 0, without a unit";
            Failure::bad_request(ErrorCode::SizeInvalid, message)
        })?;
    match body.content_length() {
        Some(length) if length != chunk.length() => {
            let message = format!(
                "Content-Range names {} bytes but Content-Length is {length}",
                chunk.length()
            );
            Err(Failure::bad_request(ErrorCode::SizeInvalid, message))
        }
        _ => Ok(Some(chunk)),
    }
}

fn digest_of(call: &Call) -> Result<Option<Digest>, Failure> {
    let Some(text) = call.query().first("digest") else {
        return Ok(None);
    };
    let digest = Digest::parse(&text).map_err(|error| {
        Failure::bad_request(ErrorCode::DigestInvalid, format!("?digest={text:?}: {error}"))
    })?;
    Ok(Some(digest))
}

/// The session goes on.
fn accepted(status: StatusCode, place: &Place, offset: u64) -> Response {
    let mut response = respond::empty(status);
    for (name, value) in place.headers(offset) {
        respond::set(&mut response, name, value);
    }
    set_text(&mut response, respond::UPLOAD_UUID, &place.id.to_string());
    respond::set(
        &mut response,
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-store"),
    );
    response
}

/// There is a blob.
fn created(name: &RepositoryName, digest: &Digest) -> Response {
    let mut response = respond::empty(StatusCode::CREATED);
    set_text(
        &mut response,
        header::LOCATION,
        &format!("/v2/{name}/blobs/{digest}"),
    );
    set_text(&mut response, respond::CONTENT_DIGEST, digest.as_str());
    response
}
