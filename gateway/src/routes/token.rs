//! `/token`: the Docker token protocol, GET and POST. It takes access tokens, pull tokens and the refresh tokens that it gave
//! itself, and gives registry tokens.

use std::sync::Arc;

use axum::{Extension, body::Body, extract::State, response::Response};
use http::{StatusCode, header};
use roadstead_proto::auth::v1::IssueRegistryTokenRequest;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::fixed::{asking_for, read_form};
use crate::{
    app::App,
    call::Call,
    credentials::Credential,
    error::{ErrorCode, Failure},
    query::Query,
    respond,
};

const CHALLENGE: &str = "Basic realm=\"access token\"";

/// Some clients read `token`, some `access_token`. A refresh token is given to those that ask for one, as docker does at login:
/// it keeps that instead of the credential.
#[derive(Serialize)]
struct TokenAnswer<'a> {
    token: &'a str,
    access_token: &'a str,
    expires_in: u32,
    issued_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    refresh_token: &'a str,
}

/// What a client asks of the answer.
struct Wishes {
    scopes: Vec<String>,
    /// Whether the answer names the scopes that were granted.
    names_scope: bool,
    /// Whether the client wants a refresh token.
    offline: bool,
}

/// `GET /token?service=...&scope=...&scope=...`
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Extension(call): Extension<Arc<Call>>,
) -> Result<Response, Failure> {
    let query = call.query();
    let outcome = async {
        let credential =
            Credential::parse(call.headers.get(header::AUTHORIZATION)).map_err(|_| bad_credential())?;
        // One scope per parameter is the rule; several in one are what POST has, and harmless here.
        let wishes = Wishes {
            scopes: query.all("scope").flat_map(|scopes| split(&scopes)).collect(),
            names_scope: false,
            offline: query.first("offline_token").as_deref() == Some("true"),
        };
        issue(&app, &call, credential, query, wishes).await
    };
    outcome.await.map_err(|failure| asking_for(failure, CHALLENGE))
}

/// `POST /token` with a form, as OAuth 2 has it.
pub(super) async fn post(
    State(app): State<Arc<App>>,
    Extension(call): Extension<Arc<Call>>,
    body: Body,
) -> Result<Response, Failure> {
    let outcome = async {
        let form = read_form(&app, &call, body).await?;
        let form = Query::new(&form);
        let field = match form.first("grant_type").as_deref() {
            Some("password") => "password",
            Some("refresh_token") => "refresh_token",
            other => {
                let message = format!(
                    "grant_type {:?} is not supported; use password or refresh_token, with a token in that field",
                    other.unwrap_or_default()
                );
                return Err(Failure::bad_request(ErrorCode::Unsupported, message));
            }
        };
        let credential = match (form.filled(field), form.filled("username")) {
            (Some(token), _) => Credential::of(&token),
            (None, None) => Credential::Anonymous,
            (None, Some(_)) => return Err(bad_credential()),
        };
        let wishes = Wishes {
            scopes: form.all("scope").flat_map(|scopes| split(&scopes)).collect(),
            names_scope: true,
            offline: form.first("access_type").as_deref() == Some("offline"),
        };
        issue(&app, &call, credential, form, wishes).await
    };
    outcome.await.map_err(|failure| asking_for(failure, CHALLENGE))
}

async fn issue(
    app: &App,
    call: &Call,
    credential: Credential,
    parameters: Query<'_>,
    wishes: Wishes,
) -> Result<Response, Failure> {
    let request = IssueRegistryTokenRequest {
        credential: match credential {
            Credential::Anonymous => String::new(),
            Credential::Token(token) => token.expose_secret().to_owned(),
        },
        service: parameters.first("service").unwrap_or_default().into_owned(),
        scopes: wishes.scopes,
        context: Some(call.context()),
        offline: wishes.offline,
    };
    let issued = app
        .services
        .tokens
        .clone()
        .issue_registry_token(request)
        .await?
        .into_inner();
    let issued_at = OffsetDateTime::from_unix_timestamp(issued.issued_at)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_default();
    let answer = TokenAnswer {
        token: &issued.token,
        access_token: &issued.token,
        expires_in: issued.expires_in,
        issued_at,
        scope: wishes.names_scope.then(|| issued.granted_scopes.join(" ")),
        refresh_token: &issued.refresh_token,
    };
    respond::json_of(&answer)
}

fn split(scopes: &str) -> Vec<String> {
    scopes.split_ascii_whitespace().map(ToOwned::to_owned).collect()
}

fn bad_credential() -> Failure {
    let message =
        "the credential is no token of this registry; log in again, or use a pull token as the password";
    Failure::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, message)
}
