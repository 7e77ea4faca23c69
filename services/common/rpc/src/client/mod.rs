//! The calling side.

mod limit;
mod policy;
mod retry;
mod transport;

use std::task::{Context, Poll};

use tonic::{Status, body::Body};
use tower::{Layer, Service, util::BoxCloneSyncService};

pub use policy::CallPolicy;
pub use transport::Endpoint;

use crate::{
    Peer, RpcError, RpcServer, TaskSet, TlsIdentity,
    call::{Call, OutcomeFuture, Response},
    deadline::Deadline,
    instrument::{Metrics, Side, Trace},
};
use limit::Limit;
use retry::Retry;
use transport::{InProcess, Network};

/// What an [`RpcChannel`] is inside, for layers of tests.
pub type BoxRpcService = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, Status>;

/// A way to another service. Generated clients work over it: `ReadServiceClient::new(channel.clone())`.
///
/// Both kinds of channel behave the same. Each call passes the same layers on the caller's side (metrics, trace,
/// deadline, retry, limit), and the server's stack is the same too. What only the wire would give is restored
/// in-process: deadlines hold, a panic becomes INTERNAL, extensions do not cross, and the peer is known. In-process the
/// handler runs inside the caller's task and nothing is buffered: a bidirectional call moves while its caller polls the
/// response, so a caller must not finish sending before it starts to receive.
///
/// Retried are only RPCs that the contract declares idempotent (`option idempotency_level`), only on UNAVAILABLE.
#[derive(Clone)]
pub struct RpcChannel {
    service: BoxRpcService,
}

impl RpcChannel {
    /// Leads to a server in this process. `caller` is whom the server takes this process for.
    pub fn in_process(server: &RpcServer, caller: Peer, policy: CallPolicy) -> Self {
        stack(InProcess::new(server, caller), policy)
    }

    /// Leads to a server elsewhere, over mutual TLS. Connects when the first call is made, and again when a connection
    /// is lost; until then calls are answered UNAVAILABLE. Streams and unary calls use separate connections, so that a
    /// small answer never queues behind bulk data.
    ///
    /// # Errors
    ///
    /// When the address or the identity is unusable. An unreachable server is no error here.
    pub fn connect(endpoint: Endpoint, identity: &TlsIdentity, policy: CallPolicy) -> Result<Self, RpcError> {
        Ok(stack(Network::over_tls(endpoint, identity)?, policy))
    }

    /// Speaks HTTP/2 with a server in this process over pipes in memory: all of the wire but sockets and TLS, for tests.
    /// The server's side of the pipes runs in `tasks`.
    pub fn over_pipe(server: &RpcServer, caller: Peer, policy: CallPolicy, tasks: &TaskSet) -> Self {
        stack(Network::over_pipe(server, caller, tasks), policy)
    }

    /// Puts a layer outermost, for example one that injects faults.
    #[must_use]
    pub fn layer<L>(self, layer: L) -> Self
    where
        L: Layer<BoxRpcService>,
        L::Service: Service<http::Request<Body>, Response = http::Response<Body>, Error = Status>,
        L::Service: Clone + Send + Sync + 'static,
        <L::Service as Service<http::Request<Body>>>::Future: Send + 'static,
    {
        Self {
            service: BoxCloneSyncService::new(layer.layer(self.service)),
        }
    }

    /// Puts the layers of every call once more over all of this channel. What a [layer](RpcChannel::layer) does is then
    /// met by retries and deadlines, as the faults of a network are.
    #[must_use]
    pub fn restacked(self, policy: CallPolicy) -> Self {
        stack(Leave { inner: self.service }, policy)
    }
}

impl std::fmt::Debug for RpcChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RpcChannel")
    }
}

impl Service<http::Request<Body>> for RpcChannel {
    type Response = http::Response<Body>;
    type Error = Status;
    type Future = OutcomeFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> OutcomeFuture {
        self.service.call(request)
    }
}

/// The layers of every call, outermost last. They are the same for each transport.
fn stack<T>(transport: T, policy: CallPolicy) -> RpcChannel
where
    T: Service<Call, Response = Response, Error = Status> + Clone + Send + Sync + 'static,
    T::Future: Send + 'static,
{
    // Refuses what exceeds the limit instead of queueing: the caller knows better what to do without.
    let service = Limit::new(transport, policy.max_in_flight);
    // Each attempt passes the limit anew, so that waiting for the next one holds no permit.
    let service = Retry::new(service, policy.max_attempts);
    // One deadline for all attempts.
    let service = Deadline::new(service, Some(policy.default_deadline));
    let service = Trace::new(service, Side::Client);
    // Outermost, so that it sees what the caller sees.
    let service = Metrics::new(service, Side::Client);
    RpcChannel {
        service: BoxCloneSyncService::new(Enter { inner: service }),
    }
}

/// Looks up the contract of a request.
#[derive(Clone)]
struct Enter<S> {
    inner: S,
}

impl<S> Service<http::Request<Body>> for Enter<S>
where
    S: Service<Call, Response = Response, Error = Status>,
{
    type Response = Response;
    type Error = Status;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> S::Future {
        self.inner.call(Call::new(request))
    }
}

/// Hands a call on as a request, to whatever a test put below.
#[derive(Clone)]
struct Leave {
    inner: BoxRpcService,
}

impl Service<Call> for Leave {
    type Response = Response;
    type Error = Status;
    type Future = OutcomeFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> OutcomeFuture {
        self.inner.call(call.request)
    }
}
