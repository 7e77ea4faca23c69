use roadstead_proto::{
    auth::v1::{
        ExchangeRequest, ExchangeResponse, GetLoginOptionsRequest, GetLoginOptionsResponse,
        IssueRegistryTokenRequest, IssueRegistryTokenResponse, RefreshRequest, RevokeSessionRequest,
        RevokeSessionResponse, token_service_server::TokenService,
    },
    common::v1::RequestContext,
};
use tonic::{Request, Response, Status};

use super::Service;
use crate::domain::event::Author;

#[tonic::async_trait]
impl TokenService for Service {
    async fn exchange(
        &self,
        request: Request<ExchangeRequest>,
    ) -> Result<Response<ExchangeResponse>, Status> {
        let request = request.into_inner();
        let stranger = stranger(request.context.as_ref());
        let outcome = self.0.exchange(request).await;
        let response = self.0.note_refusal("exchange", &stranger, outcome)?;
        Ok(Response::new(response))
    }

    async fn refresh(&self, request: Request<RefreshRequest>) -> Result<Response<ExchangeResponse>, Status> {
        let request = request.into_inner();
        let stranger = stranger(request.context.as_ref());
        let outcome = self.0.refresh(request).await;
        let response = self.0.note_refusal("refresh", &stranger, outcome)?;
        Ok(Response::new(response))
    }

    async fn revoke_session(
        &self,
        request: Request<RevokeSessionRequest>,
    ) -> Result<Response<RevokeSessionResponse>, Status> {
        self.0.revoke_session(request.into_inner()).await?;
        Ok(Response::new(RevokeSessionResponse {}))
    }

    async fn issue_registry_token(
        &self,
        request: Request<IssueRegistryTokenRequest>,
    ) -> Result<Response<IssueRegistryTokenResponse>, Status> {
        let request = request.get_ref();
        let outcome = self.0.issue_registry_token(request).await;
        let stranger = stranger(request.context.as_ref());
        let response = self.0.note_refusal("issue_registry_token", &stranger, outcome)?;
        Ok(Response::new(response))
    }

    async fn get_login_options(
        &self,
        _request: Request<GetLoginOptionsRequest>,
    ) -> Result<Response<GetLoginOptionsResponse>, Status> {
        Ok(Response::new(GetLoginOptionsResponse {
            options: self.0.issuers.logins().to_vec(),
        }))
    }
}

/// Whoever is refused a token is not known: what their credential says is not to be believed.
fn stranger(context: Option<&RequestContext>) -> Author {
    Author {
        request: context.cloned().unwrap_or_default(),
        ..Author::default()
    }
}
