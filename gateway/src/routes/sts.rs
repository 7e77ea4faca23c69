//! `POST /sts/exchange` and `POST /sts/revoke`: an OIDC identity token or a refresh token in, an access token out.
//!
//! The exchange is asked for in two ways: with the form of RFC 8693 (`grant_type`, `subject_token` ...), or simply, with the
//! identity token as `Authorization: Bearer` and what else there is to say (`aud`, `identity`, `scope`, `cap`) in the query or a form.

use std::sync::Arc;

use axum::{Extension, body::Body, extract::State, response::Response};
use http::{StatusCode, header};
use roadstead_proto::auth::v1::{
    ExchangeRequest, ExchangeResponse, IdentitySummary, Narrowing, RefreshRequest, RevokeSessionRequest,
};
use serde::Serialize;

use super::fixed::{asking_for, read_form};
use crate::{
    app::App,
    auth,
    call::Call,
    error::{ErrorCode, Failure},
    query::Parameters,
    respond,
};

const CHALLENGE: &str = "Bearer realm=\"identity token\"";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const REFRESH: &str = "refresh_token";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// What an identity token may be called (RFC 8693, section 3).
const IDENTITY_TOKEN_TYPES: [&str; 2] = [
    "urn:ietf:params:oauth:token-type:id_token",
    "urn:ietf:params:oauth:token-type:jwt",
];
/// The scope by which OpenID providers are asked for a refresh token.
const OFFLINE_ACCESS: &str = "offline_access";

#[derive(Serialize)]
struct ExchangeAnswer<'a> {
    token: &'a str,
    access_token: &'a str,
    token_type: &'static str,
    issued_token_type: &'static str,
    expires_in: u32,
    identity: IdentityAnswer<'a>,
    identities: Vec<IdentitySummaryAnswer<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    refresh_token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_expires_in: Option<u32>,
}

#[derive(Serialize)]
struct IdentityAnswer<'a> {
    issuer: &'a str,
    subject: &'a str,
}

#[derive(Serialize)]
struct IdentitySummaryAnswer<'a> {
    id: &'a str,
    name: &'a str,
    kind: &'a str,
}

/// `POST /sts/exchange`
pub(super) async fn exchange(
    State(app): State<Arc<App>>,
    Extension(call): Extension<Arc<Call>>,
    body: Body,
) -> Result<Response, Failure> {
    let outcome = async {
        let text = read_form(&app, &call, body).await?;
        let parameters = Parameters::read(&call, &text)?;
        let exchanged = match parameters.one("grant_type")?.as_deref() {
            Some(REFRESH) => refresh(&app, &call, &parameters).await?,
            Some(TOKEN_EXCHANGE) | None => exchange_identity(&app, &call, &parameters).await?,
            Some(other) => {
                let message =
                    format!("grant_type {other:?} is not supported; use {TOKEN_EXCHANGE} or {REFRESH}");
                return Err(unsupported(message).oauth("unsupported_grant_type"));
            }
        };
        answer(&exchanged)
    };
    outcome
        .await
        .map_err(|failure| asking_for(failure, CHALLENGE).in_oauth())
}

/// `POST /sts/revoke` (RFC 7009): ends the session of a refresh token. One that is not known is as good as revoked.
pub(super) async fn revoke(
    State(app): State<Arc<App>>,
    Extension(call): Extension<Arc<Call>>,
    body: Body,
) -> Result<Response, Failure> {
    let outcome = async {
        let text = read_form(&app, &call, body).await?;
        let parameters = Parameters::read(&call, &text)?;
        let token = parameters.secret("token")?;
        let refresh_token = token.ok_or_else(|| unsupported("send the refresh token as token"))?;
        let request = RevokeSessionRequest {
            refresh_token: refresh_token.into_owned(),
            context: Some(call.context()),
        };
        app.services.tokens.clone().revoke_session(request).await?;
        Ok(respond::json("{}"))
    };
    outcome.await.map_err(Failure::in_oauth)
}

async fn exchange_identity(
    app: &App,
    call: &Call,
    parameters: &Parameters<'_>,
) -> Result<ExchangeResponse, Failure> {
    let shown = parameters.secret("subject_token")?;
    let identity_token = match call.headers.get(header::AUTHORIZATION) {
        Some(line) if shown.is_none() => auth::bearer(line).map(ToOwned::to_owned),
        Some(_) => {
            return Err(unsupported(
                "send one identity token: as Authorization or as subject_token",
            ));
        }
        None => shown.map(std::borrow::Cow::into_owned),
    };
    let identity_token = identity_token.ok_or_else(|| {
        let message =
            "send an identity token of a configured issuer as Authorization: Bearer or as subject_token";
        Failure::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, message)
    })?;
    check_types(parameters)?;
    let (narrowing, wants_session) = narrowing(parameters);
    let request = ExchangeRequest {
        identity_token,
        context: Some(call.context()),
        audience: audience(app, parameters)?,
        identity: parameters.one("identity")?.unwrap_or_default().into_owned(),
        narrowing,
        session: wants_session || parameters.one("session")?.as_deref() == Some("true"),
    };
    Ok(app.services.tokens.clone().exchange(request).await?.into_inner())
}

async fn refresh(app: &App, call: &Call, parameters: &Parameters<'_>) -> Result<ExchangeResponse, Failure> {
    let refresh_token = parameters
        .secret("refresh_token")?
        .ok_or_else(|| unsupported("send the refresh token as refresh_token"))?;
    let request = RefreshRequest {
        refresh_token: refresh_token.into_owned(),
        narrowing: narrowing(parameters).0,
        context: Some(call.context()),
    };
    Ok(app.services.tokens.clone().refresh(request).await?.into_inner())
}

/// Refuses tokens that are said to be something else, and wishes for something else.
fn check_types(parameters: &Parameters<'_>) -> Result<(), Failure> {
    let given = parameters.one("subject_token_type")?;
    if let Some(given) = given.filter(|given| !IDENTITY_TOKEN_TYPES.contains(&given.as_ref())) {
        let [id_token, jwt] = IDENTITY_TOKEN_TYPES;
        return Err(unsupported(format!(
            "subject_token_type {given:?} is not supported; use {id_token} or {jwt}"
        )));
    }
    let wanted = parameters.one("requested_token_type")?;
    if let Some(wanted) = wanted.filter(|wanted| wanted != ACCESS_TOKEN) {
        return Err(unsupported(format!(
            "requested_token_type {wanted:?} is not supported; use {ACCESS_TOKEN}"
        )));
    }
    if parameters.one("actor_token")?.is_some() {
        return Err(unsupported("nobody acts for another here; leave actor_token out"));
    }
    Ok(())
}

/// For whom the token is to be. A `resource` (RFC 8707) is the registry's address; auth knows its names.
fn audience(app: &App, parameters: &Parameters<'_>) -> Result<String, Failure> {
    let origin = app.addresses.origin();
    if let Some(resource) = parameters
        .all("resource")
        .find(|resource| resource.strip_suffix('/').unwrap_or(resource) != origin)
    {
        let message = format!("resource {resource:?} is not this registry; use {origin}");
        return Err(unsupported(message).oauth("invalid_target"));
    }
    let mut audiences = parameters.all("audience").chain(parameters.all("aud"));
    let audience = audiences.next().unwrap_or_default().into_owned();
    if audiences.any(|other| other != audience) {
        let message = "a token has one audience; name this registry alone";
        return Err(unsupported(message).oauth("invalid_target"));
    }
    Ok(audience)
}

/// What the token is to be narrowed to, and whether the scopes ask for a session.
fn narrowing(parameters: &Parameters<'_>) -> (Option<Narrowing>, bool) {
    let mut resources: Vec<String> = parameters
        .all("scope")
        .flat_map(|scopes| {
            scopes
                .split_ascii_whitespace()
                .map(ToOwned::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    let asked = resources.len();
    resources.retain(|scope| scope != OFFLINE_ACCESS);
    let wants_session = resources.len() < asked;
    let capabilities: Vec<String> = parameters
        .all("capability")
        .chain(parameters.all("cap"))
        .map(std::borrow::Cow::into_owned)
        .collect();
    let narrows = !resources.is_empty() || !capabilities.is_empty();
    let narrowing = narrows.then_some(Narrowing {
        resources,
        capabilities,
    });
    (narrowing, wants_session)
}

fn answer(exchanged: &ExchangeResponse) -> Result<Response, Failure> {
    let identity = exchanged.identity.clone().unwrap_or_default();
    respond::json_of(&ExchangeAnswer {
        token: &exchanged.access_token,
        access_token: &exchanged.access_token,
        token_type: "Bearer",
        issued_token_type: ACCESS_TOKEN,
        expires_in: exchanged.expires_in,
        identity: IdentityAnswer {
            issuer: &identity.issuer,
            subject: &identity.subject,
        },
        identities: exchanged.identities.iter().map(summary).collect(),
        refresh_token: &exchanged.refresh_token,
        refresh_expires_in: (!exchanged.refresh_token.is_empty()).then_some(exchanged.refresh_expires_in),
    })
}

fn summary(identity: &IdentitySummary) -> IdentitySummaryAnswer<'_> {
    IdentitySummaryAnswer {
        id: &identity.id,
        name: &identity.name,
        kind: &identity.kind,
    }
}

fn unsupported(message: impl Into<std::borrow::Cow<'static, str>>) -> Failure {
    Failure::bad_request(ErrorCode::Unsupported, message)
}
