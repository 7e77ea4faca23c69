//! The two ways to a server.

use std::{
    error::Error,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper_util::rt::TokioIo;
use tonic::{
    Code, Status,
    body::Body,
    transport::{Channel, Endpoint as TonicEndpoint},
};
use tower::{Service, ServiceExt as _, service_fn};

use crate::{
    Peer, RpcError, RpcServer, TaskSet, TlsIdentity,
    call::{Call, OutcomeFuture, Response},
    error::{ErrorReason, deadline_exceeded, status},
    server::{ServerStack, wire},
};

const MAX_RESPONSE_HEADERS: u32 = 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a server listens, and who it must prove to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `https://host:port`. The host is only an address; the certificate must name `server`.
    pub uri: String,
    /// The peer that is expected there.
    pub server: Peer,
}

/// Hands requests straight to the server's stack.
#[derive(Clone)]
pub(super) struct InProcess {
    server: ServerStack,
    caller: Peer,
}

impl InProcess {
    pub(super) fn new(server: &RpcServer, caller: Peer) -> Self {
        Self {
            server: server.stack(),
            caller,
        }
    }
}

impl Service<Call> for InProcess {
    type Response = Response;
    type Error = Status;
    type Future = OutcomeFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.server.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> OutcomeFuture {
        // Neither crosses a wire.
        call.request.extensions_mut().clear();
        call.deadline = None;
        call.peer = Some(self.caller);
        let response = self.server.call(call);
        Box::pin(async move {
            let mut response = response.await?;
            response.extensions_mut().clear();
            Ok(response)
        })
    }
}

/// Sends requests over HTTP/2.
#[derive(Clone)]
pub(super) struct Network {
    unary: Channel,
    streams: Channel,
}

impl Network {
    pub(super) fn over_tls(endpoint: Endpoint, identity: &TlsIdentity) -> Result<Self, RpcError> {
        let Endpoint { uri, server } = endpoint;
        if !uri.starts_with("https://") {
            return Err(RpcError::Endpoint {
                uri,
                problem: "it must start with https://".to_owned(),
            });
        }
        let endpoint = TonicEndpoint::from_shared(uri.clone())
            .and_then(|endpoint| endpoint.tls_config(identity.client_config(server)))
            .map(tuned)
            .map_err(|error| RpcError::Endpoint {
                uri,
                problem: with_sources(&error),
            })?;
        Ok(Self {
            unary: endpoint.connect_lazy(),
            streams: endpoint.connect_lazy(),
        })
    }

    pub(super) fn over_pipe(server: &RpcServer, caller: Peer, tasks: &TaskSet) -> Self {
        let endpoint = tuned(TonicEndpoint::from_static("http://pipe.invalid"));
        let connect = || {
            let (stack, tasks) = (server.stack(), tasks.clone());
            endpoint.connect_with_connector_lazy(service_fn(move |_| {
                let (ours, theirs) = tokio::io::duplex(256 * 1024);
                let (stack, token) = (stack.clone(), tasks.token().clone());
                tasks.spawn(
                    "rpc pipe",
                    wire::serve_connection(theirs, Some(caller), stack, token),
                );
                async move { Ok::<_, std::convert::Infallible>(TokioIo::new(ours)) }
            }))
        };
        Self {
            unary: connect(),
            streams: connect(),
        }
    }
}

fn tuned(endpoint: TonicEndpoint) -> TonicEndpoint {
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        // Without it a 64 KiB answer takes 45 ms: Nagle's algorithm waits for a delayed acknowledgement.
        .tcp_nodelay(true)
        .tcp_keepalive(Some(wire::KEEPALIVE_INTERVAL))
        .http2_keep_alive_interval(wire::KEEPALIVE_INTERVAL)
        .keep_alive_timeout(wire::KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(wire::STREAM_WINDOW)
        .initial_connection_window_size(wire::CONNECTION_WINDOW)
        .max_frame_size(wire::MAX_FRAME)
        // The details of an error are a header, and may list the digests of a large manifest.
        .http2_max_header_list_size(MAX_RESPONSE_HEADERS)
}

impl Service<Call> for Network {
    type Response = Response;
    type Error = Status;
    type Future = OutcomeFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> OutcomeFuture {
        let channel = if call.method.is_streaming() {
            self.streams.clone()
        } else {
            self.unary.clone()
        };
        Box::pin(async move {
            match channel.oneshot(call.request).await {
                Ok(response) => Ok(response.map(|inner| Body::new(WireBody { inner }))),
                Err(error) => Err(unanswered(&error)),
            }
        })
    }
}

/// tonic's own timer runs beside ours, reads the same header, and may be first.
fn unanswered(error: &tonic::transport::Error) -> Status {
    let first: &(dyn Error + 'static) = error;
    let timed_out = std::iter::successors(Some(first), |error| (*error).source())
        .any(<dyn Error>::is::<tonic::TimeoutExpired>);
    if timed_out {
        deadline_exceeded()
    } else {
        lost(&with_sources(error))
    }
}

/// A call that got no answer. Whether it was served nobody knows, which is what UNAVAILABLE says; transports themselves
/// tell the same event in half a dozen codes.
fn lost(problem: &str) -> Status {
    tracing::debug!(problem, "a call got no answer");
    status(
        Code::Unavailable,
        ErrorReason::Unavailable,
        "the service cannot be reached",
    )
}

fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// A response whose connection may break.
struct WireBody {
    inner: Body,
}

impl HttpBody for WireBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        Poll::Ready(frame.map(|frame| frame.map_err(|status| lost(status.message()))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
