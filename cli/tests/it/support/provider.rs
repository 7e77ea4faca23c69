//! An OpenID provider whose user agrees to everything, and which itself lets nothing pass: redirects, challenges and codes
//! have to fit, and a code is good once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{
    Form, Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use roadstead_testkit::SigningKey;
use roadstead_types::{Clock, Digest};
use serde_json::{Value, json};
use url::Url;

use super::{Registry, registry::Shared, server::Server};

pub(crate) const CLIENT: &str = "roadstead-cli";

pub(crate) struct Provider {
    server: Server,
    state: Arc<Issuer>,
}

struct Issuer {
    url: String,
    key: SigningKey,
    registry: Shared,
    behaviour: Mutex<Behaviour>,
    codes: Mutex<HashMap<String, HashMap<String, String>>>,
    /// Answers that a device gets before its token.
    pending: Mutex<Vec<&'static str>>,
    polls: Mutex<u32>,
}

/// How it departs from a good provider.
#[derive(Clone, Default)]
pub(crate) struct Behaviour {
    /// Sends this as `error` instead of a code, and to devices.
    pub(crate) denies: bool,
    /// Signs tokens with this nonce.
    pub(crate) nonce: Option<String>,
    /// Signs tokens for this audience.
    pub(crate) audience: Option<String>,
    /// Signs with a key that it does not publish.
    pub(crate) other_key: bool,
    /// Names this issuer in redirects.
    pub(crate) names: Option<String>,
    /// Wants this secret of its client, in the form.
    pub(crate) secret: Option<String>,
    /// Publishes this as its authorization endpoint.
    pub(crate) authorization_endpoint: Option<String>,
}

impl Provider {
    /// A provider whose tokens the registry trusts, and which the registry names.
    pub(crate) fn start(registry: &Registry) -> Self {
        Self::misbehaving(registry, Behaviour::default())
    }

    pub(crate) fn misbehaving(registry: &Registry, behaviour: Behaviour) -> Self {
        let mut state = None;
        let server = Server::start(|address| {
            let issuer = Arc::new(Issuer {
                url: format!("http://{address}"),
                key: SigningKey::es256("one"),
                registry: registry.state(),
                behaviour: Mutex::new(behaviour),
                codes: Mutex::default(),
                pending: Mutex::new(vec!["authorization_pending"]),
                polls: Mutex::default(),
            });
            state = Some(issuer.clone());
            router(issuer)
        });
        let provider = Self {
            server,
            state: state.unwrap(),
        };
        registry.describe(json!({ "version": "0.1.0", "issuers": [provider.login()] }));
        provider
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// As a registry's description names it.
    pub(crate) fn login(&self) -> Value {
        let secret = self.state.behaviour.lock().unwrap().secret.clone();
        json!({ "issuer": self.url(), "client_id": CLIENT, "client_secret": secret, "scopes": ["email"] })
    }

    pub(crate) fn polls(&self) -> u32 {
        *self.state.polls.lock().unwrap()
    }
}

fn router(issuer: Arc<Issuer>) -> Router {
    Router::new()
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/keys", get(keys))
        .route("/authorize", get(authorize))
        .route("/device", post(device))
        .route("/token", post(token))
        .with_state(issuer)
}

async fn discovery(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    let url = &issuer.url;
    let behaviour = issuer.behaviour.lock().unwrap().clone();
    let methods = if behaviour.secret.is_some() {
        "client_secret_post"
    } else {
        "none"
    };
    Json(json!({
        "issuer": url,
        "authorization_endpoint": behaviour.authorization_endpoint.unwrap_or_else(|| format!("{url}/authorize")),
        "token_endpoint": format!("{url}/token"),
        "device_authorization_endpoint": format!("{url}/device"),
        "jwks_uri": format!("{url}/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256", "HS256"],
        "token_endpoint_auth_methods_supported": [methods],
        "authorization_response_iss_parameter_supported": true,
    }))
}

async fn keys(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    Json(json!({ "keys": [issuer.key.jwk()] }))
}

async fn authorize(
    State(issuer): State<Arc<Issuer>>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let is = |name: &str, value: &str| query.get(name).is_some_and(|given| given == value);
    let redirect = query.get("redirect_uri").and_then(|url| Url::parse(url).ok());
    let redirect = redirect.filter(|url| url.scheme() == "http" && url.host_str() == Some("127.0.0.1"));
    let scopes: Vec<&str> = query
        .get("scope")
        .map_or_else(Vec::new, |scope| scope.split(' ').collect());
    let good = is("response_type", "code")
        && is("client_id", CLIENT)
        && is("code_challenge_method", "S256")
        && query.contains_key("nonce")
        && query.contains_key("state")
        && scopes.contains(&"openid")
        && scopes.contains(&"email");
    let (Some(mut redirect), true) = (redirect, good) else {
        return (StatusCode::BAD_REQUEST, format!("{query:?}")).into_response();
    };
    let behaviour = issuer.behaviour.lock().unwrap().clone();
    let names = behaviour.names.unwrap_or_else(|| issuer.url.clone());
    redirect
        .query_pairs_mut()
        .append_pair("state", &query["state"])
        .append_pair("iss", &names);
    if behaviour.denies {
        redirect
            .query_pairs_mut()
            .append_pair("error", "access_denied")
            .append_pair("error_description", "not you");
    } else {
        let mut codes = issuer.codes.lock().unwrap();
        let code = format!("code-{}", codes.len() + 1);
        redirect.query_pairs_mut().append_pair("code", &code);
        codes.insert(code, query);
    }
    Redirect::to(redirect.as_str()).into_response()
}

async fn device(State(issuer): State<Arc<Issuer>>, Form(form): Form<HashMap<String, String>>) -> Json<Value> {
    assert_eq!(form["client_id"], CLIENT);
    assert!(form["scope"].split(' ').any(|scope| scope == "openid"));
    let mut asked = HashMap::new();
    asked.insert("device".to_owned(), String::new());
    issuer
        .codes
        .lock()
        .unwrap()
        .insert("device-code".to_owned(), asked);
    Json(json!({
        "device_code": "device-code",
        "user_code": "WDJB-MJHT",
        "verification_uri": format!("{}/activate", issuer.url),
        "verification_uri_complete": format!("{}/activate?user_code=WDJB-MJHT", issuer.url),
        "expires_in": 300,
        "interval": 1,
    }))
}

async fn token(
    State(issuer): State<Arc<Issuer>>,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> Response {
    let behaviour = issuer.behaviour.lock().unwrap().clone();
    let secret_fits = form.get("client_secret") == behaviour.secret.as_ref();
    if form["client_id"] != CLIENT || !secret_fits || headers.contains_key(header::AUTHORIZATION) {
        return error("invalid_client");
    }
    let asked = match form["grant_type"].as_str() {
        "authorization_code" => {
            let Some(asked) = issuer.codes.lock().unwrap().remove(&form["code"]) else {
                return error("invalid_grant");
            };
            let hash = Digest::sha256(form["code_verifier"].as_bytes());
            let hash: Vec<u8> = (0..hash.encoded().len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hash.encoded()[at..at + 2], 16).unwrap())
                .collect();
            let challenge = URL_SAFE_NO_PAD.encode(hash);
            if asked["code_challenge"] != challenge || asked["redirect_uri"] != form["redirect_uri"] {
                return error("invalid_grant");
            }
            asked
        }
        "urn:ietf:params:oauth:grant-type:device_code" => {
            assert_eq!(form["device_code"], "device-code");
            *issuer.polls.lock().unwrap() += 1;
            if behaviour.denies {
                return error("access_denied");
            }
            if let Some(pending) = issuer.pending.lock().unwrap().pop() {
                return error(pending);
            }
            issuer
                .codes
                .lock()
                .unwrap()
                .remove("device-code")
                .unwrap_or_default()
        }
        _ => return error("unsupported_grant_type"),
    };
    Json(json!({
        "access_token": "of-the-provider",
        "token_type": "Bearer",
        "expires_in": 300,
        "id_token": issuer.id_token(&behaviour, asked.get("nonce")),
    }))
    .into_response()
}

impl Issuer {
    /// Signs an identity token, and has the registry trust it.
    fn id_token(&self, behaviour: &Behaviour, nonce: Option<&String>) -> String {
        let now = Clock::system().unix_seconds();
        let mut claims = json!({
            "iss": self.url,
            "sub": "jane",
            "aud": behaviour.audience.as_deref().unwrap_or(CLIENT),
            "iat": now,
            "exp": now + 300,
        });
        if let Some(nonce) = behaviour.nonce.as_ref().or(nonce) {
            claims["nonce"] = nonce.as_str().into();
        }
        let token = if behaviour.other_key {
            SigningKey::es256("one").sign("JWT", &claims)
        } else {
            self.key.sign("JWT", &claims)
        };
        let mut sts = self.registry.sts.lock().unwrap();
        sts.identities.insert(token.clone(), "jane".to_owned());
        sts.people.insert("jane".to_owned());
        token
    }
}

fn error(error: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response()
}
