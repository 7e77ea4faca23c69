use futures::{StreamExt as _, stream::BoxStream};
use roadstead_proto::blobs::v1::{
    ReadRequest, ReadResponse, StatRequest, StatResponse, blob_read_service_server::BlobReadService,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, async_trait};

use super::Rpc;

#[async_trait]
impl BlobReadService for Rpc {
    type ReadStream = BoxStream<'static, Result<ReadResponse, Status>>;

    async fn stat(&self, request: Request<StatRequest>) -> Result<Response<StatResponse>, Status> {
        let locator = self.seals.open_locator(&request.get_ref().locator)?;
        let size = self.backend.stat(locator).await?;
        Ok(Response::new(StatResponse { size }))
    }

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let ReadRequest {
            locator,
            offset,
            length,
        } = request.into_inner();
        let locator = self.seals.open_locator(&locator)?;
        let chunks = self.backend.read(locator, offset, length).await?;
        let responses = ReceiverStream::new(chunks)
            .map(|chunk| chunk.map(|chunk| ReadResponse { chunk }).map_err(Status::from));
        Ok(Response::new(responses.boxed()))
    }
}
