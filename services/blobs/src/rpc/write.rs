use std::sync::Arc;

use futures::{Stream, StreamExt as _, TryStreamExt as _, stream::BoxStream};
use roadstead_proto::blobs::v1::{
    AbortRequest, AbortResponse, AppendRequest, AppendResponse, Checkpoint, FinishRequest, FinishResponse,
    Receipt, append_request, append_response, blob_write_service_server::BlobWriteService,
};
use roadstead_rpc::bulk::Messages;
use roadstead_types::Digest;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::Rpc;
use crate::{error::Error, fs::Progress};

#[async_trait]
impl BlobWriteService for Rpc {
    type AppendStream = BoxStream<'static, Result<AppendResponse, Status>>;

    async fn append(
        &self,
        request: Request<Streaming<AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        Ok(Response::new(
            self.append_from(request.into_inner()).await?.boxed(),
        ))
    }

    async fn finish(&self, request: Request<FinishRequest>) -> Result<Response<FinishResponse>, Status> {
        let FinishRequest { lease, state, digest } = request.into_inner();
        let lease = self.seals.open_lease(&lease)?;
        let state = self.seals.open_state(&lease, &state)?;
        let digest = Digest::parse(&digest).map_err(Error::from)?;
        let finished = self.backend.finish(lease.clone(), state, digest.clone()).await?;
        let receipt = self.seals.seal_receipt(&Receipt {
            upload_id: lease.upload_id.to_string(),
            epoch: lease.epoch,
            object_key: finished.object_key.to_string(),
            digest: digest.to_string(),
            size: finished.size,
        });
        Ok(Response::new(FinishResponse { receipt }))
    }

    async fn abort(&self, request: Request<AbortRequest>) -> Result<Response<AbortResponse>, Status> {
        let AbortRequest { lease, state } = request.into_inner();
        let lease = self.seals.open_lease(&lease)?;
        self.seals.open_state(&lease, &state)?;
        self.backend.abort(lease).await?;
        Ok(Response::new(AbortResponse {}))
    }
}

impl Rpc {
    /// `Append` as a bulk RPC.
    pub(crate) async fn append_bulk(
        self: Arc<Self>,
        requests: Messages<AppendRequest>,
    ) -> Result<impl Stream<Item = Result<AppendResponse, Status>> + use<>, Status> {
        self.append_from(requests).await
    }

    async fn append_from<S>(
        &self,
        mut messages: S,
    ) -> Result<impl Stream<Item = Result<AppendResponse, Status>> + use<S>, Status>
    where
        S: Stream<Item = Result<AppendRequest, Status>> + Send + Unpin + 'static,
    {
        let first = messages.try_next().await?.and_then(|request| request.message);
        let Some(append_request::Message::Open(open)) = first else {
            return Err(Error::Argument("the first message must be `open`").into());
        };
        let lease = self.seals.open_lease(&open.lease)?;
        let state = self.seals.open_state(&lease, &open.state)?;
        let chunks = messages.map(|request| match request?.message {
            Some(append_request::Message::Chunk(chunk)) => Ok(chunk),
            _ => Err(Error::Argument("every message but the first must be a chunk").into()),
        });
        let progress = self.backend.append(lease.clone(), state, chunks.boxed());
        let seals = self.seals.clone();
        Ok(ReceiverStream::new(progress).map(move |progress| {
            let message = match progress? {
                Progress::Credit(credit) => append_response::Message::Credit(credit),
                Progress::Checkpoint(state) => append_response::Message::Checkpoint(Checkpoint {
                    state: seals.seal_state(&lease, &state),
                    offset: state.offset,
                }),
            };
            Ok(AppendResponse {
                message: Some(message),
            })
        }))
    }
}
