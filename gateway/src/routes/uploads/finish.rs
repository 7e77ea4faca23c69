//! How a session ends.

use std::time::Duration;

use roadstead_proto::{
    blobs::v1::{AbortRequest, FinishRequest},
    common::v1::RequestContext,
    metadata::v1::{CancelUploadRequest, FinishUploadRequest},
};
use roadstead_types::Digest;
use tonic::Request;

use super::session::Session;
use crate::error::Failure;

/// Blobs may have to read everything again, for a digest in another algorithm than the session's.
const FINISH_DEADLINE: Duration = Duration::from_mins(10);

impl Session<'_> {
    /// Makes the bytes a blob of the repository. The receipt is what metadata believes; the digest is blobs' word, not
    /// the gateway's.
    pub(super) async fn finish(&self, context: RequestContext, digest: &Digest) -> Result<(), Failure> {
        let request = FinishRequest {
            lease: self.lease.clone(),
            state: self.state.clone(),
            digest: digest.to_string(),
        };
        let mut request = Request::new(request);
        request.set_timeout(FINISH_DEADLINE);
        let receipt = self
            .app
            .services
            .blob_write
            .clone()
            .finish(request)
            .await?
            .into_inner()
            .receipt;

        let (registry_token, context, repository, upload_id) = self.common(context);
        let request = FinishUploadRequest {
            registry_token,
            context,
            repository,
            upload_id,
            epoch: self.epoch,
            receipt,
        };
        self.app.services.uploads.clone().finish_upload(request).await?;
        Ok(())
    }

    /// Drops the bytes, then the session. If only the first succeeds, the reaper finds the session.
    pub(super) async fn cancel(self, context: RequestContext) -> Result<(), Failure> {
        let request = AbortRequest {
            lease: self.lease.clone(),
            state: self.state.clone(),
        };
        self.app.services.blob_write.clone().abort(request).await?;

        let (registry_token, context, repository, upload_id) = self.common(context);
        let request = CancelUploadRequest {
            registry_token,
            context,
            repository,
            upload_id,
            epoch: self.epoch,
        };
        self.app.services.uploads.clone().cancel_upload(request).await?;
        Ok(())
    }
}
