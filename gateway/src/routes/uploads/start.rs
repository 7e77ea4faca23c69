//! The POST that starts an upload, or mounts, or brings the whole blob.

use axum::response::Response;
use http::StatusCode;
use roadstead_proto::metadata::v1::{CreateUploadRequest, MountBlobRequest, acquire_upload_request::Purpose};
use roadstead_types::{Action, Digest, DigestAlgorithm, RepositoryName, UploadId};

use super::{
    accepted, created, digest_of,
    session::{Place, Session},
};
use crate::{
    app::App,
    auth::{Caller, Expiry},
    body::RequestBody,
    call::Call,
    error::{Challenge, ErrorCode, Failure},
};

pub(super) async fn start(
    app: &App,
    call: &Call,
    name: RepositoryName,
    body: &mut RequestBody,
) -> Result<Response, Failure> {
    let caller = Caller::of(&call.headers, &app.verifier)?;
    let token = caller.write(&name, Action::Push, Expiry::Refused)?;
    let mount = mount_of(call)?;
    if let Some(digest) = &mount
        && try_mount(app, call, &caller, token, &name, digest).await?
    {
        return Ok(created(&name, digest));
    }
    let digest = if mount.is_none() { digest_of(call)? } else { None };
    let algorithm = match &digest {
        Some(digest) => digest.algorithm(),
        None => algorithm_of(call)?,
    };
    let request = CreateUploadRequest {
        registry_token: token.to_owned(),
        context: Some(call.context()),
        repository: name.to_string(),
        digest_algorithm: algorithm.as_str().to_owned(),
    };
    let upload_id = app
        .services
        .uploads
        .clone()
        .create_upload(request)
        .await?
        .into_inner()
        .upload_id;
    let id =
        UploadId::parse(&upload_id).map_err(|error| Failure::internal(format!("{upload_id:?}: {error}")))?;
    let place = Place { name, id };
    let Some(digest) = digest else {
        return Ok(accepted(StatusCode::ACCEPTED, &place, 0));
    };

    let mut session = Session::acquire(app, token, place, Purpose::Finish, Some(&digest), None).await?;
    session.append(body, None).await?;
    session.finish(call.context(), &digest).await?;
    Ok(created(&session.place.name, &digest))
}

fn mount_of(call: &Call) -> Result<Option<Digest>, Failure> {
    let Some(text) = call.query().filled("mount") else {
        return Ok(None);
    };
    let digest = Digest::parse(&text).map_err(|error| {
        Failure::bad_request(ErrorCode::DigestInvalid, format!("?mount={text:?}: {error}"))
    })?;
    Ok(Some(digest))
}

/// What the client says it will finish with. A session may finish with any algorithm; knowing saves reading twice.
fn algorithm_of(call: &Call) -> Result<DigestAlgorithm, Failure> {
    let Some(text) = call.query().filled("digest-algorithm") else {
        return Ok(DigestAlgorithm::Sha256);
    };
    text.parse().map_err(|_| {
        let message = format!("?digest-algorithm={text:?} is not supported; use sha256 or sha512");
        Failure::bad_request(ErrorCode::DigestInvalid, message)
    })
}

/// Links a blob that the caller may read somewhere else. Whatever stands in the way, the answer is an upload session,
/// except that a caller who never asked to pull from the source is told to: with both scopes in one challenge, because
/// the token that comes of it replaces the present one.
async fn try_mount(
    app: &App,
    call: &Call,
    caller: &Caller<'_>,
    token: &str,
    name: &RepositoryName,
    digest: &Digest,
) -> Result<bool, Failure> {
    let from = match call.query().filled("from") {
        None => String::new(),
        Some(text) => match RepositoryName::parse(&text) {
            Err(_) => return Ok(false),
            Ok(from) => {
                if from != *name && !caller.has_asked_for(&from, Action::Pull) {
                    let message = format!("mounting needs a token that also carries pull for {from}");
                    return Err(Failure::unauthorized(Challenge::InsufficientScope, message)
                        .scoped(format!("repository:{name}:pull,push repository:{from}:pull")));
                }
                from.to_string()
            }
        },
    };
    let request = MountBlobRequest {
        registry_token: token.to_owned(),
        context: Some(call.context()),
        repository: name.to_string(),
        digest: digest.to_string(),
        from,
    };
    Ok(app
        .services
        .write
        .clone()
        .mount_blob(request)
        .await?
        .into_inner()
        .mounted)
}
