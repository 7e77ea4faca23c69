//! Refuses peers that may not call.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tonic::{Code, Status};
use tower::Service;

use super::dispatch::service_of;
use crate::{
    AllowList,
    call::{Call, OutcomeFuture, Response},
    error::{ErrorReason, status},
};

const OPEN_TO_EVERY_PEER: [&str; 2] = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"];

#[derive(Clone)]
pub(super) struct Authorize<S> {
    inner: S,
    allow: Arc<AllowList>,
}

impl<S> Authorize<S> {
    pub(super) fn new(inner: S, allow: AllowList) -> Self {
        Self {
            inner,
            allow: Arc::new(allow),
        }
    }
}

impl<S> Service<Call> for Authorize<S>
where
    S: Service<Call, Response = Response, Error = Status>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Status;
    type Future = OutcomeFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> OutcomeFuture {
        let service = service_of(call.request.uri().path());
        let allowed = call
            .peer
            .is_some_and(|peer| self.allow.allows(service, peer) || OPEN_TO_EVERY_PEER.contains(&service));
        if allowed {
            return Box::pin(self.inner.call(call));
        }
        let peer = call
            .peer
            .map_or_else(|| "an unknown peer".to_owned(), |peer| peer.to_string());
        tracing::warn!(peer, rpc = call.method.full_name, "refused a call");
        let message = format!("{peer} may not call this service");
        Box::pin(async move { Err(status(Code::PermissionDenied, ErrorReason::PeerRefused, message)) })
    }
}
