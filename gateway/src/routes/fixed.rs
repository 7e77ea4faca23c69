//! The endpoints whose paths are fixed.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    routing::{get, post},
};
use http::{HeaderValue, StatusCode, header};

use super::{dev, sts, token, well_known};
use crate::{
    app::App,
    body::RequestBody,
    call::Call,
    error::{ErrorCode, Failure},
};

pub(crate) const TOKEN: &str = "/token";
pub(crate) const STS_EXCHANGE: &str = "/sts/exchange";
pub(crate) const STS_REVOKE: &str = "/sts/revoke";
pub(crate) const DEV_TOKEN: &str = "/dev/token";
pub(crate) const ROADSTEAD: &str = "/.well-known/roadstead";
pub(crate) const OPENID_CONFIGURATION: &str = "/.well-known/openid-configuration";
pub(crate) const JWKS_ACCESS: &str = "/.well-known/jwks/access.json";
pub(crate) const JWKS_REGISTRY: &str = "/.well-known/jwks/registry.json";

/// Tokens are at most a few kilobytes, and a form has one or two.
const FORM_LIMIT: usize = 64 * 1024;

/// Makes the table of paths and methods, and the router of the same.
macro_rules! routes {
    ($($path:ident, $methods:literal => $handler:expr;)*) => {
        /// The paths, each with its methods as an `Allow` header names them.
        pub(crate) const ROUTES: [(&str, &str); [$($path),*].len()] = [$(($path, $methods)),*];

        fn handlers() -> Router<Arc<App>> {
            Router::new()$(.route($path, $handler))*
        }
    };
}

routes! {
    TOKEN, "GET, HEAD, POST" => get(token::get).post(token::post);
    STS_EXCHANGE, "POST" => post(sts::exchange);
    STS_REVOKE, "POST" => post(sts::revoke);
    DEV_TOKEN, "POST" => post(dev::post);
    ROADSTEAD, "GET, HEAD" => get(well_known::roadstead);
    OPENID_CONFIGURATION, "GET, HEAD" => get(well_known::openid_configuration);
    JWKS_ACCESS, "GET, HEAD" => get(well_known::access_keys);
    JWKS_REGISTRY, "GET, HEAD" => get(well_known::registry_keys);
}

/// The route as metrics and spans name it.
pub(crate) fn template(path: &str) -> &'static str {
    ROUTES
        .into_iter()
        .find(|(known, _)| *known == path)
        .map_or("/{unknown}", |(known, _)| known)
}

pub(crate) fn router(app: Arc<App>) -> Router {
    handlers()
        .fallback(|| async { Failure::no_such_route() })
        // axum adds the Allow header.
        .method_not_allowed_fallback(|| async { Failure::unsupported_method() })
        .with_state(app)
}

/// Lets a 401 ask for the credential that the endpoint itself takes, which is not the token that `/v2/` asks for.
pub(super) fn asking_for(failure: Failure, challenge: &'static str) -> Failure {
    if failure.status() == StatusCode::UNAUTHORIZED {
        failure.header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    } else {
        failure
    }
}

/// Reads a form's or document's text. The length need not be known: some clients send forms chunked.
pub(super) async fn read_form(app: &App, call: &Call, body: Body) -> Result<String, Failure> {
    let mut body = RequestBody::new(body, &call.headers, app.config.body_idle_timeout);
    let bytes = body.collect(FORM_LIMIT).await?;
    String::from_utf8(bytes.into())
        .map_err(|_| Failure::bad_request(ErrorCode::Unsupported, "the form is not UTF-8"))
}
