//! An OpenID provider that speaks HTTP.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use roadstead_types::Clock;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{TestCertificates, Workload, keys::SigningKey, tls::TlsListener};

/// How an [`OidcIssuer`] misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answers 503.
    Unavailable,
    /// Accepts requests and never answers.
    Silent,
    /// Answers with a document of a megabyte.
    Oversized,
    /// Answers with a redirect to a working copy of itself.
    Redirect,
    /// Publishes a discovery document of another issuer.
    OtherIssuer,
    /// Publishes no keys.
    NoKeys,
}

/// An OpenID provider on a loopback port: discovery, a JWK set, and tokens.
#[derive(Debug)]
pub struct OidcIssuer {
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    url: String,
    address: SocketAddr,
    clock: Clock,
    state: Mutex<Published>,
    discoveries: AtomicUsize,
    key_fetches: AtomicUsize,
}

#[derive(Debug)]
struct Published {
    keys: Vec<SigningKey>,
    jwks_uri: String,
    fault: Option<Fault>,
    generation: u32,
}

impl Shared {
    fn published(&self) -> MutexGuard<'_, Published> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OidcIssuer {
    /// Starts an issuer at `http://127.0.0.1:<port>` with an RS256 and an ES256 key.
    pub async fn start(clock: Clock) -> Self {
        let (listener, address) = bind().await;
        let shared = Shared::new(format!("http://{address}"), address, clock);
        let router = router(shared.clone());
        Self::serve(shared, async move {
            axum::serve(listener, router).await.expect("the issuer serves");
        })
    }

    /// Starts an issuer at `https://localhost:<port>` whose certificate is signed by `certificates`.
    pub async fn start_tls(clock: Clock, certificates: &TestCertificates) -> Self {
        let (listener, address) = bind().await;
        let shared = Shared::new(format!("https://localhost:{}", address.port()), address, clock);
        let router = router(shared.clone());
        let listener = TlsListener::new(listener, certificates);
        Self::serve(shared, async move {
            axum::serve(listener, router).await.expect("the issuer serves");
        })
    }

    /// Returns the issuer's URL, without a trailing slash.
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// Returns the port that the issuer listens on.
    pub fn port(&self) -> u16 {
        self.shared.address.port()
    }

    /// Returns the RS256 key that signs tokens by default.
    pub fn key(&self) -> SigningKey {
        self.shared.published().keys[0].clone()
    }

    /// Returns the other published key, an ES256 one.
    pub fn es256_key(&self) -> SigningKey {
        self.shared.published().keys[1].clone()
    }

    /// Issues an identity token: `claims` over a `sub` of `subject`, this `iss` and a life of five minutes.
    pub fn issue(&self, claims: &Value) -> String {
        self.issue_with(&self.key(), claims)
    }

    /// Issues an identity token as [`OidcIssuer::issue`], signed by `key`.
    pub fn issue_with(&self, key: &SigningKey, claims: &Value) -> String {
        key.sign("JWT", &self.claims(claims))
    }

    /// Issues a token as a workload's platform does. Its `iss` is the platform's, which is this issuer only where the
    /// workload was put [at](Workload::at) its URL; a registry that holds [`OidcIssuer::key_set`] needs no more.
    pub fn issue_workload(&self, workload: &Workload, audience: &str) -> String {
        self.issue_workload_at(workload, audience, 0)
    }

    /// Issues a token as [`OidcIssuer::issue_workload`] would have done `seconds` from now, or before if it is negative.
    pub fn issue_workload_at(&self, workload: &Workload, audience: &str, seconds: i64) -> String {
        let key = self.key();
        let claims = workload.claims(audience, self.shared.clock.unix_seconds() + seconds);
        key.sign_with(workload.header(key.algorithm()), &claims)
    }

    /// Returns the published JWK set.
    pub fn key_set(&self) -> Value {
        self.shared.key_document()
    }

    /// Returns the claims that [`OidcIssuer::issue`] signs. A claim that is null is left out.
    pub fn claims(&self, claims: &Value) -> Value {
        let now = self.shared.clock.unix_seconds();
        let mut all = json!({ "iss": self.url(), "sub": "subject", "iat": now, "exp": now + 300 });
        let members = all.as_object_mut().expect("claims are an object");
        for (name, value) in claims.as_object().expect("claims are an object") {
            members.insert(name.clone(), value.clone());
        }
        members.retain(|_, value| !value.is_null());
        all
    }

    /// Replaces the published keys by new ones, with new ids.
    pub fn rotate(&self) {
        let mut published = self.shared.published();
        published.generation += 1;
        let generation = published.generation;
        published.keys = vec![
            SigningKey::es256(&format!("first-{generation}")),
            SigningKey::es256(&format!("second-{generation}")),
        ];
    }

    /// Publishes exactly `keys`.
    pub fn publish(&self, keys: Vec<SigningKey>) {
        self.shared.published().keys = keys;
    }

    /// Publishes another address of the JWK set.
    pub fn set_jwks_uri(&self, uri: &str) {
        uri.clone_into(&mut self.shared.published().jwks_uri);
    }

    /// Misbehaves from now on, or stops that.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.shared.published().fault = fault;
    }

    /// Returns how often the discovery document was asked for.
    pub fn discoveries(&self) -> usize {
        self.shared.discoveries.load(Ordering::SeqCst)
    }

    /// Returns how often the JWK set was asked for.
    pub fn key_fetches(&self) -> usize {
        self.shared.key_fetches.load(Ordering::SeqCst)
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "the task is owned here and ends with the issuer"
    )]
    fn serve(shared: Arc<Shared>, server: impl Future<Output = ()> + Send + 'static) -> Self {
        Self {
            shared,
            server: tokio::spawn(server),
        }
    }
}

impl Drop for OidcIssuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn new(url: String, address: SocketAddr, clock: Clock) -> Arc<Self> {
        let published = Published {
            keys: vec![SigningKey::rs256("first"), SigningKey::es256("second")],
            jwks_uri: format!("{url}/keys"),
            fault: None,
            generation: 0,
        };
        Arc::new(Self {
            url,
            address,
            clock,
            state: Mutex::new(published),
            discoveries: AtomicUsize::new(0),
            key_fetches: AtomicUsize::new(0),
        })
    }
}

async fn bind() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("a loopback port is free");
    let address = listener.local_addr().expect("a bound listener has an address");
    (listener, address)
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/keys", get(key_set))
        // Where the redirects lead; it works, so that following one is seen to succeed.
        .route(
            "/elsewhere/.well-known/openid-configuration",
            get(async |State(shared): State<Arc<Shared>>| Json(shared.discovery_document())),
        )
        .route(
            "/elsewhere/keys",
            get(async |State(shared): State<Arc<Shared>>| Json(shared.key_document())),
        )
        .with_state(shared)
}

async fn discovery(State(shared): State<Arc<Shared>>) -> Response {
    shared.discoveries.fetch_add(1, Ordering::SeqCst);
    let fault = shared.published().fault;
    respond(
        fault,
        "/.well-known/openid-configuration",
        shared.discovery_document(),
    )
    .await
}

async fn key_set(State(shared): State<Arc<Shared>>) -> Response {
    shared.key_fetches.fetch_add(1, Ordering::SeqCst);
    let fault = shared.published().fault;
    respond(fault, "/keys", shared.key_document()).await
}

impl Shared {
    /// The least that discovery demands. Workload issuers publish no authorization endpoint, so neither does this one.
    fn discovery_document(&self) -> Value {
        json!({
            "issuer": self.url,
            "jwks_uri": self.published().jwks_uri,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
        })
    }

    fn key_document(&self) -> Value {
        let keys: Vec<Value> = self.published().keys.iter().map(SigningKey::jwk).collect();
        json!({ "keys": keys })
    }
}

/// Answers with `document`, spoilt by `fault` in one way only: a client that looks past the fault finds all in order.
async fn respond(fault: Option<Fault>, path: &str, mut document: Value) -> Response {
    match fault {
        Some(Fault::Unavailable) => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Some(Fault::Silent) => return std::future::pending().await,
        Some(Fault::Redirect) => {
            let location = [(header::LOCATION, format!("/elsewhere{path}"))];
            return (StatusCode::TEMPORARY_REDIRECT, location).into_response();
        }
        Some(Fault::Oversized) => document["padding"] = json!("x".repeat(1 << 20)),
        Some(Fault::OtherIssuer) if document.get("issuer").is_some() => {
            document["issuer"] = json!("https://elsewhere.example");
        }
        Some(Fault::NoKeys) if document.get("keys").is_some() => document["keys"] = json!([]),
        None | Some(Fault::OtherIssuer | Fault::NoKeys) => {}
    }
    Json(document).into_response()
}
