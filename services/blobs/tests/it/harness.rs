//! A service on a directory, and a caller that keeps to the protocol.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use roadstead_blobs::{Config, Deps};
use roadstead_proto::blobs::v1::{
    AppendOpen, AppendRequest, AppendResponse, Checkpoint, FinishRequest, Lease, Locator, ReadRequest,
    Receipt, append_request, append_response, blob_admin_service_client::BlobAdminServiceClient,
    blob_read_service_client::BlobReadServiceClient, blob_write_service_client::BlobWriteServiceClient,
};
use roadstead_rpc::{CallPolicy, ErrorReason, Peer, RpcChannel, SealKey};
use roadstead_runtime::{BuiltService, DirectoryError};
use roadstead_types::{Clock, ClockControl, Digest, DigestAlgorithm, UploadId};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Harness {
    pub(crate) directory: TempDir,
    pub(crate) key: SealKey,
    pub(crate) time: ClockControl,
    clock: Clock,
    pub(crate) config: Config,
    service: Option<BuiltService>,
}

impl Harness {
    pub(crate) async fn start() -> Self {
        Self::with(Config::default()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        let (clock, time) = Clock::fixed(SystemTime::UNIX_EPOCH + Duration::from_hours(500_000));
        let mut harness = Self {
            directory: tempfile::tempdir().unwrap(),
            key: SealKey::generate(),
            time,
            clock,
            config,
            service: None,
        };
        harness.service = Some(harness.build().await.unwrap());
        harness
    }

    pub(crate) async fn build(&self) -> Result<BuiltService, DirectoryError> {
        let deps = Deps {
            clock: self.clock.clone(),
            data_dir: self.directory.path().to_owned(),
            seal_key: self.key.clone(),
            shutdown: CancellationToken::new(),
        };
        roadstead_blobs::build(self.config.clone(), deps).await
    }

    /// Ends the process, as far as the directory can tell, and starts another.
    pub(crate) async fn restart(&mut self) {
        let service = self.service.take().unwrap();
        drop(service.server);
        assert_eq!(service.tasks.stop(DEADLINE).await, Vec::<String>::new());
        let restarted = async {
            loop {
                match self.build().await {
                    Err(DirectoryError::InUse(_)) => tokio::task::yield_now().await,
                    other => return other.unwrap(),
                }
            }
        };
        let restarted = tokio::time::timeout(DEADLINE, restarted).await.unwrap();
        self.service = Some(restarted);
    }

    fn channel(&self, caller: Peer) -> RpcChannel {
        RpcChannel::in_process(
            &self.service.as_ref().unwrap().server,
            caller,
            CallPolicy::default(),
        )
    }

    pub(crate) fn writer(&self) -> BlobWriteServiceClient<RpcChannel> {
        BlobWriteServiceClient::new(self.channel(Peer::Gateway))
    }

    pub(crate) fn reader(&self) -> BlobReadServiceClient<RpcChannel> {
        BlobReadServiceClient::new(self.channel(Peer::Gateway))
            .max_decoding_message_size(roadstead_rpc::MAX_MESSAGE_BYTES)
    }

    pub(crate) fn admin(&self, caller: Peer) -> BlobAdminServiceClient<RpcChannel> {
        BlobAdminServiceClient::new(self.channel(caller))
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("blobs")
    }

    /// Where the bytes are once the upload's lease was used.
    pub(crate) fn upload_path(&self, upload: &Upload) -> PathBuf {
        self.root()
            .join("uploads")
            .join(format!("{}.{}", upload.id, upload.epoch))
    }

    pub(crate) fn locator(&self, object_key: &str, content: &[u8]) -> Bytes {
        self.seal_locator(object_key, content.len() as u64, 60)
    }

    pub(crate) fn seal_locator(&self, object_key: &str, size: u64, lives: i64) -> Bytes {
        let expires_at = self.clock.unix_seconds() + lives;
        let digest = String::new();
        self.key.seal(
            "locator",
            &Locator {
                object_key: object_key.to_owned(),
                digest,
                size,
                expires_at,
            },
        )
    }

    pub(crate) async fn open_append(&self, upload: &Upload) -> Result<Append, Status> {
        Append::open(self, upload.lease(self), upload.state.clone()).await
    }

    /// Appends with the upload's lease, and saves the last checkpoint as the gateway would.
    pub(crate) async fn append(
        &self,
        upload: &mut Upload,
        content: &[u8],
    ) -> Result<Vec<Checkpoint>, Status> {
        let mut append = self.open_append(upload).await?;
        append.send(content).await?;
        let checkpoints = append.end().await?;
        upload.state = checkpoints.last().unwrap().state.clone();
        Ok(checkpoints)
    }

    pub(crate) async fn finish(&self, upload: &Upload, digest: &Digest) -> Result<Receipt, Status> {
        let request = FinishRequest {
            lease: upload.lease(self),
            state: upload.state.clone(),
            digest: digest.to_string(),
        };
        let receipt = self.writer().finish(request).await?.into_inner().receipt;
        Ok(self.key.open("receipt", &receipt).unwrap())
    }

    /// Appends and finishes at once; returns the object's key.
    pub(crate) async fn push(&self, content: &[u8]) -> String {
        let mut upload = Upload::new();
        self.append(&mut upload, content).await.unwrap();
        self.finish(&upload, &Digest::sha256(content))
            .await
            .unwrap()
            .object_key
    }

    pub(crate) async fn read(&self, locator: Bytes, offset: u64, length: u64) -> Result<Vec<u8>, Status> {
        let mut stream = self
            .reader()
            .read(ReadRequest {
                locator,
                offset,
                length,
            })
            .await?
            .into_inner();
        let mut content = Vec::new();
        while let Some(response) = stream.message().await? {
            assert!(!response.chunk.is_empty() && response.chunk.len() <= 1024 * 1024);
            content.extend_from_slice(&response.chunk);
        }
        Ok(content)
    }
}

/// A session as metadata knows it.
#[derive(Clone)]
pub(crate) struct Upload {
    pub(crate) id: UploadId,
    pub(crate) epoch: u64,
    pub(crate) algorithm: DigestAlgorithm,
    pub(crate) state: Bytes,
}

impl Upload {
    pub(crate) fn new() -> Self {
        Self {
            id: UploadId::new(),
            epoch: 1,
            algorithm: DigestAlgorithm::Sha256,
            state: Bytes::new(),
        }
    }

    /// The session after the next `AcquireUpload`.
    pub(crate) fn acquired(&self) -> Self {
        Self {
            epoch: self.epoch + 1,
            ..self.clone()
        }
    }

    pub(crate) fn lease(&self, harness: &Harness) -> Bytes {
        let lease = Lease {
            upload_id: self.id.to_string(),
            epoch: self.epoch,
            digest_algorithm: self.algorithm.as_str().to_owned(),
        };
        harness.key.seal("lease", &lease)
    }
}

/// A running Append of a caller that sends only what it has credit for.
pub(crate) struct Append {
    /// `None` after the end of the caller's stream.
    requests: Option<mpsc::Sender<AppendRequest>>,
    responses: Streaming<AppendResponse>,
    pub(crate) credit: u64,
    pub(crate) checkpoints: Vec<Checkpoint>,
}

impl Append {
    pub(crate) async fn open(harness: &Harness, lease: Bytes, state: Bytes) -> Result<Self, Status> {
        let (requests, stream) = mpsc::channel(4);
        requests
            .send(message(append_request::Message::Open(AppendOpen {
                lease,
                state,
            })))
            .await
            .unwrap();
        let responses = harness
            .writer()
            .append(ReceiverStream::new(stream))
            .await?
            .into_inner();
        Ok(Self {
            requests: Some(requests),
            responses,
            credit: 0,
            checkpoints: Vec::new(),
        })
    }

    /// Takes the next response; `false` at the end.
    pub(crate) async fn receive(&mut self) -> Result<bool, Status> {
        let response = tokio::time::timeout(DEADLINE, self.responses.message())
            .await
            .expect("an answer in time")?;
        match response.map(|response| response.message.unwrap()) {
            Some(append_response::Message::Credit(credit)) => self.credit += credit,
            Some(append_response::Message::Checkpoint(checkpoint)) => self.checkpoints.push(checkpoint),
            None => return Ok(false),
        }
        Ok(true)
    }

    pub(crate) async fn send(&mut self, mut content: &[u8]) -> Result<(), Status> {
        while !content.is_empty() {
            while self.credit == 0 {
                assert!(
                    self.receive().await?,
                    "the stream ended without the last checkpoint"
                );
            }
            let fits = usize::try_from(self.credit)
                .unwrap()
                .min(1024 * 1024)
                .min(content.len());
            let (chunk, rest) = content.split_at(fits);
            self.send_unasked(chunk).await;
            self.credit -= chunk.len() as u64;
            content = rest;
        }
        Ok(())
    }

    pub(crate) async fn send_unasked(&mut self, chunk: &[u8]) {
        let chunk = append_request::Message::Chunk(Bytes::copy_from_slice(chunk));
        // When the server has hung up, the reason is among the responses.
        let _ = self.requests.as_ref().unwrap().send(message(chunk)).await;
    }

    /// Waits until the server has a checkpoint for all that was sent.
    pub(crate) async fn end(mut self) -> Result<Vec<Checkpoint>, Status> {
        self.requests = None;
        while self.receive().await? {}
        Ok(self.checkpoints)
    }

    /// Reads until the server gives up.
    pub(crate) async fn failure(&mut self) -> Status {
        loop {
            match self.receive().await {
                Ok(true) => {}
                Ok(false) => panic!("the stream ended well"),
                Err(status) => return status,
            }
        }
    }
}

fn message(message: append_request::Message) -> AppendRequest {
    AppendRequest {
        message: Some(message),
    }
}

#[track_caller]
pub(crate) fn assert_reason<T>(result: Result<T, Status>, expected: ErrorReason) {
    match result {
        Ok(_) => panic!("{expected:?} was expected"),
        Err(status) => assert_eq!(roadstead_rpc::reason(&status), expected, "{status:?}"),
    }
}

/// Bytes that look different everywhere.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

pub(crate) fn files_in(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| {
            if path.is_dir() {
                files_in(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}
