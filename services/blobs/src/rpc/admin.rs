use roadstead_proto::blobs::v1::{
    AbandonedUpload, AbortUploadsRequest, AbortUploadsResponse, DeleteObjectsRequest, DeleteObjectsResponse,
    blob_admin_service_server::BlobAdminService,
};
use roadstead_types::Digest;
use tonic::{Request, Response, Status, async_trait};

use super::Rpc;
use crate::{error::Error, object_key::ObjectKey};

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
        let mut outcome = Ok(());
        // The caller repeats the whole batch, so one that fails must not keep the others.
        for upload in request.into_inner().uploads {
            outcome = self.abandon(upload).await.and(outcome);
        }
        outcome?;
        Ok(Response::new(AbortUploadsResponse {}))
    }
}

impl Rpc {
    async fn abandon(&self, upload: AbandonedUpload) -> Result<(), Error> {
        let lease = self.seals.open_lease(&upload.lease)?;
        let named = match upload.digest.as_str() {
            "" => None,
            digest => Some(Digest::parse(digest)?),
        };
        // The state only helps to name an object. One that cannot be opened, as after the key was replaced, must not
        // keep the bytes for ever.
        let state = self.seals.open_state(&lease, &upload.state);
        let state = state.unwrap_or_else(|error| {
            tracing::warn!(upload_id = %lease.upload_id, %error, "the state of an abandoned upload is of no use");
            None
        });
        self.backend.purge(lease, state, named).await
    }
}
