use roadstead_proto::auth::v1::{
    IssueIdentityTokenRequest, IssueIdentityTokenResponse, dev_issuer_service_server::DevIssuerService,
};
use tonic::{Request, Response, Status};

use super::Service;
use crate::error::Error;

#[tonic::async_trait]
impl DevIssuerService for Service {
    async fn issue_identity_token(
        &self,
        _request: Request<IssueIdentityTokenRequest>,
    ) -> Result<Response<IssueIdentityTokenResponse>, Status> {
        let dev = self.0.dev.as_ref().ok_or(Error::DevIssuerRefused)?;
        Ok(Response::new(IssueIdentityTokenResponse {
            identity_token: dev.issue()?,
        }))
    }
}
