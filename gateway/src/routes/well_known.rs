//! `/.well-known/`: what others need to verify our tokens, and to log in.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::{HeaderValue, header};
use roadstead_proto::auth::v1::{GetLoginOptionsRequest, ListKeySetsRequest, LoginOption, TokenKind};
use serde_json::{Value, json};

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
        "revocation_endpoint": format!("{origin}{}", fixed::STS_REVOKE),
        "grant_types_supported": ["urn:ietf:params:oauth:grant-type:token-exchange", "refresh_token"],
        "response_types_supported": ["none"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported": ["none"],
    });
    public(document.to_string(), 300)
}

/// Tells programs of ours by which issuers people log in here, and which release this is.
pub(super) async fn roadstead(State(app): State<Arc<App>>) -> Result<Response, Failure> {
    let mut tokens = app.services.tokens.clone();
    let options = tokens
        .get_login_options(GetLoginOptionsRequest {})
        .await?
        .into_inner()
        .options;
    let issuers: Vec<Value> = options.iter().map(login_option).collect();
    let document = json!({ "version": env!("CARGO_PKG_VERSION"), "issuers": issuers });
    Ok(public(document.to_string(), 60))
}

/// The secret of a program that runs on its users' machines is none, but some issuers demand it.
fn login_option(option: &LoginOption) -> Value {
    let mut value = json!({
        "issuer": option.issuer,
        "client_id": option.client_id,
        "scopes": option.scopes,
    });
    if !option.client_secret.is_empty() {
        value["client_secret"] = json!(option.client_secret);
    }
    value
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
