use roadstead_proto::auth::v1::{ListKeySetsRequest, ListKeySetsResponse, key_service_server::KeyService};
use tonic::{Request, Response, Status};

use super::Service;
use crate::tokens::KEYS_MAX_AGE;

#[tonic::async_trait]
impl KeyService for Service {
    async fn list_key_sets(
        &self,
        _request: Request<ListKeySetsRequest>,
    ) -> Result<Response<ListKeySetsResponse>, Status> {
        Ok(Response::new(ListKeySetsResponse {
            key_sets: self.0.tokens.key_sets(),
            max_age: u32::try_from(KEYS_MAX_AGE.as_secs()).unwrap_or(u32::MAX),
        }))
    }
}
