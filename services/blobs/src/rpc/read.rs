use std::sync::Arc;

use futures::{Stream, StreamExt as _, stream::BoxStream};
use roadstead_proto::blobs::v1::{
    ReadRequest, ReadResponse, StatRequest, StatResponse, blob_read_service_server::BlobReadService,
};
use roadstead_rpc::bulk::Messages;
use tonic::{Request, Response, Status, async_trait};

use super::Rpc;
use crate::error::Error;

#[async_trait]
impl BlobReadService for Rpc {
    type ReadStream = BoxStream<'static, Result<ReadResponse, Status>>;

    async fn stat(&self, request: Request<StatRequest>) -> Result<Response<StatResponse>, Status> {
        let locator = self.seals.open_locator(&request.get_ref().locator)?;
        let size = self.backend.stat(locator).await?;
        Ok(Response::new(StatResponse { size }))
    }

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        Ok(Response::new(
            self.read_range(request.into_inner()).await?.boxed(),
        ))
    }
}

impl Rpc {
    /// `Read` as a bulk RPC.
    pub(crate) async fn read_bulk(
        self: Arc<Self>,
        mut requests: Messages<ReadRequest>,
    ) -> Result<impl Stream<Item = Result<ReadResponse, Status>> + use<>, Status> {
        let request = requests.message().await?;
        let request = request.ok_or(Error::Argument("a request is missing"))?;
        self.read_range(request).await
    }

    async fn read_range(
        &self,
        request: ReadRequest,
    ) -> Result<impl Stream<Item = Result<ReadResponse, Status>> + use<>, Status> {
        let ReadRequest {
            locator,
            offset,
            length,
        } = request;
        let locator = self.seals.open_locator(&locator)?;
        let chunks = self.backend.read(locator, offset, length).await?;
        Ok(chunks.map(|chunk| chunk.map(|chunk| ReadResponse { chunk }).map_err(Status::from)))
    }
}
