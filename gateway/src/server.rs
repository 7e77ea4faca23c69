//! Connections.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use axum::body::Body;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Config,
    in_flight::InFlight,
    stack::{Stack, TARGET_LIMIT},
};

/// Headers that a request may have; containers' clients send a dozen.
const MAX_HEADERS: usize = 128;
/// Read ahead on one connection: what a body read takes at once.
const READ_BUFFER: usize = 512 * 1024;
/// Room in a head for the method, the version, and what stands between names and values.
const HEAD_SYNTAX: usize = 4 * 1024;
/// What every connection of HTTP/2 begins with (RFC 9113 section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Flow control of HTTP/2: what a client may send beyond what handlers took, per stream and in all.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
const MAX_STREAMS: u32 = 128;
/// A peer that vanished without a word is noticed after about a minute.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(30);
/// Accepting failed, as a rule for want of file descriptors: time for some to be freed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves HTTP/1.1 and HTTP/2 (prior knowledge) until `stop` is cancelled, then finishes what is in flight.
pub(crate) async fn serve(listener: TcpListener, stack: Stack, config: &Config, stop: CancellationToken) {
    let protocols = Arc::new(Protocols::new(config));
    let permits = Arc::new(Semaphore::new(config.max_connections));
    let patience = Patience {
        idle: config.header_timeout,
        body: config.body_idle_timeout,
    };
    // Owns the connections: when the grace period is over and this future is dropped, they are too.
    let mut connections = JoinSet::new();
    while let Some(accepted) = stop.run_until_cancelled(accept(&listener, &permits)).await {
        while connections.try_join_next().is_some() {}
        let (stream, peer, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(cause = %error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (protocols, stack, stop) = (protocols.clone(), stack.clone(), stop.clone());
        connections.spawn(async move {
            if let Err(error) = serve_connection(stream, peer, &protocols, stack, (patience, stop)).await {
                tracing::debug!(cause = %error, "a connection broke");
            }
            drop(permit);
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// How either protocol is spoken. hyper-util's builder, which finds out which one it is by itself, knows one limit for what
/// is read of a head and of a body at once; with it, a head that never ends would be kept up to half a megabyte.
struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

/// How long a client may make others wait.
#[derive(Clone, Copy)]
struct Patience {
    /// For a request, or between two.
    idle: Duration,
    /// Before it takes more of an answer.
    body: Duration,
}

/// Serves one connection until its client closes it, asks nothing or takes nothing for too long, or `stop` is cancelled.
///
/// hyper limits the time for a request's head in HTTP/1 only, and waits for ever between the requests of HTTP/2 and for a
/// client that takes its answer; anybody could use up the connections there are with a byte each.
async fn serve_connection(
    mut stream: TcpStream,
    peer: SocketAddr,
    protocols: &Protocols,
    stack: Stack,
    (patience, stop): (Patience, CancellationToken),
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let start = tokio::select! {
        start = first_bytes(&mut stream) => start?,
        () = stop.cancelled() => return Ok(()),
        () = tokio::time::sleep(patience.idle) => return Ok(()),
    };
    let is_http2 = start == HTTP2_PREFACE;
    let (reader, writer) = stream.into_split();
    let io = TokioIo::new(tokio::io::join(io::Cursor::new(start).chain(reader), writer));

    let in_flight = InFlight::default();
    let requests = in_flight.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let in_flight = requests.begin();
        let answer = stack.clone().handle(peer, request.map(Body::new));
        async move { Ok::<_, Infallible>(answer.await.map(|body| in_flight.until_end_of(body))) }
    });
    let out_of_patience = || async {
        tokio::select! {
            () = in_flight.none_for(patience.idle) => {}
            () = in_flight.untaken_for(patience.body) => {}
        }
    };
    let until = async {
        tokio::select! {
            () = stop.cancelled() => {}
            () = out_of_patience() => {}
        }
    };
    let ended = if is_http2 {
        let connection = protocols.http2.serve_connection(io, service);
        drive(
            connection,
            http2::Connection::graceful_shutdown,
            until,
            out_of_patience(),
        )
        .await
    } else {
        let connection = protocols.http1.serve_connection(io, service);
        drive(
            connection,
            http1::Connection::graceful_shutdown,
            until,
            out_of_patience(),
        )
        .await
    };
    Ok(ended?)
}

/// Reads what tells the protocols apart, and no more than the preface has.
async fn first_bytes(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    while start.len() < HTTP2_PREFACE.len() && HTTP2_PREFACE.starts_with(&start) {
        let missing = (HTTP2_PREFACE.len() - start.len()) as u64;
        if (&mut *stream).take(missing).read_buf(&mut start).await? == 0 {
            break;
        }
    }
    Ok(start)
}

/// Serves until the connection ends, or `until` has come and what is or comes in flight then is finished. The client is let
/// know, but need not answer: `patience` ends the wait.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    connection: C,
    shut_down: impl FnOnce(Pin<&mut C>),
    until: impl Future<Output = ()>,
    patience: impl Future<Output = ()>,
) -> hyper::Result<()> {
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = until => {}
    }
    shut_down(connection.as_mut());
    tokio::select! {
        ended = connection => ended,
        () = patience => Ok(()),
    }
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, Option<tokio::sync::OwnedSemaphorePermit>)> {
    // The semaphore is never closed.
    let permit = permits.clone().acquire_owned().await.ok();
    let (stream, peer) = listener.accept().await?;
    // Answers go out whole; waiting for more would only delay them.
    stream.set_nodelay(true)?;
    Ok((stream, peer, permit))
}

impl Protocols {
    fn new(config: &Config) -> Self {
        let largest_head = config.max_header_bytes + TARGET_LIMIT + HEAD_SYNTAX;
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(config.header_timeout)
            .max_headers(MAX_HEADERS)
            .max_header_size(largest_head)
            .max_buf_size(READ_BUFFER.max(largest_head));
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(u32::try_from(config.max_header_bytes).unwrap_or(u32::MAX))
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        Self { http1, http2 }
    }
}
