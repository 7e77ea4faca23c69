use std::time::Duration;

use roadstead_authn::Act;
use roadstead_proto::auth::v1::{
    ExchangeRequest, ExchangeResponse, IssueRegistryTokenRequest, IssueRegistryTokenResponse,
    token_service_server::TokenService,
};
use tonic::{Request, Response, Status};

use super::{Service, State, identity};
use crate::{
    domain::{decide, parse_scopes},
    error::Error,
};

#[tonic::async_trait]
impl TokenService for Service {
    async fn exchange(
        &self,
        request: Request<ExchangeRequest>,
    ) -> Result<Response<ExchangeResponse>, Status> {
        let response = self.0.exchange(&request.get_ref().identity_token).await?;
        Ok(Response::new(response))
    }

    async fn issue_registry_token(
        &self,
        request: Request<IssueRegistryTokenRequest>,
    ) -> Result<Response<IssueRegistryTokenResponse>, Status> {
        let response = self.0.issue_registry_token(request.get_ref())?;
        Ok(Response::new(response))
    }
}

impl State {
    async fn exchange(&self, token: &str) -> Result<ExchangeResponse, Error> {
        let upstream = self.issuers.verify(token, self.clock.unix_seconds()).await?;
        let act = Act {
            claims: self.grants.relevant_claims(&upstream.issuer, &upstream.claims),
            issuer: upstream.issuer,
            subject: upstream.subject,
        };
        let identity = identity(&act.issuer, &act.subject);
        let signed = self.tokens.sign_access(act)?;
        tracing::info!(
            issuer = identity.issuer,
            subject = identity.subject,
            "exchanged an identity token"
        );
        Ok(ExchangeResponse {
            access_token: signed.token,
            expires_in: seconds(signed.life),
            issued_at: signed.issued_at,
            identity: Some(identity),
        })
    }

    fn issue_registry_token(
        &self,
        request: &IssueRegistryTokenRequest,
    ) -> Result<IssueRegistryTokenResponse, Error> {
        if !request.service.is_empty() && request.service != self.tokens.service() {
            return Err(Error::ServiceUnknown(self.tokens.service().to_owned()));
        }
        let act = match request.credential.as_str() {
            "" => None,
            credential => Some(self.tokens.verify_access(credential)?.act),
        };
        let decision = decide(parse_scopes(&request.scopes)?, &self.grants, act.as_ref());
        let signed = self.tokens.sign_registry(act, &decision)?;
        Ok(IssueRegistryTokenResponse {
            token: signed.token,
            expires_in: seconds(signed.life),
            issued_at: signed.issued_at,
            granted_scopes: decision.granted.iter().map(ToString::to_string).collect(),
        })
    }
}

fn seconds(life: Duration) -> u32 {
    u32::try_from(life.as_secs()).unwrap_or(u32::MAX)
}
