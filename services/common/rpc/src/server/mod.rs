//! The serving side.

mod authorize;
mod catch_panic;
mod dispatch;
pub(crate) mod wire;

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures::Stream;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body, server::NamedService};
use tonic_health::pb::health_server::HealthServer;
use tower::{Service, util::BoxCloneSyncService};

use crate::{
    AllowList, Peer, Readiness, RpcError, TlsIdentity,
    bulk::{BulkRpc, Messages},
    call::{Call, Response},
    deadline::Deadline,
    instrument::{Metrics, Side, Trace},
    readiness::HealthService,
};
use authorize::Authorize;
use catch_panic::CatchPanic;
use dispatch::Dispatch;

/// The stack in front of a server's services. It answers every call; its error type is only there for the layers.
pub(crate) type ServerStack = BoxCloneSyncService<Call, Response, Status>;

/// The gRPC services of one process, with health and reflection. Serves other processes and, through
/// [`crate::RpcChannel::in_process`], this one; or both at once.
#[derive(Clone)]
pub struct RpcServer {
    peer: Peer,
    allow: AllowList,
    readiness: Readiness,
    services: Dispatch,
}

impl RpcServer {
    /// Makes a server without services. `peer` is who this process is.
    pub fn new(peer: Peer, allow: AllowList) -> Self {
        Self {
            peer,
            allow,
            readiness: Readiness::new(),
            services: Dispatch::default(),
        }
    }

    /// Who this process is.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Adds a generated server. Set its message sizes to [`crate::MAX_MESSAGE_BYTES`].
    #[must_use]
    pub fn add_service<S>(mut self, service: S) -> Self
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
        S: NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        self.services.add(service);
        self
    }

    /// Serves one method of a service that was added as [`bulk`](crate::bulk) says, in place of its generated server.
    #[must_use]
    pub fn add_bulk<R, F, S>(
        mut self,
        answer: impl Fn(Messages<R::Request>) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        R: BulkRpc,
        F: Future<Output = Result<S, Status>> + Send + 'static,
        S: Stream<Item = Result<R::Response, Status>> + Send + 'static,
    {
        self.services.add_bulk::<R, F, S>(answer);
        self
    }

    /// Sets what gRPC health reports. Without it the server reports that it is starting.
    #[must_use]
    pub fn with_readiness(mut self, readiness: Readiness) -> Self {
        self.readiness = readiness;
        self
    }

    /// Serves other processes over mutual TLS until `shutdown` is cancelled, then lets calls that are under way finish
    /// for as long as `drain`, and cuts off the rest.
    ///
    /// # Errors
    ///
    /// When the identity is unusable or the socket fails.
    pub async fn serve(
        self,
        listener: TcpListener,
        tls: &TlsIdentity,
        shutdown: CancellationToken,
        drain: Duration,
    ) -> Result<(), RpcError> {
        let tls = Arc::new(tls.server_config(self.peer)?);
        wire::serve(listener, tls, self.stack(), shutdown, drain).await
    }

    /// The layers of every call, outermost last. They are the same for each transport.
    pub(crate) fn stack(&self) -> ServerStack {
        let mut services = self.services.clone();
        let names: Arc<[&'static str]> = services.names().into();
        services.add(HealthServer::new(HealthService::new(
            self.readiness.clone(),
            names.clone(),
        )));
        services.add_reflection(&names);

        let service = Metrics::new(services, Side::Server);
        let service = Deadline::new(service, None);
        // Before the deadline's timer and anything else that a stranger could make us spend.
        let service = Authorize::new(service, self.allow.clone());
        let service = Trace::new(service, Side::Server);
        // Outermost, so that a panic in any layer is an answer, and all errors become responses here.
        ServerStack::new(CatchPanic::new(service))
    }
}

impl std::fmt::Debug for RpcServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RpcServer")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
