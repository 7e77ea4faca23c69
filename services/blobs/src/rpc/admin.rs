use roadstead_proto::blobs::v1::{
    AbortUploadsRequest, AbortUploadsResponse, DeleteObjectsRequest, DeleteObjectsResponse,
    blob_admin_service_server::BlobAdminService,
};
use tonic::{Request, Response, Status, async_trait};

use super::Rpc;
use crate::object_key::ObjectKey;

#[async_trait]
impl BlobAdminService for Rpc {
    async fn delete_objects(
        &self,
        request: Request<DeleteObjectsRequest>,
    ) -> Result<Response<DeleteObjectsResponse>, Status> {
        // All or nothing is parsed first: a key that is none means that the caller is confused.
        let keys = request
            .get_ref()
            .object_keys
            .iter()
            .map(|key| ObjectKey::parse(key))
            .collect::<Result<_, _>>()?;
        self.backend.delete(keys).await?;
        Ok(Response::new(DeleteObjectsResponse {}))
    }

    async fn abort_uploads(
        &self,
        request: Request<AbortUploadsRequest>,
    ) -> Result<Response<AbortUploadsResponse>, Status> {
        for upload in &request.get_ref().uploads {
            let lease = self.seals.open_lease(&upload.lease)?;
            let state = self.seals.open_state(&lease, &upload.state)?;
            self.backend.purge(lease, state).await?;
        }
        Ok(Response::new(AbortUploadsResponse {}))
    }
}
