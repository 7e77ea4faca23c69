//! The token service: exchanges, sessions whose refresh tokens are good once, revocation. There is no grace for a token
//! that was replaced: a program that shows one twice is at fault.

use std::collections::{HashMap, HashSet};

use axum::{
    Form, Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::registry::Shared;

#[derive(Default)]
pub(crate) struct Sts {
    /// Identity tokens that are trusted, and whose they are.
    pub(crate) identities: HashMap<String, String>,
    /// Who may have sessions.
    pub(crate) people: HashSet<String>,
    /// Sessions by the refresh token that is good now.
    pub(crate) sessions: HashMap<String, String>,
    /// Refresh tokens that were replaced or revoked.
    spent: HashSet<String>,
    pub(crate) access_tokens: HashSet<String>,
    /// Refresh tokens are numbered, as are access tokens, so that a test sees whether one is new.
    numbers: (u32, u32),
    /// How often something was refreshed.
    pub(crate) refreshes: u32,
    /// How often a refresh token was shown that was good no longer.
    pub(crate) reuses: u32,
    /// What was asked for beside the tokens.
    pub(crate) forms: Vec<Vec<(String, String)>>,
    /// How long an access token lives.
    pub(crate) life: Option<i64>,
}

impl Sts {
    pub(crate) fn open_session(&mut self, subject: &str) -> String {
        self.numbers.1 += 1;
        let token = format!("rsr_{}", self.numbers.1);
        self.sessions.insert(token.clone(), subject.to_owned());
        token
    }

    fn access_token(&mut self) -> String {
        self.numbers.0 += 1;
        let token = format!("access-{}", self.numbers.0);
        self.access_tokens.insert(token.clone());
        token
    }

    fn reply(&mut self, subject: &str, refresh_token: Option<String>) -> Response {
        let mut reply = json!({
            "access_token": self.access_token(),
            "token_type": "Bearer",
            "expires_in": self.life.unwrap_or(3_600),
            "identity": { "issuer": "https://issuer.example", "subject": subject },
            "identities": [{ "id": "idn_1", "name": format!("acme/{subject}"), "kind": "human" }],
        });
        if let Some(token) = refresh_token {
            reply["refresh_token"] = token.into();
            reply["refresh_expires_in"] = 604_800.into();
        }
        Json(reply).into_response()
    }
}

type Fields = Vec<(String, String)>;

pub(super) async fn exchange(State(state): State<Shared>, Form(form): Form<Fields>) -> Response {
    let one = |name: &str| {
        let mut values = form.iter().filter(|(key, _)| key == name);
        let value = values.next().map(|(_, value)| value.clone());
        assert!(values.next().is_none(), "{name} is given twice");
        value
    };
    let known = [
        "grant_type",
        "subject_token",
        "subject_token_type",
        "refresh_token",
        "session",
        "identity",
        "scope",
        "capability",
    ];
    if let Some((unknown, _)) = form.iter().find(|(key, _)| !known.contains(&key.as_str())) {
        return refused(StatusCode::BAD_REQUEST, "invalid_request", unknown);
    }
    let mut sts = state.sts.lock().unwrap();
    let secret = |key: &str| key == "subject_token" || key == "refresh_token";
    sts.forms
        .push(form.iter().filter(|(key, _)| !secret(key)).cloned().collect());
    match one("grant_type").as_deref() {
        Some("urn:ietf:params:oauth:grant-type:token-exchange") => {
            assert_eq!(
                one("subject_token_type").as_deref(),
                Some("urn:ietf:params:oauth:token-type:id_token")
            );
            let token = one("subject_token").unwrap_or_default();
            let Some(subject) = sts.identities.get(&token).cloned() else {
                let words = "the issuer is not trusted here";
                return refused(StatusCode::UNAUTHORIZED, "invalid_grant", words);
            };
            let session = one("session").as_deref() == Some("true") && sts.people.contains(&subject);
            let refresh_token = session.then(|| sts.open_session(&subject));
            sts.reply(&subject, refresh_token)
        }
        Some("refresh_token") => {
            let token = one("refresh_token").unwrap_or_default();
            let Some(subject) = sts.sessions.remove(&token) else {
                sts.reuses += u32::from(sts.spent.contains(&token));
                return refused(StatusCode::UNAUTHORIZED, "invalid_grant", "the session is over");
            };
            sts.spent.insert(token);
            sts.refreshes += 1;
            let next = sts.open_session(&subject);
            sts.reply(&subject, Some(next))
        }
        _ => refused(StatusCode::BAD_REQUEST, "unsupported_grant_type", "what is this?"),
    }
}

pub(super) async fn revoke(
    State(state): State<Shared>,
    Form(form): Form<HashMap<String, String>>,
) -> Response {
    let mut sts = state.sts.lock().unwrap();
    let token = form.get("token").cloned().unwrap_or_default();
    sts.sessions.remove(&token);
    sts.spent.insert(token);
    Json(Value::Object(serde_json::Map::new())).into_response()
}

fn refused(status: StatusCode, error: &str, words: &str) -> Response {
    let error = json!({ "error": error, "error_description": words });
    (status, Json(error)).into_response()
}
