use roadstead_proto::auth::v1::{
    ListReadablePrefixesRequest, ListReadablePrefixesResponse,
    authorization_service_server::AuthorizationService,
};
use tonic::{Request, Response, Status};

use super::{Service, identity};

#[tonic::async_trait]
impl AuthorizationService for Service {
    async fn list_readable_prefixes(
        &self,
        request: Request<ListReadablePrefixesRequest>,
    ) -> Result<Response<ListReadablePrefixesResponse>, Status> {
        let act = self.0.tokens.verify_any(&request.get_ref().token)?;
        let prefixes = act
            .as_ref()
            .map(|act| self.0.grants.readable(act))
            .unwrap_or_default();
        Ok(Response::new(ListReadablePrefixesResponse {
            prefixes: prefixes.iter().map(ToString::to_string).collect(),
            identity: act.map(|act| identity(&act.issuer, &act.subject)),
        }))
    }
}
