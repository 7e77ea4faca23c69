//! A registry with an owner, workloads and people.

use roadstead_auth::Config;
use roadstead_proto::auth::v1::{
    Binding, ClaimMatch, Condition, CreateBindingRequest, CreateGroupRequest, CreateIdentityRequest,
    CreateRoleRequest, DeleteBindingRequest, DeleteGroupRequest, DeleteIdentityRequest, Group, Human,
    IamIdentity, PushPolicy, Resource, Role, SetPushPolicyRequest, WhoAmIRequest, WhoAmIResponse,
    binding_service_client::BindingServiceClient, create_identity_request::Rule,
    group_service_client::GroupServiceClient, identity_service_client::IdentityServiceClient,
    policy_service_client::PolicyServiceClient, role_service_client::RoleServiceClient,
};
use roadstead_rpc::{Peer, RpcChannel};
use roadstead_testkit::OidcIssuer;
use serde_json::{Value, json};
use tonic::{Response, Status};

use crate::harness::{AUDIENCE, Auth, by, config, issuer};

/// A registry whose owner is its developer; `workloads` is an issuer of builds, `people` one of persons.
pub(crate) struct Registry {
    pub(crate) auth: Auth,
    pub(crate) workloads: OidcIssuer,
    pub(crate) people: OidcIssuer,
}

pub(crate) fn configured(workloads: &OidcIssuer, people: &OidcIssuer) -> Config {
    config(json!({
        "dev": true,
        "issuers": [
            { "issuer": workloads.url(), "audience": AUDIENCE, "allow_private": true, "workload": true },
            { "issuer": people.url(), "audience": AUDIENCE, "allow_private": true },
        ],
    }))
}

impl Registry {
    pub(crate) async fn start() -> Self {
        let (workloads, clock, time) = issuer().await;
        let people = OidcIssuer::start(clock.clone()).await;
        let auth = Auth::start(configured(&workloads, &people), clock, time).await;
        Self {
            auth,
            workloads,
            people,
        }
    }

    /// Calls as the owner of everything.
    pub(crate) async fn owner(&self) -> Caller<'_> {
        self.holding(self.auth.owner().await)
    }

    /// Calls as a person, who may be without permissions or identity.
    pub(crate) async fn person(&self, subject: &str) -> Caller<'_> {
        let token = self
            .auth
            .access_token(&self.people, json!({ "sub": subject }))
            .await;
        self.holding(token)
    }

    /// Calls as a person who has a role.
    pub(crate) async fn person_with(&self, subject: &str, role: &str, at: Resource) -> Caller<'_> {
        let owner = self.owner().await;
        let id = owner.human(&self.people, subject).await;
        owner.bind(&id, role, at).await.unwrap();
        self.person(subject).await
    }

    /// Calls as a build with these claims.
    pub(crate) async fn build(&self, claims: Value) -> Caller<'_> {
        let token = self.auth.access_token(&self.workloads, claims).await;
        self.holding(token)
    }

    pub(crate) fn holding(&self, token: String) -> Caller<'_> {
        Caller {
            registry: self,
            token,
        }
    }
}

/// Somebody with an access token.
pub(crate) struct Caller<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) token: String,
}

impl Caller<'_> {
    fn channel(&self) -> RpcChannel {
        self.registry.auth.channel(Peer::Gateway)
    }

    pub(crate) fn groups(&self) -> GroupServiceClient<RpcChannel> {
        GroupServiceClient::new(self.channel())
    }

    pub(crate) fn identities(&self) -> IdentityServiceClient<RpcChannel> {
        IdentityServiceClient::new(self.channel())
    }

    pub(crate) fn roles(&self) -> RoleServiceClient<RpcChannel> {
        RoleServiceClient::new(self.channel())
    }

    pub(crate) fn bindings(&self) -> BindingServiceClient<RpcChannel> {
        BindingServiceClient::new(self.channel())
    }

    pub(crate) fn policies(&self) -> PolicyServiceClient<RpcChannel> {
        PolicyServiceClient::new(self.channel())
    }

    pub(crate) async fn create_group(&self, path: &str) -> Result<Group, Status> {
        self.create_group_as(path, false).await
    }

    pub(crate) async fn create_group_as(&self, path: &str, restore: bool) -> Result<Group, Status> {
        let request = CreateGroupRequest {
            path: path.to_owned(),
            display_name: String::new(),
            restore,
        };
        let answer = self.groups().create_group(by(&self.token, request)).await?;
        Ok(answer.into_inner().group.unwrap())
    }

    pub(crate) async fn delete_group(&self, path: &str) -> Result<(), Status> {
        let request = DeleteGroupRequest {
            path: path.to_owned(),
        };
        let answer = self.groups().delete_group(by(&self.token, request)).await;
        answer.map(drop)
    }

    pub(crate) async fn mark(&self, at: Resource, policy: PushPolicy) -> Result<(), Status> {
        let request = SetPushPolicyRequest {
            resource: Some(at),
            policy: policy.into(),
        };
        let answer = self.groups().set_push_policy(by(&self.token, request)).await;
        answer.map(drop)
    }

    pub(crate) async fn create_identity(
        &self,
        group: &str,
        name: &str,
        rule: Rule,
    ) -> Result<IamIdentity, Status> {
        let request = CreateIdentityRequest {
            group: group.to_owned(),
            name: name.to_owned(),
            description: String::new(),
            rule: Some(rule),
        };
        let answer = self
            .identities()
            .create_identity(by(&self.token, request))
            .await?;
        Ok(answer.into_inner().identity.unwrap())
    }

    /// Makes a person and returns their id.
    pub(crate) async fn human(&self, issuer: &OidcIssuer, subject: &str) -> String {
        let human = Human {
            issuer: issuer.url().to_owned(),
            subject: subject.to_owned(),
            email: String::new(),
        };
        self.create_identity("", "", Rule::Human(human)).await.unwrap().id
    }

    /// Makes an identity of builds with exactly this subject and returns its id.
    pub(crate) async fn workload(&self, group: &str, name: &str, subject: &str) -> String {
        let rule = self.registry.exact(subject);
        self.create_identity(group, name, Rule::ClaimMatch(rule))
            .await
            .unwrap()
            .id
    }

    pub(crate) async fn delete_identity(&self, reference: &str) -> Result<(), Status> {
        let request = DeleteIdentityRequest {
            identity: reference.to_owned(),
        };
        let answer = self.identities().delete_identity(by(&self.token, request)).await;
        answer.map(drop)
    }

    pub(crate) async fn create_role(
        &self,
        group: &str,
        name: &str,
        capabilities: &[&str],
    ) -> Result<Role, Status> {
        let request = CreateRoleRequest {
            group: group.to_owned(),
            name: name.to_owned(),
            description: String::new(),
            capabilities: capabilities.iter().map(ToString::to_string).collect(),
        };
        let answer = self.roles().create_role(by(&self.token, request)).await?;
        Ok(answer.into_inner().role.unwrap())
    }

    pub(crate) async fn bind(&self, identity: &str, role: &str, at: Resource) -> Result<Binding, Status> {
        self.bind_if(identity, role, at, &[]).await
    }

    pub(crate) async fn bind_if(
        &self,
        identity: &str,
        role: &str,
        at: Resource,
        conditions: &[(&str, &str)],
    ) -> Result<Binding, Status> {
        let condition = |(claim, value): &(&str, &str)| Condition {
            claim: (*claim).to_owned(),
            value: (*value).to_owned(),
            pattern: String::new(),
        };
        let request = CreateBindingRequest {
            identity: identity.to_owned(),
            role: role.to_owned(),
            resource: Some(at),
            conditions: conditions.iter().map(condition).collect(),
        };
        let answer = self.bindings().create_binding(by(&self.token, request)).await?;
        Ok(answer.into_inner().binding.unwrap())
    }

    pub(crate) async fn unbind(&self, id: &str) -> Result<(), Status> {
        let request = DeleteBindingRequest { id: id.to_owned() };
        let answer = self.bindings().delete_binding(by(&self.token, request)).await;
        answer.map(drop)
    }

    pub(crate) async fn who_am_i(&self) -> Result<WhoAmIResponse, Status> {
        let answer = self.policies().who_am_i(by(&self.token, WhoAmIRequest {})).await;
        answer.map(Response::into_inner)
    }

    /// What of `pull,push,delete` a registry token grants on a repository.
    pub(crate) async fn actions(&self, repository: &str) -> String {
        let asked = format!("repository:{repository}:pull,push,delete");
        let answer = self
            .registry
            .auth
            .registry_token(&self.token, &[&asked])
            .await
            .unwrap();
        let granted = answer.granted_scopes.first();
        let actions = granted.and_then(|scope| scope.rsplit_once(':'));
        actions.map_or(String::new(), |(_, actions)| actions.to_owned())
    }
}

impl Registry {
    /// A rule for builds with exactly this subject.
    pub(crate) fn exact(&self, subject: &str) -> ClaimMatch {
        ClaimMatch {
            issuer: self.workloads.url().to_owned(),
            subject: subject.to_owned(),
            ..ClaimMatch::default()
        }
    }
}
