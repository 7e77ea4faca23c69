//! `/.well-known/`: what others need to verify our tokens.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::{HeaderValue, header};
use roadstead_proto::auth::v1::{ListKeySetsRequest, TokenKind};
use serde_json::json;

use super::fixed;
use crate::{
    app::App,
    error::Failure,
    respond::{self, set},
};

/// Describes the issuer of access tokens (OpenID Connect Discovery). It has no authorization endpoint: identities come
/// from other issuers, by exchange.
pub(super) async fn openid_configuration(State(app): State<Arc<App>>) -> Response {
    let origin = app.addresses.origin();
    let document = json!({
        "issuer": origin,
        "jwks_uri": format!("{origin}{}", fixed::JWKS_ACCESS),
        "token_endpoint": format!("{origin}{}", fixed::STS_EXCHANGE),
        "grant_types_supported": ["urn:ietf:params:oauth:grant-type:token-exchange"],
        "response_types_supported": ["none"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported": ["none"],
    });
    public(document.to_string(), 300)
}

pub(super) async fn access_keys(State(app): State<Arc<App>>) -> Result<Response, Failure> {
    keys(&app, TokenKind::Access).await
}

pub(super) async fn registry_keys(State(app): State<Arc<App>>) -> Result<Response, Failure> {
    keys(&app, TokenKind::Registry).await
}

async fn keys(app: &App, kind: TokenKind) -> Result<Response, Failure> {
    let answer = app
        .services
        .keys
        .clone()
        .list_key_sets(ListKeySetsRequest {})
        .await?
        .into_inner();
    let set = answer
        .key_sets
        .into_iter()
        .find(|set| set.kind() == kind)
        .ok_or_else(|| Failure::internal(format!("auth published no {kind:?} keys")))?;
    Ok(public(set.jwks_json, answer.max_age))
}

fn public(body: String, max_age: u32) -> Response {
    let mut response = respond::json(body);
    let caching = HeaderValue::try_from(format!("public, max-age={max_age}"));
    set(
        &mut response,
        header::CACHE_CONTROL,
        caching.unwrap_or(HeaderValue::from_static("no-store")),
    );
    response
}
