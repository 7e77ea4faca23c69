//! The endpoints. Each: parsed names in, one RPC (uploads: as many as their bytes need), an answer out.

mod base;
mod blobs;
mod catalog;
mod dev;
pub(crate) mod fixed;
mod manifests;
mod referrers;
mod sts;
mod tags;
mod token;
mod uploads;
mod well_known;

use std::sync::Arc;

use axum::{body::Body, response::Response};
use http::{HeaderName, HeaderValue, Method};
use roadstead_types::{Action, RepositoryName};

use crate::{
    app::App,
    auth::Caller,
    body::RequestBody,
    call::Call,
    error::Failure,
    path::{Target, V2Path},
    respond::set,
};

/// What a request needs: the scope that a challenge names.
enum Need {
    /// A token, whatever it is for.
    AnyToken,
    Catalog,
    Repository(RepositoryName, Action),
}

impl Need {
    fn of(target: &Target, method: &Method) -> Self {
        let (name, action) = match target {
            Target::Base => return Self::AnyToken,
            Target::Catalog => return Self::Catalog,
            // Cancelling one's own upload is part of pushing, and so is asking how far it is.
            Target::Uploads(name) | Target::Upload(name, _) => (name, Action::Push),
            Target::Manifest(name, _) | Target::Blob(name, _) if *method == Method::DELETE => {
                (name, Action::Delete)
            }
            Target::Manifest(name, _) if *method == Method::PUT => (name, Action::Push),
            Target::Manifest(name, _)
            | Target::Blob(name, _)
            | Target::Tags(name)
            | Target::Referrers(name, _) => (name, Action::Pull),
        };
        Self::Repository(name.clone(), action)
    }

    fn scope(&self) -> String {
        match self {
            Self::AnyToken => String::new(),
            Self::Catalog => "registry:catalog:*".to_owned(),
            // Who pushes asks what is there already.
            Self::Repository(name, Action::Push) => format!("repository:{name}:pull,push"),
            Self::Repository(name, action) => format!("repository:{name}:{action}"),
        }
    }
}

/// Answers a request under `/v2/`.
pub(crate) async fn serve_v2(app: &Arc<App>, call: Arc<Call>, path: &V2Path<'_>, body: Body) -> Response {
    let body = RequestBody::new(body, &call.headers, app.config.body_idle_timeout);
    let mut response = match path.parse(call.method == Method::GET || call.method == Method::HEAD) {
        Ok(target) => {
            let need = Need::of(&target, &call.method);
            match Box::pin(dispatch(app, &call, path, target, body)).await {
                Ok(response) => response,
                Err(failure) => {
                    if let (Some(refusal), Need::Repository(name, action)) = (failure.refusal(), &need) {
                        app.refusals
                            .note(&call, refusal, (name, *action), failure.status());
                    }
                    app.render(&call, failure, || need.scope())
                }
            }
        }
        Err(failure) => app.render(&call, failure, String::new),
    };
    set(
        &mut response,
        HeaderName::from_static("docker-distribution-api-version"),
        HeaderValue::from_static("registry/2.0"),
    );
    if let Some(namespace) = call
        .query()
        .filled("ns")
        .filter(|namespace| is_namespace(namespace))
        && let Ok(namespace) = HeaderValue::from_str(&namespace)
    {
        set(&mut response, HeaderName::from_static("oci-namespace"), namespace);
    }
    response
}

async fn dispatch(
    app: &Arc<App>,
    call: &Arc<Call>,
    path: &V2Path<'_>,
    target: Target,
    body: RequestBody,
) -> Result<Response, Failure> {
    let caller = || Caller::of(&call.headers, &app.verifier);
    match (target, &call.method) {
        (Target::Base, &Method::GET | &Method::HEAD) => base::get(&caller()?),
        (Target::Catalog, &Method::GET | &Method::HEAD) => catalog::get(app, call, &caller()?).await,
        (Target::Manifest(name, reference), &Method::GET | &Method::HEAD) => {
            manifests::get(app, call, &caller()?, name, reference).await
        }
        (Target::Manifest(name, reference), &Method::PUT) => {
            reading(body, async |body| {
                manifests::put(app, call, &caller()?, &name, &reference, body).await
            })
            .await
        }
        (Target::Manifest(name, reference), &Method::DELETE) => {
            manifests::delete(app, call, &caller()?, &name, &reference).await
        }
        (Target::Blob(name, digest), &Method::GET | &Method::HEAD) => {
            blobs::get(app, call, &caller()?, name, digest).await
        }
        (Target::Blob(name, digest), &Method::DELETE) => {
            blobs::delete(app, call, &caller()?, &name, &digest).await
        }
        (Target::Uploads(name), &Method::POST) => uploads::post(app, call, name, body).await,
        (Target::Upload(name, id), &Method::GET) => uploads::status(app, &caller()?, &name, id).await,
        (Target::Upload(name, id), &Method::PATCH) => uploads::patch(app, call, name, id, body).await,
        (Target::Upload(name, id), &Method::PUT) => uploads::put(app, call, name, id, body).await,
        (Target::Upload(name, id), &Method::DELETE) => {
            uploads::cancel(app, call, &caller()?, &name, id).await
        }
        (Target::Tags(name), &Method::GET | &Method::HEAD) => tags::list(app, call, &caller()?, &name).await,
        (Target::Referrers(name, digest), &Method::GET | &Method::HEAD) => {
            referrers::list(app, call, &caller()?, &name, &digest).await
        }
        _ => Err(Failure::method_not_allowed(path.kind.allow())),
    }
}

/// Runs a handler that reads the body, and after a failure reads on for a while, so that the client sees the answer.
async fn reading<T>(
    mut body: RequestBody,
    handle: impl AsyncFnOnce(&mut RequestBody) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let outcome = handle(&mut body).await;
    if outcome.is_err() {
        body.drain().await;
    }
    outcome
}

/// What is used to name another registry: `host[:port]`, with a path perhaps.
fn is_namespace(text: &str) -> bool {
    text.len() <= 255
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-:_/[]".contains(&byte))
}
