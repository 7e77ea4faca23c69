//! Serves calls that come over HTTP/2.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::Service as _;
use tracing::Instrument as _;

use super::ServerStack;
use crate::{Peer, RpcError, body::into_response, call::Call, instrument::LOG_CONTEXT, tls::peer_of};

pub(crate) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
pub(crate) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// What one stream may send ahead of its reader.
pub(crate) const STREAM_WINDOW: u32 = 1024 * 1024;
const MAX_STREAMS: u32 = 1024;
/// Covers the windows of all streams, so that one whose reader is slow never stops another.
pub(crate) const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MAX_STREAMS;
/// Chunks of blobs need few frames.
pub(crate) const MAX_FRAME: u32 = 256 * 1024;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client that no certificate names may stay connected.
const STRANGER_LIMIT: Duration = Duration::from_secs(10);
/// Connections on which nobody known has spoken yet. When one more comes, the first of them goes: a peer says who it is
/// within milliseconds, so that a crowd of others keeps no peer out.
const MAX_STRANGERS: usize = 256;
/// How long to wait after the system refused a connection, for want of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub(super) async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    stack: ServerStack,
    shutdown: CancellationToken,
    drain: Duration,
) -> Result<(), RpcError> {
    let acceptor = TlsAcceptor::from(tls);
    let mut connections = JoinSet::new();
    let mut strangers = Strangers::default();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let is_known = Arc::new(AtomicBool::new(false));
                    let secured = secure(stream, acceptor.clone(), stack.clone(), shutdown.clone(), is_known.clone());
                    strangers.admit(connections.spawn(secured), is_known);
                }
                Err(error) if is_lasting(&error) => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            // Takes ended connections off the set.
            Some(_) = connections.join_next() => {}
        }
    }
    // New connections are refused from here on.
    drop(listener);
    let started = Instant::now();
    let drained =
        tokio::time::timeout(drain, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(connections = connections.len(), after = ?started.elapsed(), "cutting off calls");
        connections.shutdown().await;
    }
    Ok(())
}

/// Connections in the order in which they came, until they are known to be a peer's or have ended.
#[derive(Default)]
struct Strangers(VecDeque<(AbortHandle, Arc<AtomicBool>)>);

impl Strangers {
    fn admit(&mut self, connection: AbortHandle, is_known: Arc<AtomicBool>) {
        self.0.push_back((connection, is_known));
        if self.0.len() <= MAX_STRANGERS {
            return;
        }
        self.0
            .retain(|(connection, is_known)| !is_known.load(Ordering::Relaxed) && !connection.is_finished());
        if self.0.len() > MAX_STRANGERS
            && let Some((first, _)) = self.0.pop_front()
        {
            tracing::warn!("closed the connection of an unknown peer: there are too many");
            first.abort();
        }
    }
}

/// Whether the listener itself is broken, not only one connection.
fn is_lasting(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::InvalidInput | ErrorKind::NotConnected | ErrorKind::Unsupported
    )
}

/// Shakes hands and serves. Who calls is known from here on for every call of the connection.
async fn secure(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    stack: ServerStack,
    shutdown: CancellationToken,
    is_known: Arc<AtomicBool>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the client left");
        return;
    }
    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the TLS handshake failed");
            return;
        }
        Err(_) => {
            tracing::warn!("the TLS handshake took too long");
            return;
        }
    };
    let (_, session) = stream.get_ref();
    let peer = session
        .peer_certificates()
        .and_then(<[_]>::first)
        .and_then(peer_of);
    is_known.store(peer.is_some(), Ordering::Relaxed);
    let connection = serve_connection(stream, peer, stack, shutdown);
    if peer.is_some() {
        return connection.await;
    }
    // Long enough to be told why, and no longer: anybody can get this far.
    if tokio::time::timeout(STRANGER_LIMIT, connection).await.is_err() {
        tracing::warn!("closed the connection of an unknown peer");
    }
}

/// Serves one connection until its client closes it or `shutdown` is cancelled and its calls are done.
pub(crate) async fn serve_connection<IO>(
    io: IO,
    peer: Option<Peer>,
    stack: ServerStack,
    shutdown: CancellationToken,
) where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request: http::Request<Incoming>| {
        let mut call = Call::new(request.map(Body::new));
        call.peer = peer;
        // In-process, log lines have the context of the request that calls.
        let logged = tracing::error_span!(target: LOG_CONTEXT, "rpc", rpc = call.method.full_name);
        let response = logged.in_scope(|| stack.clone().call(call));
        async move { Ok::<_, Infallible>(into_response(response.await)) }.instrument(logged)
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        // Deadlines that pass together cancel many calls at once; that is no attack.
        .max_pending_accept_reset_streams(Some(MAX_STREAMS as usize))
        .max_frame_size(MAX_FRAME)
        .serve_connection(TokioIo::new(io), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}
