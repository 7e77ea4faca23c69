use roadstead_proto::auth::v1::{
    CreateIdentityRequest, CreateIdentityResponse, DeleteIdentityRequest, DeleteIdentityResponse,
    GetIdentityRequest, GetIdentityResponse, ListIdentitiesRequest, ListIdentitiesResponse,
    UpdateIdentityRequest, UpdateIdentityResponse, create_identity_request,
    identity_service_server::IdentityService, update_identity_request,
};
use tonic::{Request, Response, Status};

use super::{Service, State, encode};
use crate::{
    domain::Rule,
    error::Error,
    iam::{
        Page, group_path,
        identities::{self, Proposed},
        own_name, plain_text, rule,
    },
};

impl State {
    fn parse_new_rule(
        &self,
        given: Option<&create_identity_request::Rule>,
    ) -> Result<(Rule, Option<i64>), Error> {
        use create_identity_request::Rule as Given;
        match given.ok_or_else(|| Error::IdentityInvalid("a rule is required".to_owned()))? {
            Given::ClaimMatch(given) => Ok((Rule::ClaimMatch(rule::claim_match(given, &self.rules)?), None)),
            Given::Static(given) => {
                let now = self.clock.unix_seconds();
                let (keys, end) = rule::static_keys(given, &self.rules, &self.public, now)?;
                Ok((Rule::Static(keys), Some(end)))
            }
            Given::Human(given) => Ok((Rule::Human(rule::human(given, &self.rules)?), None)),
            Given::Service(given) => Ok((rule::service(given)?, None)),
        }
    }

    fn parse_changed_rule(
        &self,
        given: &update_identity_request::Rule,
    ) -> Result<(Rule, Option<i64>), Error> {
        use update_identity_request::Rule as Given;
        let given = match given.clone() {
            Given::ClaimMatch(given) => create_identity_request::Rule::ClaimMatch(given),
            Given::Static(given) => create_identity_request::Rule::Static(given),
        };
        self.parse_new_rule(Some(&given))
    }

    fn parse_proposed(&self, asked: &CreateIdentityRequest) -> Result<Proposed, Error> {
        let (rule, expires_at) = self.parse_new_rule(asked.rule.as_ref())?;
        let name = match (&rule, asked.name.as_str()) {
            (Rule::Human(_), "") => None,
            (Rule::Human(_), _) => {
                return Err(Error::IdentityInvalid("a person is named by id".to_owned()));
            }
            (_, name) => Some(own_name(name)?),
        };
        Ok(Proposed {
            group: group_path(&asked.group)?,
            name,
            description: plain_text(&asked.description)?,
            rule,
            expires_at,
        })
    }
}

#[tonic::async_trait]
impl IdentityService for Service {
    async fn create_identity(
        &self,
        request: Request<CreateIdentityRequest>,
    ) -> Result<Response<CreateIdentityResponse>, Status> {
        let proposed = self.0.parse_proposed(request.get_ref())?;
        let identity = self
            .0
            .write_as(&request, "create_identity", move |tx, caller| {
                identities::create(tx, caller, proposed)
            })
            .await?;
        Ok(Response::new(CreateIdentityResponse {
            identity: Some(encode::identity(identity)),
        }))
    }

    async fn get_identity(
        &self,
        request: Request<GetIdentityRequest>,
    ) -> Result<Response<GetIdentityResponse>, Status> {
        let reference = &request.get_ref().identity;
        let identity = self
            .0
            .read_as(&request, "get_identity", |snapshot, caller| {
                identities::get(snapshot, caller, reference)
            })
            .await?;
        Ok(Response::new(GetIdentityResponse {
            identity: Some(encode::identity(identity)),
        }))
    }

    async fn list_identities(
        &self,
        request: Request<ListIdentitiesRequest>,
    ) -> Result<Response<ListIdentitiesResponse>, Status> {
        let asked = request.get_ref();
        let group = group_path(&asked.group)?;
        let kind = (!asked.kind.is_empty()).then(|| asked.kind.clone());
        let page = Page {
            size: asked.page_size,
            token: asked.page_token.clone(),
        };
        let (identities, next_page_token) = self
            .0
            .scan_as(&request, "list_identities", move |snapshot, caller| {
                identities::list(snapshot, caller, &group, kind.as_deref(), &page)
            })
            .await?;
        Ok(Response::new(ListIdentitiesResponse {
            identities: identities.into_iter().map(encode::identity).collect(),
            next_page_token,
        }))
    }

    async fn update_identity(
        &self,
        request: Request<UpdateIdentityRequest>,
    ) -> Result<Response<UpdateIdentityResponse>, Status> {
        let asked = request.get_ref();
        let reference = asked.identity.clone();
        let description = plain_text(&asked.description)?;
        let rule = asked
            .rule
            .as_ref()
            .map(|rule| self.0.parse_changed_rule(rule))
            .transpose()?;
        let identity = self
            .0
            .write_as(&request, "update_identity", move |tx, caller| {
                identities::update(tx, caller, &reference, description, rule)
            })
            .await?;
        Ok(Response::new(UpdateIdentityResponse {
            identity: Some(encode::identity(identity)),
        }))
    }

    async fn delete_identity(
        &self,
        request: Request<DeleteIdentityRequest>,
    ) -> Result<Response<DeleteIdentityResponse>, Status> {
        let reference = request.get_ref().identity.clone();
        self.0
            .write_as(&request, "delete_identity", move |tx, caller| {
                identities::delete(tx, caller, &reference)
            })
            .await?;
        Ok(Response::new(DeleteIdentityResponse {}))
    }
}
