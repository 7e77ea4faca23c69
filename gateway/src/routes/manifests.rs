//! `/v2/<name>/manifests/<tag or digest>`

use axum::{body::Body, response::Response};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use roadstead_proto::metadata::v1::{
    DeleteManifestRequest, DeleteTagRequest, GetManifestRequest, GetManifestResponse, PutManifestRequest,
};
use roadstead_types::{Action, Reference, RepositoryName};

use crate::{
    app::App,
    auth::{Caller, Expiry},
    body::{BodyError, RequestBody},
    call::Call,
    conditional,
    error::{ErrorCode, Failure},
    pull_events::{PullEvent, Pulled},
    respond::{self, CONTENT_DIGEST, set, set_text},
};

/// Answers with exactly the bytes and the type that were pushed, whatever the request accepts: a manifest converted to
/// another type would have another digest.
pub(super) async fn get(
    app: &App,
    call: &Call,
    caller: &Caller<'_>,
    name: RepositoryName,
    reference: Reference,
) -> Result<Response, Failure> {
    let is_head = call.method == Method::HEAD;
    let access = caller.read(&name, Expiry::of_reading(is_head))?;
    let is_conditional = call.headers.contains_key(header::IF_NONE_MATCH);
    let ask = async |reference: &str, include_content| -> Result<GetManifestResponse, Failure> {
        let request = GetManifestRequest {
            repository: name.to_string(),
            reference: reference.to_owned(),
            access: Some(access.clone()),
            include_content,
        };
        let answer = app.services.read.clone().get_manifest(request).await;
        Ok(answer
            .map_err(|status| caller.explain_read(&name, status))?
            .into_inner())
    };

    let mut found = ask(reference.as_str(), !is_head && !is_conditional).await?;
    if conditional::has_current(&call.headers, &found.digest) {
        let mut response = respond::empty(StatusCode::NOT_MODIFIED);
        respond::identify(&mut response, &found.digest);
        return Ok(response);
    }
    if is_conditional && !is_head {
        // By digest: the tag may have moved in between.
        found = ask(&found.digest, true).await?;
    }
    let mut response = Response::new(if is_head {
        Body::empty()
    } else {
        Body::from(found.content)
    });
    respond::identify(&mut response, &found.digest);
    set_text(&mut response, header::CONTENT_TYPE, &found.media_type);
    set(
        &mut response,
        header::CONTENT_LENGTH,
        HeaderValue::from(found.size),
    );
    if !is_head {
        let tag = reference.tag().cloned();
        let pulled = Pulled::Manifest {
            tag,
            media_type: found.media_type,
        };
        app.pull_events.publish(|| {
            PullEvent::new(
                &app.clock,
                call,
                caller.principal(),
                name,
                found.repository_id,
                found.digest,
                pulled,
            )
        });
    }
    Ok(response)
}

pub(super) async fn put(
    app: &App,
    call: &Call,
    caller: &Caller<'_>,
    name: &RepositoryName,
    reference: &Reference,
    body: &mut RequestBody,
) -> Result<Response, Failure> {
    let token = caller.write(name, Action::Push, Expiry::PushGrant)?;
    let tags: Vec<String> = call
        .query()
        .all("tag")
        .map(std::borrow::Cow::into_owned)
        .collect();
    if !tags.is_empty() && reference.tag().is_some() {
        let message = "?tag= is for a push by digest; this one names a tag in its path";
        return Err(Failure::bad_request(ErrorCode::Unsupported, message));
    }
    if tags.len() > app.config.max_tags_per_push {
        let message = format!(
            "at most {} tags may be set at once; push the rest again",
            app.config.max_tags_per_push
        );
        return Err(Failure::new(
            StatusCode::URI_TOO_LONG,
            ErrorCode::SizeInvalid,
            message,
        ));
    }
    let content_type = call.header(&header::CONTENT_TYPE).unwrap_or_default();
    let media_type = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned();
    let limit = app.config.manifest_size_limit;
    let content = body.collect(limit).await.map_err(|error| match error {
        BodyError::TooLarge => {
            let message = format!("a manifest may have at most {limit} bytes; move large data into a blob");
            Failure::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::SizeInvalid, message)
        }
        other => Failure::from(other),
    })?;
    let request = PutManifestRequest {
        registry_token: token.to_owned(),
        context: Some(call.context()),
        repository: name.to_string(),
        reference: reference.to_string(),
        tags,
        media_type,
        content,
    };
    let stored = app
        .services
        .write
        .clone()
        .put_manifest(request)
        .await?
        .into_inner();

    let mut response = respond::empty(StatusCode::CREATED);
    set_text(
        &mut response,
        header::LOCATION,
        &format!("/v2/{name}/manifests/{}", stored.digest),
    );
    set_text(&mut response, CONTENT_DIGEST, &stored.digest);
    if !stored.subject.is_empty() {
        set_text(
            &mut response,
            HeaderName::from_static("oci-subject"),
            &stored.subject,
        );
    }
    for tag in &stored.tags {
        if let Ok(tag) = HeaderValue::from_str(tag) {
            response
                .headers_mut()
                .append(HeaderName::from_static("oci-tag"), tag);
        }
    }
    Ok(response)
}

/// Deletes a tag, or a manifest with every tag that points at it.
pub(super) async fn delete(
    app: &App,
    call: &Call,
    caller: &Caller<'_>,
    name: &RepositoryName,
    reference: &Reference,
) -> Result<Response, Failure> {
    let registry_token = caller.write(name, Action::Delete, Expiry::Refused)?.to_owned();
    let (context, repository) = (Some(call.context()), name.to_string());
    let mut write = app.services.write.clone();
    let mut response = respond::empty(StatusCode::ACCEPTED);
    match reference {
        Reference::Tag(tag) => {
            let tag = tag.to_string();
            write
                .delete_tag(DeleteTagRequest {
                    registry_token,
                    context,
                    repository,
                    tag,
                })
                .await?;
        }
        Reference::Digest(digest) => {
            set_text(&mut response, CONTENT_DIGEST, digest.as_str());
            let digest = digest.to_string();
            write
                .delete_manifest(DeleteManifestRequest {
                    registry_token,
                    context,
                    repository,
                    digest,
                })
                .await?;
        }
    }
    Ok(response)
}
