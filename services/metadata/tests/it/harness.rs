//! A metadata service in a directory of its own, its clients, and stand-ins for the services it calls.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use roadstead_metadata::{BuildError, Config, Deps, ManifestValidation, RepositoryConfig};
use roadstead_proto::blobs::v1::blob_admin_service_server::{BlobAdminService, BlobAdminServiceServer};
use roadstead_proto::blobs::v1::{
    AbandonedUpload, AbortUploadsRequest, AbortUploadsResponse, DeleteObjectsRequest, DeleteObjectsResponse,
    Lease, Receipt,
};
use roadstead_proto::common::v1::RequestContext;
use roadstead_proto::metadata::v1::acquire_upload_request::Purpose;
use roadstead_proto::metadata::v1::outbox_service_client::OutboxServiceClient;
use roadstead_proto::metadata::v1::read_access::Ground;
use roadstead_proto::metadata::v1::read_service_client::ReadServiceClient;
use roadstead_proto::metadata::v1::repository_admin_service_client::RepositoryAdminServiceClient;
use roadstead_proto::metadata::v1::upload_service_client::UploadServiceClient;
use roadstead_proto::metadata::v1::write_service_client::WriteServiceClient;
use roadstead_proto::metadata::v1::*;
use roadstead_rpc::{
    AllowList, CallPolicy, ErrorReason, MAX_MESSAGE_BYTES, Peer, RpcChannel, RpcServer, SealKey, reason,
};
use roadstead_runtime::BuiltService;
use roadstead_testkit::{TestAuthority, TestDirectory, TestKeys, test_dir};
use roadstead_types::{Clock, ClockControl, Digest, Principal};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What the reaper asked of blobs.
#[derive(Clone, Default)]
pub(crate) struct FakeBlobs {
    state: Arc<Mutex<BlobsState>>,
}

#[derive(Default)]
struct BlobsState {
    aborted: Vec<AbandonedUpload>,
    deleted: Vec<String>,
    down: bool,
}

impl FakeBlobs {
    fn channel(&self) -> RpcChannel {
        let allow = AllowList::new().allow("roadstead.blobs.v1.BlobAdminService", &[Peer::Metadata]);
        let server =
            RpcServer::new(Peer::Blobs, allow).add_service(BlobAdminServiceServer::new(self.clone()));
        RpcChannel::in_process(&server, Peer::Metadata, CallPolicy::default())
    }

    fn with<T>(&self, work: impl FnOnce(&mut BlobsState) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.with(|state| state.down = down);
    }

    pub(crate) fn deleted(&self) -> Vec<String> {
        self.with(|state| state.deleted.clone())
    }

    /// The ids and epochs of the sessions that were aborted.
    pub(crate) fn aborted(&self, seal: &SealKey) -> Vec<(String, u64)> {
        let uploads = self.with(|state| state.aborted.clone());
        let open = |upload: &AbandonedUpload| seal.open::<Lease>("lease", &upload.lease).unwrap();
        uploads
            .iter()
            .map(open)
            .map(|lease| (lease.upload_id, lease.epoch))
            .collect()
    }

    /// The digests that were named for the sessions that were aborted.
    pub(crate) fn named(&self) -> Vec<String> {
        self.with(|state| state.aborted.iter().map(|upload| upload.digest.clone()).collect())
    }
}

#[tonic::async_trait]
impl BlobAdminService for FakeBlobs {
    async fn delete_objects(
        &self,
        request: Request<DeleteObjectsRequest>,
    ) -> Result<Response<DeleteObjectsResponse>, Status> {
        self.with(|state| {
            if state.down {
                return Err(Status::unavailable("switched off by the test"));
            }
            state.deleted.extend(request.into_inner().object_keys);
            Ok(Response::new(DeleteObjectsResponse {}))
        })
    }

    async fn abort_uploads(
        &self,
        request: Request<AbortUploadsRequest>,
    ) -> Result<Response<AbortUploadsResponse>, Status> {
        self.with(|state| {
            if state.down {
                return Err(Status::unavailable("switched off by the test"));
            }
            state.aborted.extend(request.into_inner().uploads);
            Ok(Response::new(AbortUploadsResponse {}))
        })
    }
}

/// The service and everything around it. What is under `public` may be read by anyone.
pub(crate) struct Rig {
    pub(crate) directory: TestDirectory,
    pub(crate) clock: Clock,
    pub(crate) control: ClockControl,
    pub(crate) keys: TestKeys,
    pub(crate) authority: TestAuthority,
    pub(crate) blobs: FakeBlobs,
    pub(crate) seal: SealKey,
    pub(crate) service: BuiltService,
    config: Config,
}

pub(crate) fn alice() -> Principal {
    Principal::new("https://issuer.example", "alice")
}

/// Strict but for `lenient`.
pub(crate) fn config() -> Config {
    Config {
        repositories: vec![RepositoryConfig {
            prefix: "lenient".to_owned(),
            manifest_validation: Some(ManifestValidation::Lenient),
        }],
        reaper_interval: Duration::from_millis(10),
        ..Config::default()
    }
}

async fn build(
    directory: &TestDirectory,
    config: &Config,
    (clock, seal): (&Clock, &SealKey),
    (auth, blobs): (RpcChannel, RpcChannel),
) -> Result<BuiltService, BuildError> {
    let deps = Deps {
        clock: clock.clone(),
        data_dir: directory.path().to_owned(),
        seal_key: seal.clone(),
        auth,
        blobs,
        shutdown: CancellationToken::new(),
    };
    roadstead_metadata::build(config.clone(), deps).await
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::with(config()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        let rig = Self::build(config, true).await;
        rig.service.readiness.wait_ready().await;
        rig
    }

    /// Auth may be away at the start.
    pub(crate) async fn build(config: Config, auth: bool) -> Self {
        let (clock, control) = Clock::fixed(SystemTime::UNIX_EPOCH + Duration::from_hours(500_000));
        let keys = TestKeys::new(clock.clone());
        let authority = keys.authority();
        authority.make_public("public");
        authority.set_down(!auth);
        let (directory, blobs, seal) = (test_dir(), FakeBlobs::default(), SealKey::generate());
        let channels = (authority.channel(Peer::Metadata), blobs.channel());
        let service = build(&directory, &config, (&clock, &seal), channels)
            .await
            .unwrap();
        Self {
            directory,
            clock,
            control,
            keys,
            authority,
            blobs,
            seal,
            service,
            config,
        }
    }

    /// Opens a second service in the same directory.
    pub(crate) async fn build_another(&self) -> Result<BuiltService, BuildError> {
        let channels = (self.authority.channel(Peer::Metadata), self.blobs.channel());
        build(&self.directory, &self.config, (&self.clock, &self.seal), channels).await
    }

    /// Stops the service, does something to its directory, and opens it again.
    pub(crate) async fn reopen(self, between: impl FnOnce(&Rig)) -> Result<Self, BuildError> {
        let mut rig = self;
        let placeholder = BuiltService {
            server: RpcServer::new(Peer::Metadata, AllowList::new()),
            tasks: roadstead_rpc::TaskSet::new(CancellationToken::new()),
            readiness: roadstead_rpc::Readiness::new(),
        };
        let old = std::mem::replace(&mut rig.service, placeholder);
        let BuiltService { server, tasks, .. } = old;
        assert_eq!(tasks.stop(Duration::from_secs(5)).await, [""; 0]);
        drop(server);
        between(&rig);
        rig.service = rig.build_another().await?;
        rig.service.readiness.wait_ready().await;
        Ok(rig)
    }

    pub(crate) fn database(&self) -> std::path::PathBuf {
        self.directory.path().join("metadata/metadata.db")
    }

    pub(crate) fn channel(&self, caller: Peer) -> RpcChannel {
        RpcChannel::in_process(&self.service.server, caller, CallPolicy::default())
    }

    pub(crate) fn read(&self) -> ReadServiceClient<RpcChannel> {
        ReadServiceClient::new(self.channel(Peer::Gateway)).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub(crate) fn write(&self) -> WriteServiceClient<RpcChannel> {
        WriteServiceClient::new(self.channel(Peer::Gateway)).max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub(crate) fn upload(&self) -> UploadServiceClient<RpcChannel> {
        UploadServiceClient::new(self.channel(Peer::Gateway))
    }

    pub(crate) fn admin(&self) -> RepositoryAdminServiceClient<RpcChannel> {
        RepositoryAdminServiceClient::new(self.channel(Peer::Gateway))
    }

    pub(crate) fn outbox(&self) -> OutboxServiceClient<RpcChannel> {
        OutboxServiceClient::new(self.channel(Peer::Events))
    }

    /// A token of alice for everything in each repository.
    pub(crate) fn token(&self, repositories: &[&str]) -> String {
        let scopes: Vec<_> = repositories
            .iter()
            .map(|name| format!("repository:{name}:*"))
            .collect();
        let scopes: Vec<_> = scopes.iter().map(String::as_str).collect();
        self.keys.sign_registry_token(&alice(), &scopes)
    }

    /// Uploads a blob from session to commit, and gives its digest.
    pub(crate) async fn push_blob(&self, repository: &str, content: &[u8]) -> Digest {
        let digest = Digest::sha256(content);
        let upload = Upload::create(self, repository, &self.token(&[repository])).await;
        let lease = upload
            .acquire(Purpose::Finish, None, digest.as_str())
            .await
            .unwrap();
        let receipt = upload.receipt(lease.epoch, digest.as_str(), content.len() as u64, &upload.id);
        upload.finish(lease.epoch, receipt).await.unwrap();
        digest
    }

    pub(crate) fn put_request(
        &self,
        repository: &str,
        reference: &str,
        content: &Value,
    ) -> PutManifestRequest {
        PutManifestRequest {
            registry_token: self.token(&[repository]),
            context: Some(context()),
            repository: repository.to_owned(),
            reference: reference.to_owned(),
            tags: Vec::new(),
            media_type: content["mediaType"].as_str().unwrap_or_default().to_owned(),
            content: content.to_string().into_bytes().into(),
        }
    }

    pub(crate) async fn put(
        &self,
        repository: &str,
        reference: &str,
        content: &Value,
    ) -> Result<PutManifestResponse, Status> {
        let request = self.put_request(repository, reference, content);
        Ok(self.write().put_manifest(request).await?.into_inner())
    }

    /// Pushes an image of one config and one layer, and gives its digest.
    pub(crate) async fn push_image(&self, repository: &str, tag: &str, seed: &str) -> String {
        let config = self
            .push_blob(repository, format!("config {seed}").as_bytes())
            .await;
        let layer = self
            .push_blob(repository, format!("layer {seed}").as_bytes())
            .await;
        self.put(repository, tag, &image(&config, &[&layer]))
            .await
            .unwrap()
            .digest
    }

    pub(crate) async fn get(&self, repository: &str, reference: &str) -> Result<GetManifestResponse, Status> {
        let request = GetManifestRequest {
            repository: repository.to_owned(),
            reference: reference.to_owned(),
            access: granted(),
            include_content: true,
        };
        Ok(self.read().get_manifest(request).await?.into_inner())
    }

    pub(crate) async fn resolve(
        &self,
        repository: &str,
        digest: &str,
    ) -> Result<ResolveBlobResponse, Status> {
        let request = ResolveBlobRequest {
            repository: repository.to_owned(),
            digest: digest.to_owned(),
            access: granted(),
        };
        Ok(self.read().resolve_blob(request).await?.into_inner())
    }

    pub(crate) async fn history(&self, repository: &str, tag: &str) -> Vec<TagChange> {
        self.authority.grant_read(&alice(), "");
        let request = ListTagHistoryRequest {
            repository: repository.to_owned(),
            tag: tag.to_owned(),
            page_size: 0,
            page_token: String::new(),
        };
        let request = with_access_token(request, &self.keys.sign_access_token(&alice()));
        self.admin()
            .list_tag_history(request)
            .await
            .unwrap()
            .into_inner()
            .changes
    }

    /// Takes everything out of the outbox.
    pub(crate) async fn drain(&self) -> Vec<Value> {
        let claimed = self
            .outbox()
            .claim_events(ClaimEventsRequest { max_events: 1000 })
            .await
            .unwrap()
            .into_inner()
            .events;
        let ids = claimed.iter().map(|event| event.id.clone()).collect();
        self.outbox().ack_events(AckEventsRequest { ids }).await.unwrap();
        claimed
            .iter()
            .map(|event| serde_json::from_slice(&event.cloudevent_json).unwrap())
            .collect()
    }
}

/// One upload session and the token that its requests carry.
pub(crate) struct Upload<'a> {
    pub(crate) rig: &'a Rig,
    pub(crate) repository: String,
    pub(crate) token: String,
    pub(crate) id: String,
}

impl<'a> Upload<'a> {
    pub(crate) async fn create(rig: &'a Rig, repository: &str, token: &str) -> Self {
        let request = CreateUploadRequest {
            registry_token: token.to_owned(),
            context: Some(context()),
            repository: repository.to_owned(),
            digest_algorithm: String::new(),
        };
        let id = rig
            .upload()
            .create_upload(request)
            .await
            .unwrap()
            .into_inner()
            .upload_id;
        Self {
            rig,
            repository: repository.to_owned(),
            token: token.to_owned(),
            id,
        }
    }

    pub(crate) async fn offset(&self) -> Result<u64, Status> {
        let request = GetUploadRequest {
            registry_token: self.token.clone(),
            repository: self.repository.clone(),
            upload_id: self.id.clone(),
        };
        Ok(self.rig.upload().get_upload(request).await?.into_inner().offset)
    }

    pub(crate) async fn acquire(
        &self,
        purpose: Purpose,
        expected_offset: Option<u64>,
        digest: &str,
    ) -> Result<AcquireUploadResponse, Status> {
        let request = AcquireUploadRequest {
            registry_token: self.token.clone(),
            repository: self.repository.clone(),
            upload_id: self.id.clone(),
            purpose: purpose.into(),
            expected_offset,
            digest: digest.to_owned(),
        };
        Ok(self.rig.upload().acquire_upload(request).await?.into_inner())
    }

    pub(crate) async fn save(&self, epoch: u64, offset: u64, state: &[u8]) -> Result<(), Status> {
        let request = SaveUploadRequest {
            registry_token: self.token.clone(),
            repository: self.repository.clone(),
            upload_id: self.id.clone(),
            epoch,
            state: state.to_vec().into(),
            offset,
        };
        self.rig.upload().save_upload(request).await.map(|_| ())
    }

    /// What blobs would vouch for.
    pub(crate) fn receipt(&self, epoch: u64, digest: &str, size: u64, object_key: &str) -> bytes::Bytes {
        let receipt = Receipt {
            upload_id: self.id.clone(),
            epoch,
            object_key: object_key.to_owned(),
            digest: digest.to_owned(),
            size,
        };
        self.rig.seal.seal("receipt", &receipt)
    }

    pub(crate) async fn finish(
        &self,
        epoch: u64,
        receipt: bytes::Bytes,
    ) -> Result<FinishUploadResponse, Status> {
        let request = FinishUploadRequest {
            registry_token: self.token.clone(),
            context: Some(context()),
            repository: self.repository.clone(),
            upload_id: self.id.clone(),
            epoch,
            receipt,
        };
        Ok(self.rig.upload().finish_upload(request).await?.into_inner())
    }

    pub(crate) async fn cancel(&self, epoch: u64) -> Result<(), Status> {
        let request = CancelUploadRequest {
            registry_token: self.token.clone(),
            context: Some(context()),
            repository: self.repository.clone(),
            upload_id: self.id.clone(),
            epoch,
        };
        self.rig.upload().cancel_upload(request).await.map(|_| ())
    }
}

pub(crate) fn context() -> RequestContext {
    RequestContext {
        request_id: "request-1".to_owned(),
        client_address: "192.0.2.1".to_owned(),
        user_agent: "test".to_owned(),
        ..RequestContext::default()
    }
}

pub(crate) fn granted() -> Option<ReadAccess> {
    access(Ground::Granted, "")
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the shape of the field that it is put into"
)]
pub(crate) fn access(ground: Ground, token: &str) -> Option<ReadAccess> {
    Some(ReadAccess {
        ground: ground.into(),
        registry_token: token.to_owned(),
    })
}

pub(crate) fn with_access_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

pub(crate) fn descriptor(media_type: &str, digest: &str) -> Value {
    json!({"mediaType": media_type, "digest": digest, "size": 1})
}

pub(crate) fn image(config: &Digest, layers: &[&Digest]) -> Value {
    let layer = |digest: &&Digest| descriptor("application/vnd.oci.image.layer.v1.tar+gzip", digest.as_str());
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config.as_str()),
        "layers": layers.iter().map(layer).collect::<Vec<_>>(),
    })
}

pub(crate) fn index(children: &[&str]) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": children.iter().map(|child| descriptor(OCI_MANIFEST, child)).collect::<Vec<_>>(),
    })
}

#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, Status>, expected: ErrorReason) -> Status {
    let status = result.expect_err("the call is refused");
    assert_eq!(reason(&status), expected, "{status:?}");
    status
}

/// Polls until `done`, for what a background task does.
pub(crate) async fn eventually(mut done: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "it did not happen in time"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
