//! Whether a service can do its work, and gRPC health, which tells others.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt as _};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server::Health,
};

/// Whether a service is ready, and why not. All clones share one state.
#[derive(Clone, Debug)]
pub struct Readiness {
    /// The reason for not being ready.
    state: watch::Sender<Option<Arc<str>>>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl Readiness {
    /// Makes a state that is not ready: "starting".
    pub fn new() -> Self {
        Self {
            state: watch::Sender::new(Some("starting".into())),
        }
    }

    /// Declares the service ready.
    pub fn set_ready(&self) {
        self.state.send_replace(None);
    }

    /// Declares the service not ready.
    pub fn set_not_ready(&self, reason: impl Into<Arc<str>>) {
        self.state.send_replace(Some(reason.into()));
    }

    /// Whether the service is ready.
    pub fn is_ready(&self) -> bool {
        self.state.borrow().is_none()
    }

    /// Why the service is not ready; nothing when it is.
    pub fn reason(&self) -> Option<Arc<str>> {
        self.state.borrow().clone()
    }

    /// Waits until the service is ready.
    pub async fn wait_ready(&self) {
        // `self` keeps the sender, so the wait cannot fail.
        let _ = self.state.subscribe().wait_for(Option::is_none).await;
    }
}

/// grpc.health.v1 over a [`Readiness`]: one answer for the whole server and each service that it has.
#[derive(Clone, Debug)]
pub(crate) struct HealthService {
    readiness: Readiness,
    services: Arc<[&'static str]>,
}

impl HealthService {
    pub(crate) fn new(readiness: Readiness, services: Arc<[&'static str]>) -> Self {
        Self { readiness, services }
    }

    fn knows(&self, service: &str) -> bool {
        service.is_empty() || self.services.contains(&service)
    }
}

fn response(serving: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: serving.into(),
    }
}

fn serving(not_ready: Option<&Arc<str>>) -> HealthCheckResponse {
    response(if not_ready.is_none() {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    })
}

#[tonic::async_trait]
impl Health for HealthService {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !self.knows(&request.get_ref().service) {
            return Err(Status::not_found("no such service here"));
        }
        Ok(Response::new(serving(self.readiness.state.borrow().as_ref())))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let states = WatchStream::new(self.readiness.state.subscribe());
        let known = self.knows(&request.get_ref().service);
        let answers = states.map(move |state| {
            Ok(if known {
                serving(state.as_ref())
            } else {
                response(ServingStatus::ServiceUnknown)
            })
        });
        Ok(Response::new(Box::pin(answers)))
    }
}
