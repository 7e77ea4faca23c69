//! A test service behind each transport.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use roadstead_proto::{
    auth::v1::{
        IssueIdentityTokenRequest, IssueIdentityTokenResponse,
        dev_issuer_service_client::DevIssuerServiceClient,
        dev_issuer_service_server::{DevIssuerService, DevIssuerServiceServer},
    },
    blobs::v1::{
        AbortRequest, AbortResponse, AppendRequest, AppendResponse, Checkpoint, FinishRequest,
        FinishResponse, ReadRequest, ReadResponse, StatRequest, StatResponse, append_request,
        append_response,
        blob_read_service_client::BlobReadServiceClient,
        blob_read_service_server::{BlobReadService, BlobReadServiceServer},
        blob_write_service_client::BlobWriteServiceClient,
        blob_write_service_server::{BlobWriteService, BlobWriteServiceServer},
    },
};
use roadstead_rpc::{
    AllowList, CallPolicy, Endpoint, ErrorReason, MAX_MESSAGE_BYTES, Peer, Readiness, RpcChannel, RpcServer,
    TaskSet, bulk, run_to_completion, status_with, with_retry_after,
};
use tokio::{net::TcpListener, sync::Notify};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::tls::Authority;

pub(crate) const CHUNK: usize = 256 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    InProcess,
    Pipe,
    Tcp,
}

/// What the handlers saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) calls: AtomicUsize,
    pub(crate) started: AtomicUsize,
    pub(crate) dropped: AtomicUsize,
    pub(crate) chunks_made: AtomicUsize,
    pub(crate) committed: AtomicBool,
    pub(crate) gate: Notify,
}

/// Counts handlers that are dropped, finished or not.
struct Guard(Arc<Seen>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

#[derive(Clone)]
pub(crate) struct Marker;

/// Does what the request says. The commands are in `digest` (Finish) and `locator` (Read).
#[derive(Clone)]
struct Commanded(Arc<Seen>);

pub(crate) fn detailed_error() -> Status {
    let facts = [
        ("offset", "17".to_owned()),
        ("missing", "sha256:abc,".repeat(8000)),
    ];
    let error = status_with(
        Code::FailedPrecondition,
        ErrorReason::UploadOutOfOrder,
        "not \u{2192} there",
        facts,
    );
    with_retry_after(error, Duration::from_secs(7))
}

#[tonic::async_trait]
impl BlobWriteService for Commanded {
    type AppendStream = Pin<Box<dyn Stream<Item = Result<AppendResponse, Status>> + Send>>;

    async fn append(
        &self,
        request: Request<Streaming<AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        Ok(Response::new(Box::pin(self.answers(request.into_inner()))))
    }

    async fn finish(&self, request: Request<FinishRequest>) -> Result<Response<FinishResponse>, Status> {
        let call = self.0.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let guard = Guard(self.0.clone());
        let header = |name: &str| {
            let value = request.metadata().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let has_marker = request.extensions().get::<Marker>().is_some();
        let (timeout, traceparent) = (header("grpc-timeout"), header("traceparent"));
        let command = request.get_ref().digest.clone();
        let (command, argument) = command.split_once(':').unwrap_or((&command, "0"));
        let receipt = match command {
            "echo" => request.into_inner().state,
            "hang" => {
                self.0.started.fetch_add(1, Ordering::SeqCst);
                std::future::pending().await
            }
            "panic" => panic!("a secret text"),
            "error" => return Err(detailed_error()),
            "unavailable" if call <= argument.parse().unwrap() => return Err(Status::unavailable("later")),
            "unavailable-for-long" => {
                return Err(with_retry_after(
                    Status::unavailable("later"),
                    Duration::from_secs(5),
                ));
            }
            "exhausted" => return Err(Status::resource_exhausted("no")),
            "big" => Bytes::from(vec![0; argument.parse().unwrap()]),
            "commit" => {
                let seen = self.0.clone();
                run_to_completion(async move {
                    seen.started.fetch_add(1, Ordering::SeqCst);
                    seen.gate.notified().await;
                    seen.committed.store(true, Ordering::SeqCst);
                })
                .await;
                Bytes::new()
            }
            "commit-panic" => run_to_completion(async { panic!("a secret text") }).await,
            "timeout" | "unavailable" => timeout.into(),
            "traceparent" => traceparent.into(),
            "extensions" => Bytes::from(if has_marker { "leaked" } else { "clean" }),
            _ => Bytes::new(),
        };
        let mut response = Response::new(FinishResponse { receipt });
        response.extensions_mut().insert(Marker);
        drop(guard);
        Ok(response)
    }

    async fn abort(&self, _: Request<AbortRequest>) -> Result<Response<AbortResponse>, Status> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(AbortResponse {}))
    }
}

impl Commanded {
    /// Tells of each chunk how large it was, and at the end how large all were.
    fn answers<S>(&self, requests: S) -> impl Stream<Item = Result<AppendResponse, Status>> + use<S>
    where
        S: Stream<Item = Result<AppendRequest, Status>> + Send + Unpin + 'static,
    {
        self.0.started.fetch_add(1, Ordering::SeqCst);
        let state = (requests, 0_u64, false, self.clone());
        stream::try_unfold(state, |(mut requests, mut received, done, this)| async move {
            if done {
                return Ok(None);
            }
            let message = match requests.try_next().await? {
                Some(AppendRequest {
                    message: Some(append_request::Message::Open(open)),
                }) => {
                    if open.lease == "stall" {
                        this.0.gate.notified().await;
                    }
                    append_response::Message::Credit(0)
                }
                Some(AppendRequest {
                    message: Some(append_request::Message::Chunk(chunk)),
                }) => {
                    received += chunk.len() as u64;
                    append_response::Message::Credit(chunk.len() as u64)
                }
                Some(AppendRequest { message: None }) => return Err(Status::invalid_argument("empty")),
                None => append_response::Message::Checkpoint(Checkpoint {
                    state: Bytes::new(),
                    offset: received,
                }),
            };
            let done = matches!(message, append_response::Message::Checkpoint(_));
            Ok(Some((
                AppendResponse {
                    message: Some(message),
                },
                (requests, received, done, this),
            )))
        })
    }
}

#[tonic::async_trait]
impl BlobReadService for Commanded {
    type ReadStream = Pin<Box<dyn Stream<Item = Result<ReadResponse, Status>> + Send>>;

    async fn stat(&self, _: Request<StatRequest>) -> Result<Response<StatResponse>, Status> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(StatResponse { size: 1 }))
    }

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let call = self.0.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let ReadRequest { locator, length, .. } = request.into_inner();
        let command = String::from_utf8(locator.to_vec()).unwrap();
        if command == "unavailable-once" && call == 1 {
            return Err(Status::unavailable("later"));
        }
        self.0.started.fetch_add(1, Ordering::SeqCst);
        let chunk = Bytes::from(vec![7; CHUNK]);
        let seen = self.0.clone();
        let chunks = stream::iter(0..length).map(move |_| {
            seen.chunks_made.fetch_add(1, Ordering::SeqCst);
            Ok(ReadResponse { chunk: chunk.clone() })
        });
        let chunks: Self::ReadStream = match command.as_str() {
            "then-hang" => Box::pin(chunks.chain(stream::pending())),
            "then-panic" => Box::pin(chunks.chain(stream::once(async { panic!("a secret text") }))),
            "then-error" => Box::pin(chunks.chain(stream::once(async { Err(detailed_error()) }))),
            _ => Box::pin(chunks),
        };
        let guard = Guard(self.0.clone());
        Ok(Response::new(Box::pin(chunks.inspect(move |_| _ = &guard))))
    }
}

#[tonic::async_trait]
impl DevIssuerService for Commanded {
    async fn issue_identity_token(
        &self,
        _: Request<IssueIdentityTokenRequest>,
    ) -> Result<Response<IssueIdentityTokenResponse>, Status> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        Err(Status::unavailable("later"))
    }
}

/// A server and what keeps it running.
pub(crate) struct World {
    transport: Transport,
    pub(crate) server: RpcServer,
    pub(crate) readiness: Readiness,
    pub(crate) seen: Arc<Seen>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) tasks: TaskSet,
    pub(crate) uri: String,
}

impl Drop for World {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}

impl World {
    /// Serves the commanded services as `blobs`, to the gateway only.
    pub(crate) async fn new(transport: Transport) -> Self {
        Self::with(transport, |server, _| server).await
    }

    /// The same with the RPCs that carry blobs served in bulk.
    pub(crate) async fn bulk(transport: Transport) -> Self {
        Self::with(transport, |server, handlers| {
            let (reader, writer) = (handlers.clone(), handlers);
            server
                .add_bulk::<bulk::Read, _, _>(move |mut requests| {
                    let reader = reader.clone();
                    async move {
                        let request = requests.message().await?.expect("a request");
                        Ok(reader.read(Request::new(request)).await?.into_inner())
                    }
                })
                .add_bulk::<bulk::Append, _, _>(move |requests| {
                    std::future::ready(Ok(writer.answers(requests)))
                })
        })
        .await
    }

    async fn with(transport: Transport, change: impl FnOnce(RpcServer, Commanded) -> RpcServer) -> Self {
        let seen = Arc::new(Seen::default());
        let handlers = Commanded(seen.clone());
        let readiness = Readiness::new();
        let mut allow = AllowList::new();
        for service in [
            "roadstead.blobs.v1.BlobReadService",
            "roadstead.blobs.v1.BlobWriteService",
            "roadstead.auth.v1.DevIssuerService",
        ] {
            allow = allow.allow(service, &[Peer::Gateway]);
        }
        let server = RpcServer::new(Peer::Blobs, allow)
            .add_service(limited_write(handlers.clone()))
            .add_service(BlobReadServiceServer::new(handlers.clone()))
            .add_service(DevIssuerServiceServer::new(handlers.clone()))
            .with_readiness(readiness.clone());
        let server = change(server, handlers);
        let tasks = TaskSet::new(CancellationToken::new());
        let authority = Arc::new(Authority::new());
        let mut uri = String::new();
        if transport == Transport::Tcp {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            uri = format!("https://{}", listener.local_addr().unwrap());
            let identity = authority.identity(&[Peer::Blobs.dns_name()]);
            let (server, token) = (server.clone(), tasks.token().clone());
            tasks.spawn("server", async move {
                server
                    .serve(listener, &identity, token, Duration::from_secs(5))
                    .await
                    .unwrap();
            });
        }
        Self {
            transport,
            server,
            readiness,
            seen,
            authority,
            tasks,
            uri,
        }
    }

    pub(crate) fn channel_as(&self, caller: Peer, policy: CallPolicy) -> RpcChannel {
        match self.transport {
            Transport::InProcess => RpcChannel::in_process(&self.server, caller, policy),
            Transport::Pipe => RpcChannel::over_pipe(&self.server, caller, policy, &self.tasks),
            Transport::Tcp => {
                let endpoint = Endpoint {
                    uri: self.uri.clone(),
                    server: Peer::Blobs,
                };
                RpcChannel::connect(endpoint, &self.authority.identity(&[caller.dns_name()]), policy).unwrap()
            }
        }
    }

    pub(crate) fn channel(&self) -> RpcChannel {
        self.channel_as(Peer::Gateway, CallPolicy::default())
    }

    pub(crate) fn writer(&self) -> BlobWriteServiceClient<RpcChannel> {
        writer_over(self.channel())
    }

    pub(crate) fn reader(&self) -> BlobReadServiceClient<RpcChannel> {
        BlobReadServiceClient::new(self.channel())
    }

    pub(crate) fn dev_issuer(&self) -> DevIssuerServiceClient<RpcChannel> {
        DevIssuerServiceClient::new(self.channel())
    }

    pub(crate) fn calls(&self) -> usize {
        self.seen.calls.load(Ordering::SeqCst)
    }
}

fn limited_write(handlers: Commanded) -> BlobWriteServiceServer<Commanded> {
    BlobWriteServiceServer::new(handlers)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

pub(crate) fn writer_over(channel: RpcChannel) -> BlobWriteServiceClient<RpcChannel> {
    BlobWriteServiceClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

/// A Finish request with a command.
pub(crate) fn command(command: &str) -> FinishRequest {
    FinishRequest {
        digest: command.to_owned(),
        ..FinishRequest::default()
    }
}

/// A Read request with a command.
pub(crate) fn read(command: &'static str, chunks: u64) -> ReadRequest {
    ReadRequest {
        locator: command.into(),
        length: chunks,
        ..ReadRequest::default()
    }
}

/// Waits for something that happens on another task.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(10), "still not: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
