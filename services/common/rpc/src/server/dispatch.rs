//! Finds the service of a request.

use std::{
    collections::HashMap,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::Stream;
use tonic::{Code, Status, body::Body, server::NamedService};
use tower::Service;

use crate::{
    bulk::{self, BulkRpc, Messages},
    call::{Call, Outcome, OutcomeFuture, Response},
    error::{ErrorReason, status},
};

type Handler = Arc<dyn Fn(http::Request<Body>) -> OutcomeFuture + Send + Sync>;

/// Services by name. An exact name in a hash table is all that gRPC's paths need.
#[derive(Clone, Default)]
pub(super) struct Dispatch {
    handlers: Arc<HashMap<&'static str, Handler>>,
    /// By path, before the service that they belong to.
    methods: Arc<HashMap<&'static str, Handler>>,
}

impl Dispatch {
    pub(super) fn add<S>(&mut self, service: S)
    where
        S: Service<http::Request<Body>, Response = Response, Error = Infallible>,
        S: NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        let handler = move |request| -> OutcomeFuture {
            // Generated servers are always ready, and a clone is a reference.
            let response = service.clone().call(request);
            Box::pin(async move {
                match response.await {
                    Ok(response) => Ok(response),
                    Err(never) => match never {},
                }
            })
        };
        Arc::make_mut(&mut self.handlers).insert(S::NAME, Arc::new(handler));
    }

    /// Has a method served in another way than by its service's generated server.
    pub(super) fn add_bulk<R, F, S>(
        &mut self,
        answer: impl Fn(Messages<R::Request>) -> F + Clone + Send + Sync + 'static,
    ) where
        R: BulkRpc,
        F: Future<Output = Result<S, Status>> + Send + 'static,
        S: Stream<Item = Result<R::Response, Status>> + Send + 'static,
    {
        let handler =
            move |request| -> OutcomeFuture { Box::pin(bulk::serve::<R, _, _>(request, answer.clone())) };
        Arc::make_mut(&mut self.methods).insert(R::PATH, Arc::new(handler));
    }

    /// Adds reflection of the named services, itself and health.
    pub(super) fn add_reflection(&mut self, services: &[&'static str]) {
        let mut reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(roadstead_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name("grpc.health.v1.Health")
            .with_service_name("grpc.reflection.v1.ServerReflection");
        for service in services {
            reflection = reflection.with_service_name(*service);
        }
        self.add(reflection.build_v1().expect("the build encoded the descriptors"));
    }

    pub(super) fn names(&self) -> Vec<&'static str> {
        self.handlers.keys().copied().collect()
    }
}

/// The service in `/package.Service/Method`.
pub(super) fn service_of(path: &str) -> &str {
    path.strip_prefix('/')
        .and_then(|path| path.split_once('/'))
        .map_or("", |(service, _)| service)
}

impl Service<Call> for Dispatch {
    type Response = Response;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Outcome> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> OutcomeFuture {
        let path = call.request.uri().path();
        let handler = self.methods.get(path);
        match handler.or_else(|| self.handlers.get(service_of(path))) {
            Some(handler) => handler(call.request),
            None => Box::pin(async {
                Err(status(
                    Code::Unimplemented,
                    ErrorReason::Unsupported,
                    "no such service here",
                ))
            }),
        }
    }
}
