//! The part of a registry that the program speaks to, with answers that tests can tell apart.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use axum::{
    Form, Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use roadstead_proto::{
    events::v1::{
        ListEventsRequest, ListEventsResponse, LoggedEvent,
        event_query_service_server::{EventQueryService, EventQueryServiceServer},
    },
    metadata::v1::{
        ListTagHistoryRequest, ListTagHistoryResponse, TagChange,
        repository_admin_service_server::{RepositoryAdminService, RepositoryAdminServiceServer},
    },
};
use serde_json::json;
use tokio::sync::oneshot;
use tonic::{Request, Status};
use tower::Layer as _;

/// The secret of the registry's development issuer.
pub(crate) const DEV_SECRET: &str = "dev-secret";
/// An identity token of an issuer that the registry trusts.
pub(crate) const TRUSTED_TOKEN: &str = "identity-of-a-workload";

/// A registry on its own thread; it stops when dropped.
pub(crate) struct Registry {
    address: SocketAddr,
    state: Shared,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Clone, Default)]
struct Shared {
    /// Access tokens are numbered, so that a test sees whether one is new.
    tokens: Arc<AtomicU32>,
    event_requests: Arc<Mutex<Vec<ListEventsRequest>>>,
}

impl Registry {
    pub(crate) fn start() -> Self {
        let state = Shared::default();
        let router = router(state.clone());
        let (stop, stopped) = oneshot::channel();
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build();
            runtime.unwrap().block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let stopped = async {
                    let _ = stopped.await;
                };
                axum::serve(listener, router)
                    .with_graceful_shutdown(stopped)
                    .await
                    .unwrap();
            });
        });
        Self {
            address,
            state,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn event_requests(&self) -> Vec<ListEventsRequest> {
        self.state.event_requests.lock().unwrap().clone()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn router(state: Shared) -> Router {
    let events = EventQueryServiceServer::new(state.clone());
    let tags = RepositoryAdminServiceServer::new(state.clone());
    let web = tonic_web::GrpcWebLayer::new();
    Router::new()
        .route("/v2/", get(|| async { StatusCode::UNAUTHORIZED }))
        .route("/dev/token", post(dev_token))
        .route("/sts/exchange", post(exchange))
        .route_service(
            "/roadstead.events.v1.EventQueryService/{method}",
            web.layer(events),
        )
        .route_service(
            "/roadstead.metadata.v1.RepositoryAdminService/{method}",
            web.layer(tags),
        )
        .with_state(state)
}

async fn dev_token(headers: HeaderMap) -> Response {
    if headers
        .get("x-roadstead-dev")
        .is_some_and(|secret| secret == DEV_SECRET)
    {
        Json(json!({ "identity_token": "identity-of-dev" })).into_response()
    } else {
        let errors = json!({ "errors": [{ "code": "DENIED", "message": "not for this caller" }] });
        (StatusCode::FORBIDDEN, Json(errors)).into_response()
    }
}

async fn exchange(State(state): State<Shared>, Form(form): Form<HashMap<String, String>>) -> Response {
    let subject = match form.get("subject_token").map(String::as_str) {
        Some("identity-of-dev") => "dev",
        Some(TRUSTED_TOKEN) => "workload",
        _ => {
            let error =
                json!({ "error": "invalid_grant", "error_description": "the issuer is not trusted here" });
            return (StatusCode::UNAUTHORIZED, Json(error)).into_response();
        }
    };
    let number = state.tokens.fetch_add(1, Ordering::Relaxed) + 1;
    let reply = json!({
        "access_token": format!("access-{number}"),
        "token_type": "Bearer",
        "expires_in": 3600,
        "identity": { "issuer": "https://issuer.example", "subject": subject },
    });
    Json(reply).into_response()
}

fn authorized<T>(request: &Request<T>) -> Result<(), Status> {
    let authorization = request
        .metadata()
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    match authorization {
        Some(value) if value.starts_with("Bearer access-") => Ok(()),
        Some(_) => Err(Status::unauthenticated("the token is not valid")),
        None => Err(Status::unauthenticated("there is no token")),
    }
}

#[tonic::async_trait]
impl EventQueryService for Shared {
    /// Three events, two on a page.
    async fn list_events(
        &self,
        request: Request<ListEventsRequest>,
    ) -> Result<tonic::Response<ListEventsResponse>, Status> {
        authorized(&request)?;
        let request = request.into_inner();
        self.event_requests.lock().unwrap().push(request.clone());
        let first: u64 = if request.page_token.is_empty() { 1 } else { 3 };
        let last = if first == 1 { 2 } else { 3 };
        let events = (first..=last).map(|offset| LoggedEvent {
            offset,
            cloudevent_json: json!({
                "type": "dev.roadstead.registry.push.v1",
                "subject": format!("a/b:v{offset}"),
                "time": "2026-01-01T00:00:00Z",
                "data": { "digest": "sha256:00", "actor": { "subject": "dev\u{1b}[2J" } },
            })
            .to_string()
            .into(),
        });
        let next_page_token = if first == 1 {
            "second".to_owned()
        } else {
            String::new()
        };
        Ok(tonic::Response::new(ListEventsResponse {
            events: events.collect(),
            next_page_token,
        }))
    }
}

#[tonic::async_trait]
impl RepositoryAdminService for Shared {
    /// One change of every tag, but none in `secret`.
    async fn list_tag_history(
        &self,
        request: Request<ListTagHistoryRequest>,
    ) -> Result<tonic::Response<ListTagHistoryResponse>, Status> {
        authorized(&request)?;
        if request.into_inner().repository == "secret" {
            return Err(Status::permission_denied("dev may not pull from secret"));
        }
        let change = TagChange {
            previous_digest: "sha256:11".to_owned(),
            time: "2026-01-01T00:00:00Z".to_owned(),
            actor_subject: "dev".to_owned(),
            version: 2,
            ..TagChange::default()
        };
        let page = ListTagHistoryResponse {
            changes: vec![change],
            next_page_token: String::new(),
        };
        Ok(tonic::Response::new(page))
    }
}
