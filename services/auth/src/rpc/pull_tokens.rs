use roadstead_proto::auth::v1::{
    CreatePullTokenRequest, CreatePullTokenResponse, ListPullTokensRequest, ListPullTokensResponse,
    PullToken, RevokePullTokenRequest, RevokePullTokenResponse, RotatePullTokenRequest,
    RotatePullTokenResponse, pull_token_service_server::PullTokenService,
};
use secrecy::ExposeSecret as _;
use tonic::{Request, Response, Status};

use super::{Service, State, encode};
use crate::{
    iam::{
        Page, group_path,
        pull_tokens::{self, Described, Wanted},
    },
    store::Result,
};

#[tonic::async_trait]
impl PullTokenService for Service {
    async fn create_pull_token(
        &self,
        request: Request<CreatePullTokenRequest>,
    ) -> Result<Response<CreatePullTokenResponse>, Status> {
        let asked = request.get_ref();
        let resources = asked
            .resources
            .iter()
            .map(|resource| encode::parse_resource(Some(resource)))
            .collect::<Result<_>>()?;
        let wanted = Wanted::parse(&asked.name, resources, asked.ttl, &asked.networks)?;
        let made = self
            .0
            .write_as(&request, "create_pull_token", move |tx, caller| {
                pull_tokens::create(tx, caller, &wanted)
            })
            .await?;
        Ok(Response::new(CreatePullTokenResponse {
            username: made.token.row.name.clone(),
            pull_token: Some(self.0.pull_token(made.token)),
            token: made.secret.expose_secret().to_owned(),
        }))
    }

    async fn list_pull_tokens(
        &self,
        request: Request<ListPullTokensRequest>,
    ) -> Result<Response<ListPullTokensResponse>, Status> {
        let asked = request.get_ref();
        let (group, all) = (group_path(&asked.group)?, asked.all);
        let page = Page {
            size: asked.page_size,
            token: asked.page_token.clone(),
        };
        let (tokens, next_page_token) = self
            .0
            .scan_as(&request, "list_pull_tokens", move |snapshot, caller| {
                pull_tokens::list(snapshot, caller, &group, all, &page)
            })
            .await?;
        Ok(Response::new(ListPullTokensResponse {
            pull_tokens: tokens.into_iter().map(|token| self.0.pull_token(token)).collect(),
            next_page_token,
        }))
    }

    async fn rotate_pull_token(
        &self,
        request: Request<RotatePullTokenRequest>,
    ) -> Result<Response<RotatePullTokenResponse>, Status> {
        let RotatePullTokenRequest { id, ttl, overlap } = request.get_ref().clone();
        let made = self
            .0
            .write_as(&request, "rotate_pull_token", move |tx, caller| {
                pull_tokens::rotate(tx, caller, &id, (ttl, overlap))
            })
            .await?;
        Ok(Response::new(RotatePullTokenResponse {
            username: made.token.row.name.clone(),
            pull_token: Some(self.0.pull_token(made.token)),
            token: made.secret.expose_secret().to_owned(),
        }))
    }

    async fn revoke_pull_token(
        &self,
        request: Request<RevokePullTokenRequest>,
    ) -> Result<Response<RevokePullTokenResponse>, Status> {
        let id = request.get_ref().id.clone();
        self.0
            .write_as(&request, "revoke_pull_token", move |tx, caller| {
                pull_tokens::revoke(tx, caller, &id)
            })
            .await?;
        Ok(Response::new(RevokePullTokenResponse {}))
    }
}

impl State {
    fn pull_token(&self, token: Described) -> PullToken {
        let Described { row, resources } = token;
        // A use may not be written down yet.
        let last = self.uses.of(&row.id);
        let (last_used_at, last_used_from) = match last {
            Some(last) => (last.at, last.from),
            None => (
                row.last_used_at.unwrap_or_default(),
                row.last_used_from.unwrap_or_default(),
            ),
        };
        PullToken {
            name: match row.group.as_str() {
                "" => row.name,
                group => format!("{group}/{}", row.name),
            },
            id: row.id,
            resources: resources.iter().map(encode::resource).collect(),
            networks: row.networks,
            created_at: row.created_at,
            created_by: row.created_by,
            expires_at: row.expires_at / 1000,
            last_used_at,
            last_used_from,
            revoked_at: row.revoked_at.unwrap_or_default(),
        }
    }
}
