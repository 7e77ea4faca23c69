//! A running gateway whose metadata and blobs misbehave on demand. Real services cannot be made to fail at a given point;
//! everything else about them is tested with them.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::Stream;
use roadstead_gateway::{BuiltGateway, Config, Deps, build};
use roadstead_proto::{
    auth::v1::{
        ExchangeRequest, IssueRegistryTokenRequest, RefreshRequest, token_service_server::TokenServiceServer,
    },
    blobs::v1::{
        AbortRequest, AbortResponse, AppendRequest, AppendResponse, Checkpoint, FinishRequest,
        FinishResponse, ReadRequest, ReadResponse, StatRequest, StatResponse, append_request,
        append_response,
        blob_read_service_server::{BlobReadService, BlobReadServiceServer},
        blob_write_service_server::{BlobWriteService, BlobWriteServiceServer},
    },
    events::v1::{
        PublishEventsRequest, PublishEventsResponse,
        ingest_service_server::{IngestService, IngestServiceServer},
    },
    metadata::v1::{
        AcquireUploadRequest, AcquireUploadResponse, CancelUploadRequest, CancelUploadResponse,
        CreateUploadRequest, CreateUploadResponse, FinishUploadRequest, FinishUploadResponse,
        GetManifestRequest, GetManifestResponse, GetUploadRequest, GetUploadResponse, ListReferrersRequest,
        ListReferrersResponse, ListRepositoriesRequest, ListRepositoriesResponse, ListTagsRequest,
        ListTagsResponse, ResolveBlobRequest, ResolveBlobResponse, SaveUploadRequest, SaveUploadResponse,
        read_access::Ground,
        read_service_server::{ReadService, ReadServiceServer},
        upload_service_server::{UploadService, UploadServiceServer},
    },
};
use roadstead_rpc::{AllowList, CallPolicy, ErrorReason, Peer, RpcChannel, RpcServer, status, status_with};
use roadstead_runtime::{ConfigSources, ConfigTree, PublicAddress};
use roadstead_testkit::{TestAuthority, TestKeys};
use roadstead_types::{Clock, Principal, UploadId};
use serde_json::Value;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Code, Request, Response, Status, Streaming};
use tower::util::MapRequestLayer;

/// What the services behind the gateway did, and what they are to do.
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// Bytes that blobs confirmed and the gateway saved.
    pub(crate) saved: AtomicU64,
    /// Bytes that blobs took.
    pub(crate) taken: AtomicU64,
    pub(crate) committed: AtomicBool,
    pub(crate) cancelled: AtomicBool,
    /// The first `SaveUpload` is refused: somebody else has the lease.
    pub(crate) refuse_saves: AtomicBool,
    /// Blobs gives out so much credit at once; 0 stands for plenty.
    pub(crate) credit: AtomicU64,
    /// Blobs refuses so.
    pub(crate) append_error: Mutex<Option<ErrorReason>>,
    /// How large blobs are; 0 stands for a few bytes.
    pub(crate) blob_size: AtomicU64,
    /// Streams of blobs' bytes that were let go.
    pub(crate) reads_ended: AtomicU64,
    /// The heads of the calls that events got.
    pub(crate) event_calls: Mutex<Vec<http::HeaderMap>>,
    /// The events that the gateway told.
    pub(crate) published: Mutex<Vec<Value>>,
    /// What auth was asked, without the context, which differs each time.
    pub(crate) asked: Mutex<Vec<Asked>>,
    /// Auth answers so.
    pub(crate) token_error: Mutex<Option<ErrorReason>>,
    /// Metadata answers reads so.
    pub(crate) read_error: Mutex<Option<ErrorReason>>,
}

/// A request to auth's `TokenService`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Asked {
    Exchange(ExchangeRequest),
    Refresh(RefreshRequest),
    Revoke(String),
    Registry(IssueRegistryTokenRequest),
}

#[derive(Clone)]
pub(crate) struct Fake(pub(crate) Arc<Script>);

impl Fake {
    fn read(&self, access: Option<roadstead_proto::metadata::v1::ReadAccess>) -> Result<(), Status> {
        if let Some(reason) = *self.0.read_error.lock().unwrap() {
            return Err(status(Code::Internal, reason, "scripted"));
        }
        if access.is_some_and(|access| access.ground() == Ground::Granted) {
            Ok(())
        } else {
            Err(status(
                Code::PermissionDenied,
                ErrorReason::PermissionMissing,
                "not public",
            ))
        }
    }
}

#[tonic::async_trait]
impl ReadService for Fake {
    async fn get_manifest(
        &self,
        request: Request<GetManifestRequest>,
    ) -> Result<Response<GetManifestResponse>, Status> {
        let request = request.into_inner();
        self.read(request.access)?;
        let content = Bytes::from_static(b"{}");
        Ok(Response::new(GetManifestResponse {
            digest: "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a".to_owned(),
            media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
            size: content.len() as u64,
            content: if request.include_content {
                content
            } else {
                Bytes::new()
            },
            repository_id: "r".to_owned(),
        }))
    }

    async fn resolve_blob(
        &self,
        request: Request<ResolveBlobRequest>,
    ) -> Result<Response<ResolveBlobResponse>, Status> {
        self.read(request.into_inner().access)?;
        Ok(Response::new(ResolveBlobResponse {
            size: match self.0.blob_size.load(Ordering::SeqCst) {
                0 => 3000,
                size => size,
            },
            locator: Bytes::new(),
            repository_id: "r".to_owned(),
        }))
    }

    async fn list_tags(
        &self,
        request: Request<ListTagsRequest>,
    ) -> Result<Response<ListTagsResponse>, Status> {
        let request = request.into_inner();
        self.read(request.access)?;
        let tags: Vec<String> = (0..request.page_size)
            .map(|number| format!("{}t{number:04}", request.last))
            .collect();
        Ok(Response::new(ListTagsResponse { tags, has_more: true }))
    }

    async fn list_referrers(
        &self,
        request: Request<ListReferrersRequest>,
    ) -> Result<Response<ListReferrersResponse>, Status> {
        let request = request.into_inner();
        self.read(request.access)?;
        let descriptors = vec![Bytes::from_static(b"{\"a\":1}"), Bytes::from_static(b"{\"b\":2}")];
        Ok(Response::new(ListReferrersResponse {
            descriptors,
            next_page_token: "to/ken=".to_owned(),
        }))
    }

    async fn list_repositories(
        &self,
        request: Request<ListRepositoriesRequest>,
    ) -> Result<Response<ListRepositoriesResponse>, Status> {
        Ok(Response::new(ListRepositoriesResponse {
            repositories: request.into_inner().readable_prefixes,
            has_more: false,
        }))
    }
}

#[tonic::async_trait]
impl IngestService for Fake {
    async fn publish_events(
        &self,
        request: Request<PublishEventsRequest>,
    ) -> Result<Response<PublishEventsResponse>, Status> {
        let events = request.into_inner().cloudevents_json;
        let events = events.iter().map(|event| serde_json::from_slice(event).unwrap());
        self.0.published.lock().unwrap().extend(events);
        Ok(Response::new(PublishEventsResponse {}))
    }
}

#[tonic::async_trait]
impl UploadService for Fake {
    async fn create_upload(
        &self,
        _: Request<CreateUploadRequest>,
    ) -> Result<Response<CreateUploadResponse>, Status> {
        Ok(Response::new(CreateUploadResponse {
            upload_id: UploadId::new().to_string(),
        }))
    }

    async fn get_upload(&self, _: Request<GetUploadRequest>) -> Result<Response<GetUploadResponse>, Status> {
        Ok(Response::new(GetUploadResponse {
            offset: self.0.saved.load(Ordering::SeqCst),
        }))
    }

    async fn acquire_upload(
        &self,
        request: Request<AcquireUploadRequest>,
    ) -> Result<Response<AcquireUploadResponse>, Status> {
        let offset = self.0.saved.load(Ordering::SeqCst);
        if request
            .into_inner()
            .expected_offset
            .is_some_and(|expected| expected != offset)
        {
            let facts = [("offset", offset.to_string())];
            return Err(status_with(
                Code::OutOfRange,
                ErrorReason::UploadOutOfOrder,
                "out of order",
                facts,
            ));
        }
        Ok(Response::new(AcquireUploadResponse {
            epoch: 1,
            offset,
            ..AcquireUploadResponse::default()
        }))
    }

    async fn save_upload(
        &self,
        request: Request<SaveUploadRequest>,
    ) -> Result<Response<SaveUploadResponse>, Status> {
        if self.0.refuse_saves.load(Ordering::SeqCst) {
            return Err(status(Code::Aborted, ErrorReason::UploadConflict, "taken over"));
        }
        self.0.saved.store(request.into_inner().offset, Ordering::SeqCst);
        Ok(Response::new(SaveUploadResponse {}))
    }

    async fn finish_upload(
        &self,
        _: Request<FinishUploadRequest>,
    ) -> Result<Response<FinishUploadResponse>, Status> {
        self.0.committed.store(true, Ordering::SeqCst);
        Ok(Response::new(FinishUploadResponse::default()))
    }

    async fn cancel_upload(
        &self,
        _: Request<CancelUploadRequest>,
    ) -> Result<Response<CancelUploadResponse>, Status> {
        self.0.cancelled.store(true, Ordering::SeqCst);
        Ok(Response::new(CancelUploadResponse {}))
    }
}

/// Counts a stream that is let go.
struct Reading(Arc<Script>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.reads_ended.fetch_add(1, Ordering::SeqCst);
    }
}

#[tonic::async_trait]
impl BlobReadService for Fake {
    type ReadStream = Pin<Box<dyn Stream<Item = Result<ReadResponse, Status>> + Send>>;

    async fn stat(&self, _: Request<StatRequest>) -> Result<Response<StatResponse>, Status> {
        Err(Status::unimplemented("nobody asks"))
    }

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        const CHUNK: u64 = 512 * 1024;
        let length = request.into_inner().length;
        let reading = Reading(self.0.clone());
        let chunks = (0..length.div_ceil(CHUNK)).map(move |number| {
            let _ = &reading;
            let rest = (length - number * CHUNK).min(CHUNK);
            let chunk = Bytes::from(vec![0; usize::try_from(rest).unwrap()]);
            Ok(ReadResponse { chunk })
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(chunks))))
    }
}

#[tonic::async_trait]
impl BlobWriteService for Fake {
    type AppendStream = Pin<Box<dyn Stream<Item = Result<AppendResponse, Status>> + Send>>;

    async fn append(
        &self,
        request: Request<Streaming<AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let (sender, receiver) = mpsc::channel(4);
        let script = self.0.clone();
        #[allow(clippy::disallowed_methods)]
        tokio::spawn(async move {
            if let Err(status) = take(&script, request.into_inner(), &sender).await {
                let _ = sender.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn finish(&self, _: Request<FinishRequest>) -> Result<Response<FinishResponse>, Status> {
        Ok(Response::new(FinishResponse::default()))
    }

    async fn abort(&self, _: Request<AbortRequest>) -> Result<Response<AbortResponse>, Status> {
        Ok(Response::new(AbortResponse {}))
    }
}

/// Grants credit, takes bytes, and confirms them after each chunk. Taking more than was granted is a failure.
async fn take(
    script: &Script,
    mut requests: Streaming<AppendRequest>,
    answers: &mpsc::Sender<Result<AppendResponse, Status>>,
) -> Result<(), Status> {
    let answer = |message| {
        Ok(AppendResponse {
            message: Some(message),
        })
    };
    let step = match script.credit.load(Ordering::SeqCst) {
        0 => 64 * 1024 * 1024,
        step => step,
    };
    let mut credit = step;
    let mut offset = script.saved.load(Ordering::SeqCst);
    let _ = answers
        .send(answer(append_response::Message::Credit(credit)))
        .await;
    while let Some(request) = requests.next().await {
        let Some(append_request::Message::Chunk(chunk)) = request?.message else {
            continue;
        };
        if let Some(reason) = *script.append_error.lock().unwrap() {
            return Err(status(Code::OutOfRange, reason, "scripted"));
        }
        let length = chunk.len() as u64;
        credit = credit
            .checked_sub(length)
            .ok_or_else(|| Status::internal("more than the credit"))?;
        offset += length;
        script.taken.fetch_add(length, Ordering::SeqCst);
        let checkpoint = Checkpoint {
            state: Bytes::from(offset.to_string()),
            offset,
        };
        let _ = answers
            .send(answer(append_response::Message::Checkpoint(checkpoint)))
            .await;
        if credit == 0 {
            credit = step;
            let _ = answers.send(answer(append_response::Message::Credit(step))).await;
        }
    }
    Ok(())
}

/// A gateway on a free port, with the tokens that it believes.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    pub(crate) keys: TestKeys,
    pub(crate) authority: TestAuthority,
    pub(crate) script: Arc<Script>,
    pub(crate) http: reqwest::Client,
    stop: DropGuard,
    serving: JoinHandle<()>,
    built: Arc<BuiltGateway>,
}

pub(crate) fn alice() -> Principal {
    Principal::new("https://issuer.example", "alice")
}

impl Gateway {
    pub(crate) async fn start(config: Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tree = ConfigTree::load(ConfigSources::default())
            .unwrap()
            .with("gateway.listen", address.to_string());
        let public = PublicAddress::from_tree(&tree).unwrap();
        let keys = TestKeys::for_registry(Clock::system(), public.origin());
        let authority = keys.authority();
        let script = Arc::new(Script::default());
        let stop = CancellationToken::new();
        let deps = Deps {
            clock: Clock::system(),
            public,
            auth: auth(&authority, &script),
            metadata: metadata(&script),
            blobs: blobs(&script),
            events: events(&script),
            shutdown: stop.clone(),
        };
        let built = Arc::new(build(config, deps).await.unwrap());
        built.readiness.wait_ready().await;
        let serving = built.clone();
        #[allow(clippy::disallowed_methods)]
        let serving = tokio::spawn(async move { serving.serve(listener).await.unwrap() });
        // The client wants one even for http; a second installation is refused, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self {
            address,
            keys,
            authority,
            script,
            http,
            stop: stop.drop_guard(),
            serving,
            built,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn token(&self, scopes: &[&str]) -> String {
        self.keys.sign_registry_token(&alice(), scopes)
    }

    pub(crate) fn push_token(&self) -> String {
        self.token(&["repository:a/b:pull,push"])
    }

    /// Tells the gateway to stop accepting, without waiting; gives what ends when it has stopped.
    pub(crate) fn stop(self) -> JoinHandle<()> {
        self.stop.disarm().cancel();
        self.serving
    }

    /// Stops the gateway as a process does: requests first, then the background work.
    pub(crate) async fn end(self) {
        let tasks = self.built.tasks.clone();
        self.stop().await.unwrap();
        assert_eq!(tasks.stop(Duration::from_secs(10)).await, [""; 0]);
    }

    /// Waits until the condition holds.
    pub(crate) async fn eventually(&self, what: &str, condition: impl Fn(&Script) -> bool) {
        let polled = async {
            while !condition(&self.script) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), polled)
            .await
            .unwrap_or_else(|_| panic!("never: {what}"));
    }
}

fn metadata(script: &Arc<Script>) -> RpcChannel {
    let allowed = AllowList::new()
        .allow("roadstead.metadata.v1.ReadService", &[Peer::Gateway])
        .allow("roadstead.metadata.v1.UploadService", &[Peer::Gateway]);
    let server = RpcServer::new(Peer::Metadata, allowed)
        .add_service(ReadServiceServer::new(Fake(script.clone())))
        .add_service(UploadServiceServer::new(Fake(script.clone())));
    RpcChannel::in_process(&server, Peer::Gateway, CallPolicy::default())
}

fn blobs(script: &Arc<Script>) -> RpcChannel {
    let allowed = AllowList::new()
        .allow("roadstead.blobs.v1.BlobReadService", &[Peer::Gateway])
        .allow("roadstead.blobs.v1.BlobWriteService", &[Peer::Gateway]);
    let server = RpcServer::new(Peer::Blobs, allowed)
        .add_service(BlobReadServiceServer::new(Fake(script.clone())))
        .add_service(BlobWriteServiceServer::new(Fake(script.clone())));
    RpcChannel::in_process(&server, Peer::Gateway, CallPolicy::default())
}

fn auth(authority: &TestAuthority, script: &Arc<Script>) -> RpcChannel {
    let server = authority
        .server()
        .add_service(TokenServiceServer::new(Fake(script.clone())));
    RpcChannel::in_process(&server, Peer::Gateway, CallPolicy::default())
}

/// Events takes what gateways tell and answers nobody's questions, after noting what the head says.
fn events(script: &Arc<Script>) -> RpcChannel {
    let allowed = AllowList::new().allow("roadstead.events.v1.IngestService", &[Peer::Gateway]);
    let server =
        RpcServer::new(Peer::Events, allowed).add_service(IngestServiceServer::new(Fake(script.clone())));
    let script = script.clone();
    RpcChannel::in_process(&server, Peer::Gateway, CallPolicy::default()).layer(MapRequestLayer::new(
        move |request: http::Request<tonic::body::Body>| {
            script.event_calls.lock().unwrap().push(request.headers().clone());
            request
        },
    ))
}
