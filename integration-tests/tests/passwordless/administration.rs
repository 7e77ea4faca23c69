//! The admin API as one caller sees it.

use anyhow::{Context as _, Result};
use roadstead_integration_tests::Cluster;
use roadstead_proto::auth::v1::binding_service_client::BindingServiceClient;
use roadstead_proto::auth::v1::group_service_client::GroupServiceClient;
use roadstead_proto::auth::v1::identity_service_client::IdentityServiceClient;
use roadstead_proto::auth::v1::policy_service_client::PolicyServiceClient;
use roadstead_proto::auth::v1::pull_token_service_client::PullTokenServiceClient;
use roadstead_proto::auth::v1::role_service_client::RoleServiceClient;
use roadstead_proto::auth::v1::{
    Binding, ClaimMatch, Condition, CreateBindingRequest, CreateGroupRequest, CreateIdentityRequest,
    CreatePullTokenRequest, CreatePullTokenResponse, DeleteBindingRequest, Human, IamIdentity, PushPolicy,
    Resource, ResourceKind, SetPushPolicyRequest, create_identity_request,
};
use roadstead_proto::events::v1::event_query_service_client::EventQueryServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// Puts a caller's token on each call.
#[derive(Clone)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    pub(crate) fn new(token: &str) -> Result<Self> {
        let value = MetadataValue::try_from(format!("Bearer {token}")).context("a token is ASCII")?;
        Ok(Self(Some(value)))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// A channel to the gateway.
pub(crate) async fn channel(address: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    endpoint.connect().await.context("connect to the gateway")
}

/// The admin API, called with one access token.
#[derive(Clone)]
pub(crate) struct Administration {
    channel: InterceptedService<Channel, Bearer>,
}

impl Administration {
    pub(crate) async fn of(cluster: &Cluster, access_token: &str) -> Result<Self> {
        let channel = channel(&cluster.address()).await?;
        Ok(Self {
            channel: InterceptedService::new(channel, Bearer::new(access_token)?),
        })
    }

    pub(crate) fn groups(&self) -> GroupServiceClient<InterceptedService<Channel, Bearer>> {
        GroupServiceClient::new(self.channel.clone())
    }

    pub(crate) fn identities(&self) -> IdentityServiceClient<InterceptedService<Channel, Bearer>> {
        IdentityServiceClient::new(self.channel.clone())
    }

    pub(crate) fn roles(&self) -> RoleServiceClient<InterceptedService<Channel, Bearer>> {
        RoleServiceClient::new(self.channel.clone())
    }

    pub(crate) fn bindings(&self) -> BindingServiceClient<InterceptedService<Channel, Bearer>> {
        BindingServiceClient::new(self.channel.clone())
    }

    pub(crate) fn policy(&self) -> PolicyServiceClient<InterceptedService<Channel, Bearer>> {
        PolicyServiceClient::new(self.channel.clone())
    }

    pub(crate) fn pull_tokens(&self) -> PullTokenServiceClient<InterceptedService<Channel, Bearer>> {
        PullTokenServiceClient::new(self.channel.clone())
    }

    pub(crate) fn events(&self) -> EventQueryServiceClient<InterceptedService<Channel, Bearer>> {
        EventQueryServiceClient::new(self.channel.clone())
    }

    pub(crate) async fn create_group(&self, path: &str) -> Result<(), Status> {
        let request = CreateGroupRequest {
            path: path.to_owned(),
            display_name: String::new(),
            restore: false,
        };
        self.groups().create_group(request).await.map(drop)
    }

    /// Makes an identity of a group that is known by the claims of its tokens.
    pub(crate) async fn create_claim_match(
        &self,
        group: &str,
        name: &str,
        rule: ClaimMatch,
    ) -> Result<IamIdentity, Status> {
        self.create_identity(group, name, create_identity_request::Rule::ClaimMatch(rule))
            .await
    }

    /// Makes a person known before their first login.
    pub(crate) async fn create_human(&self, issuer: &str, subject: &str) -> Result<IamIdentity, Status> {
        let rule = create_identity_request::Rule::Human(Human {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            email: String::new(),
        });
        self.create_identity("", "", rule).await
    }

    pub(crate) async fn create_identity(
        &self,
        group: &str,
        name: &str,
        rule: create_identity_request::Rule,
    ) -> Result<IamIdentity, Status> {
        let request = CreateIdentityRequest {
            group: group.to_owned(),
            name: name.to_owned(),
            description: String::new(),
            rule: Some(rule),
        };
        let response = self.identities().create_identity(request).await?.into_inner();
        response
            .identity
            .ok_or_else(|| Status::internal("no identity in the answer"))
    }

    /// Gives an identity a role.
    pub(crate) async fn bind(
        &self,
        identity: &str,
        role: &str,
        resource: Resource,
        conditions: &[(&str, &str)],
    ) -> Result<Binding, Status> {
        let conditions = conditions.iter().map(|(claim, value)| Condition {
            claim: (*claim).to_owned(),
            value: (*value).to_owned(),
            pattern: String::new(),
        });
        let request = CreateBindingRequest {
            identity: identity.to_owned(),
            role: role.to_owned(),
            resource: Some(resource),
            conditions: conditions.collect(),
        };
        let response = self.bindings().create_binding(request).await?.into_inner();
        response
            .binding
            .ok_or_else(|| Status::internal("no binding in the answer"))
    }

    pub(crate) async fn unbind(&self, id: &str) -> Result<(), Status> {
        let request = DeleteBindingRequest { id: id.to_owned() };
        self.bindings().delete_binding(request).await.map(drop)
    }

    pub(crate) async fn set_push_policy(&self, resource: Resource, policy: PushPolicy) -> Result<(), Status> {
        let request = SetPushPolicyRequest {
            resource: Some(resource),
            policy: policy.into(),
        };
        self.groups().set_push_policy(request).await.map(drop)
    }

    pub(crate) async fn create_pull_token(
        &self,
        name: &str,
        resources: Vec<Resource>,
    ) -> Result<CreatePullTokenResponse, Status> {
        let request = CreatePullTokenRequest {
            name: name.to_owned(),
            resources,
            ttl: 3_600,
            networks: Vec::new(),
        };
        let response = self.pull_tokens().create_pull_token(request).await?;
        Ok(response.into_inner())
    }
}

/// A group with all that is below it.
pub(crate) fn group(path: &str) -> Resource {
    Resource {
        kind: ResourceKind::Group.into(),
        path: path.to_owned(),
    }
}

/// One repository alone.
pub(crate) fn repository(name: &str) -> Resource {
    Resource {
        kind: ResourceKind::Repository.into(),
        path: name.to_owned(),
    }
}
