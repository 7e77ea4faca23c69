//! The part of a registry that the program speaks to, with answers that tests can tell apart. It is stricter than a real
//! one: what it was not told to expect is an error.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use roadstead_proto::{
    auth::v1::{
        binding_service_server::BindingServiceServer, group_service_server::GroupServiceServer,
        identity_service_server::IdentityServiceServer, policy_service_server::PolicyServiceServer,
        pull_token_service_server::PullTokenServiceServer, role_service_server::RoleServiceServer,
    },
    events::v1::{ListEventsRequest, event_query_service_server::EventQueryServiceServer},
    metadata::v1::repository_admin_service_server::RepositoryAdminServiceServer,
};
use serde_json::{Value, json};
use tonic::{Request, Status};
use tower::Layer as _;

use super::{content, server::Server, sts};

/// The secret of the registry's development issuer.
pub(crate) const DEV_SECRET: &str = "dev-secret";
/// An identity token of an issuer that the registry trusts.
pub(crate) const TRUSTED_TOKEN: &str = "identity-of-a-workload";

/// A registry on its own thread; it stops when dropped.
pub(crate) struct Registry {
    server: Server,
    state: Shared,
}

#[derive(Clone, Default)]
pub(crate) struct Shared {
    pub(super) sts: Arc<Mutex<sts::Sts>>,
    pub(super) event_requests: Arc<Mutex<Vec<ListEventsRequest>>>,
    /// What the administration was asked, as the name of the call and its request.
    calls: Arc<Mutex<Vec<(&'static str, String)>>>,
    pub(super) description: Arc<Mutex<Option<Value>>>,
    /// Requests of the distribution API, as method and path with query.
    pub(super) requests: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    pub(crate) fn start() -> Self {
        let state = Shared::default();
        {
            let mut sts = state.sts.lock().unwrap();
            sts.identities
                .insert(TRUSTED_TOKEN.to_owned(), "workload".to_owned());
            sts.identities
                .insert("identity-of-dev".to_owned(), "dev".to_owned());
        }
        let server = Server::start(|_| router(state.clone()));
        Self { server, state }
    }

    pub(crate) fn host(&self) -> String {
        self.server.address().to_string()
    }

    pub(crate) fn port(&self) -> u16 {
        self.server.address().port()
    }

    pub(crate) fn event_requests(&self) -> Vec<ListEventsRequest> {
        self.state.event_requests.lock().unwrap().clone()
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.requests.lock().unwrap().clone()
    }

    /// The one request of a call to the administration.
    #[track_caller]
    pub(crate) fn call(&self, name: &str) -> String {
        let calls = self.state.calls.lock().unwrap();
        let mut found = calls.iter().filter(|(call, _)| *call == name);
        let request = found.next().unwrap_or_else(|| panic!("{name} was not called"));
        assert!(found.next().is_none(), "{name} was called twice");
        request.1.clone()
    }

    /// What is served at `/.well-known/roadstead`.
    pub(crate) fn describe(&self, description: Value) {
        *self.state.description.lock().unwrap() = Some(description);
    }

    /// Trusts an identity token, which is a person's.
    pub(crate) fn trust(&self, token: &str, subject: &str) {
        let mut sts = self.state.sts.lock().unwrap();
        sts.identities.insert(token.to_owned(), subject.to_owned());
        sts.people.insert(subject.to_owned());
    }

    pub(crate) fn sts<T>(&self, look: impl FnOnce(&mut sts::Sts) -> T) -> T {
        look(&mut self.state.sts.lock().unwrap())
    }

    /// A person whose next access token is due: its session's refresh token, for a cache.
    pub(crate) fn session(&self, subject: &str) -> String {
        self.sts(|sts| {
            sts.people.insert(subject.to_owned());
            sts.open_session(subject)
        })
    }

    /// Shares what it trusts with an issuer that tells of the tokens it gave.
    pub(crate) fn state(&self) -> Shared {
        self.state.clone()
    }
}

fn router(state: Shared) -> Router {
    let web = tonic_web::GrpcWebLayer::new();
    macro_rules! grpc {
        ($router:expr, $($package:literal $server:ident),*) => {
            $router$(.route_service(
                concat!("/roadstead.", $package, "/{method}"),
                web.layer($server::new(state.clone())),
            ))*
        };
    }
    let router = Router::new()
        .route("/v2/", get(content::base))
        .route("/v2/{*path}", get(content::get).delete(content::delete))
        .route("/token", get(content::token))
        .route("/dev/token", post(dev_token))
        .route("/sts/exchange", post(sts::exchange))
        .route("/sts/revoke", post(sts::revoke))
        .route("/.well-known/roadstead", get(describe));
    grpc!(router,
        "events.v1.EventQueryService" EventQueryServiceServer,
        "metadata.v1.RepositoryAdminService" RepositoryAdminServiceServer,
        "auth.v1.GroupService" GroupServiceServer,
        "auth.v1.IdentityService" IdentityServiceServer,
        "auth.v1.RoleService" RoleServiceServer,
        "auth.v1.BindingService" BindingServiceServer,
        "auth.v1.PolicyService" PolicyServiceServer,
        "auth.v1.PullTokenService" PullTokenServiceServer
    )
    .with_state(state)
}

async fn describe(State(state): State<Shared>) -> Response {
    match state.description.lock().unwrap().clone() {
        Some(description) => Json(description).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
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

impl Shared {
    /// Notes a call, after a look at the caller's token.
    pub(super) fn called<T: std::fmt::Debug>(
        &self,
        name: &'static str,
        request: Request<T>,
    ) -> Result<T, Status> {
        authorized(&request)?;
        let request = request.into_inner();
        self.calls.lock().unwrap().push((name, format!("{request:?}")));
        Ok(request)
    }

    /// Access tokens that were given out.
    pub(super) fn is_access_token(&self, token: &str) -> bool {
        let given: &HashSet<String> = &self.sts.lock().unwrap().access_tokens;
        given.contains(token)
    }
}

pub(super) fn authorized<T>(request: &Request<T>) -> Result<(), Status> {
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
