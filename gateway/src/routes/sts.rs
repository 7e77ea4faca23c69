//! `POST /sts/exchange`: an OIDC identity token in, an access token out (names as in RFC 8693).

use std::sync::Arc;

use axum::{Extension, body::Body, extract::State, response::Response};
use http::{StatusCode, header};
use roadstead_proto::auth::v1::ExchangeRequest;
use serde::{Deserialize, Serialize};

use super::fixed::{asking_for, read_form};
use crate::{
    app::App,
    auth,
    call::Call,
    error::{ErrorCode, Failure},
    query::Query,
    respond,
};

const CHALLENGE: &str = "Bearer realm=\"identity token\"";

#[derive(Deserialize)]
struct JsonRequest {
    subject_token: String,
}

#[derive(Serialize)]
struct ExchangeAnswer<'a> {
    token: &'a str,
    access_token: &'a str,
    token_type: &'static str,
    issued_token_type: &'static str,
    expires_in: u32,
    identity: IdentityAnswer<'a>,
}

#[derive(Serialize)]
struct IdentityAnswer<'a> {
    issuer: &'a str,
    subject: &'a str,
}

/// Takes the identity token from the `Authorization` header, or as `subject_token` of a form or a JSON object.
pub(super) async fn post(
    State(app): State<Arc<App>>,
    Extension(call): Extension<Arc<Call>>,
    body: Body,
) -> Result<Response, Failure> {
    exchange(&app, &call, body)
        .await
        .map_err(|failure| asking_for(failure, CHALLENGE))
}

async fn exchange(app: &App, call: &Call, body: Body) -> Result<Response, Failure> {
    let text = read_form(app, call, body).await?;
    let identity_token = match call.headers.get(header::AUTHORIZATION) {
        Some(line) => auth::bearer(line).map(ToOwned::to_owned),
        None if is_json(call) => serde_json::from_str(&text)
            .ok()
            .map(|request: JsonRequest| request.subject_token),
        None => Query::new(&text)
            .filled("subject_token")
            .map(std::borrow::Cow::into_owned),
    };
    let identity_token = identity_token.filter(|token| !token.is_empty()).ok_or_else(|| {
        let message =
            "send an identity token of a configured issuer as Authorization: Bearer or as subject_token";
        Failure::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, message)
    })?;
    let request = ExchangeRequest {
        identity_token,
        context: Some(call.context()),
    };
    let exchanged = app.services.tokens.clone().exchange(request).await?.into_inner();
    let identity = exchanged.identity.unwrap_or_default();
    let answer = ExchangeAnswer {
        token: &exchanged.access_token,
        access_token: &exchanged.access_token,
        token_type: "Bearer",
        issued_token_type: "urn:ietf:params:oauth:token-type:access_token",
        expires_in: exchanged.expires_in,
        identity: IdentityAnswer {
            issuer: &identity.issuer,
            subject: &identity.subject,
        },
    };
    respond::json_of(&answer)
}

fn is_json(call: &Call) -> bool {
    call.header(&header::CONTENT_TYPE)
        .is_some_and(|value| value.trim_start().starts_with("application/json"))
}
