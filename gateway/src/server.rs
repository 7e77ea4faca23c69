//! Connections.

use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::body::Body;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{Config, in_flight::InFlight, stack::Stack};

/// Headers that a request may have; containers' clients send a dozen.
const MAX_HEADERS: usize = 128;
/// Read ahead on one connection: what a body read takes at once, and room for the largest head.
const READ_BUFFER: usize = 512 * 1024;
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
    let builder = Arc::new(builder(config));
    let permits = Arc::new(Semaphore::new(config.max_connections));
    let idle = config.header_timeout;
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
        let (builder, stack, stop) = (builder.clone(), stack.clone(), stop.clone());
        connections.spawn(async move {
            if let Err(error) = serve_connection(stream, peer, &builder, stack, (idle, stop)).await {
                tracing::debug!(cause = %error, "a connection broke");
            }
            drop(permit);
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Serves one connection until its client closes it, has asked nothing for as long as `idle`, or `stop` is cancelled.
///
/// hyper limits the time for a request's head in HTTP/1 only. It waits for ever for the bytes that tell which protocol
/// it is, and between the requests of HTTP/2; anybody could use up the connections there are with a byte each.
async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    builder: &Builder<TokioExecutor>,
    stack: Stack,
    (idle, stop): (Duration, CancellationToken),
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let in_flight = InFlight::default();
    let requests = in_flight.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let in_flight = requests.begin();
        let answer = stack.clone().handle(peer, request.map(Body::new));
        async move { Ok::<_, Infallible>(answer.await.map(|body| in_flight.until_end_of(body))) }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stop.cancelled() => {}
        () = in_flight.none_for(idle) => {}
    }
    // Lets the client know, and finishes what is or comes in flight meanwhile; but the client need not answer.
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        ended = connection => ended,
        () = in_flight.none_for(idle) => Ok(()),
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

fn builder(config: &Config) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout)
        .max_headers(MAX_HEADERS)
        .max_buf_size(READ_BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(config.max_header_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}
