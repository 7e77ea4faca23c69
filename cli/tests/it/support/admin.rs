//! The administration: it notes what it was asked and gives back what it was given.

use std::collections::HashMap;

use roadstead_proto::auth::v1::{
    Binding, ClaimMatch, Condition, CreateBindingRequest, CreateBindingResponse, CreateGroupRequest,
    CreateGroupResponse, CreateIdentityRequest, CreateIdentityResponse, CreatePullTokenRequest,
    CreatePullTokenResponse, CreateRoleRequest, CreateRoleResponse, DeleteBindingRequest,
    DeleteBindingResponse, DeleteGroupRequest, DeleteGroupResponse, DeleteIdentityRequest,
    DeleteIdentityResponse, DeleteRoleRequest, DeleteRoleResponse, ExplainRequest, ExplainResponse,
    Explanation, GetBindingRequest, GetBindingResponse, GetGroupRequest, GetGroupResponse,
    GetIdentityRequest, GetIdentityResponse, GetRoleRequest, GetRoleResponse, Group, IamIdentity, Identity,
    IdentitySummary, ListBindingsRequest, ListBindingsResponse, ListGroupsRequest, ListGroupsResponse,
    ListIdentitiesRequest, ListIdentitiesResponse, ListPullTokensRequest, ListPullTokensResponse,
    ListPushPoliciesRequest, ListPushPoliciesResponse, ListRolesRequest, ListRolesResponse, Narrowing,
    PullToken, PushPolicy, Resource, ResourceKind, ResourcePolicy, RevokePullTokenRequest,
    RevokePullTokenResponse, Role, RotatePullTokenRequest, RotatePullTokenResponse, SetPushPolicyRequest,
    SetPushPolicyResponse, Step, TestClaimsRequest, TestClaimsResponse, UpdateGroupRequest,
    UpdateGroupResponse, UpdateIdentityRequest, UpdateIdentityResponse, UpdateRoleRequest,
    UpdateRoleResponse, WhoAmIRequest, WhoAmIResponse, binding_service_server::BindingService,
    create_identity_request, group_service_server::GroupService, iam_identity::Rule,
    identity_service_server::IdentityService, policy_service_server::PolicyService,
    pull_token_service_server::PullTokenService, role_service_server::RoleService,
};
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::registry::Shared;

/// 2026-01-01T00:00:00Z.
const DAY: i64 = 1_767_225_600;

type Answer<T> = Result<Response<T>, Status>;

#[expect(clippy::unnecessary_wraps, reason = "what every handler ends with")]
fn answer<T>(message: T) -> Answer<T> {
    Ok(Response::new(message))
}

/// What the registry says when it will not, by a word in the name.
fn refusal(name: &str) -> Result<(), Status> {
    let (code, reason, words) = match name {
        "denied" => (
            Code::PermissionDenied,
            "CAPABILITY_MISSING",
            "dev needs groups.create at denied",
        ),
        "gone" => (
            Code::FailedPrecondition,
            "PATH_TOMBSTONED",
            "the path was deleted",
        ),
        "missing" => (Code::NotFound, "NOT_FOUND", "there is no such thing"),
        "taken" => (Code::AlreadyExists, "ALREADY_EXISTS", "the name is taken"),
        _ => return Ok(()),
    };
    let metadata = HashMap::from([
        ("resource".to_owned(), name.to_owned()),
        ("capability".to_owned(), "groups.create".to_owned()),
    ]);
    let details = ErrorDetails::with_error_info(reason, "roadstead", metadata);
    Err(Status::with_error_details(code, words, details))
}

fn group(path: &str) -> Group {
    Group {
        path: path.to_owned(),
        display_name: "Of\u{1b}[2J tests".to_owned(),
        created_at: DAY * 1_000,
        created_by: "dev".to_owned(),
    }
}

#[tonic::async_trait]
impl GroupService for Shared {
    async fn create_group(&self, request: Request<CreateGroupRequest>) -> Answer<CreateGroupResponse> {
        let request = self.called("CreateGroup", request)?;
        refusal(&request.path)?;
        answer(CreateGroupResponse {
            group: Some(group(&request.path)),
        })
    }

    async fn get_group(&self, request: Request<GetGroupRequest>) -> Answer<GetGroupResponse> {
        let request = self.called("GetGroup", request)?;
        refusal(&request.path)?;
        answer(GetGroupResponse {
            group: Some(group(&request.path)),
        })
    }

    /// Two pages.
    async fn list_groups(&self, request: Request<ListGroupsRequest>) -> Answer<ListGroupsResponse> {
        let second = request.get_ref().page_token == "second";
        let name = if second { "ListGroups2" } else { "ListGroups" };
        self.called(name, request)?;
        answer(ListGroupsResponse {
            groups: vec![group(if second { "acme/web" } else { "acme" })],
            next_page_token: if second {
                String::new()
            } else {
                "second".to_owned()
            },
        })
    }

    async fn update_group(&self, request: Request<UpdateGroupRequest>) -> Answer<UpdateGroupResponse> {
        let request = self.called("UpdateGroup", request)?;
        answer(UpdateGroupResponse {
            group: Some(group(&request.path)),
        })
    }

    async fn delete_group(&self, request: Request<DeleteGroupRequest>) -> Answer<DeleteGroupResponse> {
        self.called("DeleteGroup", request)?;
        answer(DeleteGroupResponse {})
    }

    async fn set_push_policy(&self, request: Request<SetPushPolicyRequest>) -> Answer<SetPushPolicyResponse> {
        self.called("SetPushPolicy", request)?;
        answer(SetPushPolicyResponse {})
    }

    async fn list_push_policies(
        &self,
        request: Request<ListPushPoliciesRequest>,
    ) -> Answer<ListPushPoliciesResponse> {
        self.called("ListPushPolicies", request)?;
        answer(ListPushPoliciesResponse {
            policies: vec![ResourcePolicy {
                resource: Some(at_group("acme")),
                policy: PushPolicy::WorkloadOnly.into(),
                set_at: DAY * 1_000,
                set_by: "dev".to_owned(),
            }],
            next_page_token: String::new(),
        })
    }
}

fn at_group(path: &str) -> Resource {
    Resource {
        kind: ResourceKind::Group.into(),
        path: path.to_owned(),
    }
}

fn identity(name: &str, rule: Option<Rule>) -> IamIdentity {
    IamIdentity {
        id: "idn_1".to_owned(),
        name: name.to_owned(),
        description: "as it was".to_owned(),
        rule,
        ..IamIdentity::default()
    }
}

fn workload() -> Rule {
    Rule::ClaimMatch(ClaimMatch {
        issuer: "https://ci.example".to_owned(),
        subject: "repo:acme/web".to_owned(),
        ..ClaimMatch::default()
    })
}

#[tonic::async_trait]
impl IdentityService for Shared {
    async fn create_identity(
        &self,
        request: Request<CreateIdentityRequest>,
    ) -> Answer<CreateIdentityResponse> {
        let request = self.called("CreateIdentity", request)?;
        let rule = request.rule.map(|rule| match rule {
            create_identity_request::Rule::ClaimMatch(rule) => Rule::ClaimMatch(rule),
            create_identity_request::Rule::Static(rule) => Rule::Static(rule),
            create_identity_request::Rule::Human(rule) => Rule::Human(rule),
            create_identity_request::Rule::Service(rule) => Rule::Service(rule),
        });
        answer(CreateIdentityResponse {
            identity: Some(identity(&format!("{}/{}", request.group, request.name), rule)),
        })
    }

    async fn get_identity(&self, request: Request<GetIdentityRequest>) -> Answer<GetIdentityResponse> {
        let request = self.called("GetIdentity", request)?;
        refusal(&request.identity)?;
        answer(GetIdentityResponse {
            identity: Some(identity(&request.identity, Some(workload()))),
        })
    }

    async fn list_identities(
        &self,
        request: Request<ListIdentitiesRequest>,
    ) -> Answer<ListIdentitiesResponse> {
        self.called("ListIdentities", request)?;
        answer(ListIdentitiesResponse {
            identities: vec![identity("acme/ci", Some(workload()))],
            next_page_token: String::new(),
        })
    }

    async fn update_identity(
        &self,
        request: Request<UpdateIdentityRequest>,
    ) -> Answer<UpdateIdentityResponse> {
        let request = self.called("UpdateIdentity", request)?;
        answer(UpdateIdentityResponse {
            identity: Some(identity(&request.identity, Some(workload()))),
        })
    }

    async fn delete_identity(
        &self,
        request: Request<DeleteIdentityRequest>,
    ) -> Answer<DeleteIdentityResponse> {
        self.called("DeleteIdentity", request)?;
        answer(DeleteIdentityResponse {})
    }
}

fn role(name: &str) -> Role {
    Role {
        name: name.to_owned(),
        built_in: false,
        description: "as it was".to_owned(),
        capabilities: vec!["repo.pull".to_owned(), "repo.list".to_owned()],
    }
}

#[tonic::async_trait]
impl RoleService for Shared {
    async fn create_role(&self, request: Request<CreateRoleRequest>) -> Answer<CreateRoleResponse> {
        let request = self.called("CreateRole", request)?;
        refusal(&request.name)?;
        answer(CreateRoleResponse {
            role: Some(role(&format!("{}/{}", request.group, request.name))),
        })
    }

    async fn get_role(&self, request: Request<GetRoleRequest>) -> Answer<GetRoleResponse> {
        let request = self.called("GetRole", request)?;
        answer(GetRoleResponse {
            role: Some(role(&request.name)),
        })
    }

    async fn list_roles(&self, request: Request<ListRolesRequest>) -> Answer<ListRolesResponse> {
        self.called("ListRoles", request)?;
        answer(ListRolesResponse {
            roles: vec![role("acme/deployer")],
            next_page_token: String::new(),
        })
    }

    async fn update_role(&self, request: Request<UpdateRoleRequest>) -> Answer<UpdateRoleResponse> {
        let request = self.called("UpdateRole", request)?;
        answer(UpdateRoleResponse {
            role: Some(role(&request.name)),
        })
    }

    async fn delete_role(&self, request: Request<DeleteRoleRequest>) -> Answer<DeleteRoleResponse> {
        self.called("DeleteRole", request)?;
        answer(DeleteRoleResponse {})
    }
}

fn binding() -> Binding {
    Binding {
        id: "bnd_1".to_owned(),
        identity: Some(summary()),
        role: "registry.push".to_owned(),
        resource: Some(at_group("acme")),
        conditions: vec![Condition {
            claim: "environment".to_owned(),
            value: "production".to_owned(),
            pattern: String::new(),
        }],
        created_at: DAY * 1_000,
        created_by: "dev".to_owned(),
    }
}

fn summary() -> IdentitySummary {
    IdentitySummary {
        id: "idn_1".to_owned(),
        name: "acme/ci".to_owned(),
        kind: "claim_match".to_owned(),
    }
}

#[tonic::async_trait]
impl BindingService for Shared {
    async fn create_binding(&self, request: Request<CreateBindingRequest>) -> Answer<CreateBindingResponse> {
        let request = self.called("CreateBinding", request)?;
        refusal(&request.identity).map_err(|status| {
            let details = status.get_error_details();
            Status::with_error_details(status.code(), "the identity is unknown", details)
        })?;
        answer(CreateBindingResponse {
            binding: Some(binding()),
        })
    }

    async fn get_binding(&self, request: Request<GetBindingRequest>) -> Answer<GetBindingResponse> {
        self.called("GetBinding", request)?;
        answer(GetBindingResponse {
            binding: Some(binding()),
        })
    }

    async fn list_bindings(&self, request: Request<ListBindingsRequest>) -> Answer<ListBindingsResponse> {
        self.called("ListBindings", request)?;
        answer(ListBindingsResponse {
            bindings: vec![binding()],
            next_page_token: String::new(),
        })
    }

    async fn delete_binding(&self, request: Request<DeleteBindingRequest>) -> Answer<DeleteBindingResponse> {
        self.called("DeleteBinding", request)?;
        answer(DeleteBindingResponse {})
    }
}

/// Everybody may pull, nobody may do anything else.
fn explanation(repository: &str, action: &str) -> Explanation {
    Explanation {
        allowed: action == "pull",
        summary: format!("acme/ci may only pull, not {action}"),
        capability: format!("repo.{action}"),
        repository: repository.to_owned(),
        identities: vec![summary()],
        steps: vec![Step {
            holds: true,
            subject: "binding bnd_1 (registry.pull at acme)".to_owned(),
            finding: "gives repo.pull".to_owned(),
        }],
        next_commands: vec![format!(
            "roadstead iam bindings create --identity acme/ci --role registry.push --repo {repository}"
        )],
    }
}

#[tonic::async_trait]
impl PolicyService for Shared {
    async fn explain(&self, request: Request<ExplainRequest>) -> Answer<ExplainResponse> {
        let name = match request.get_ref().action.as_str() {
            "pull" => "ExplainPull",
            "push" => "ExplainPush",
            _ => "ExplainOther",
        };
        let request = self.called(name, request)?;
        refusal(&request.identity)?;
        answer(ExplainResponse {
            explanation: Some(explanation(&request.repository, &request.action)),
        })
    }

    async fn test_claims(&self, request: Request<TestClaimsRequest>) -> Answer<TestClaimsResponse> {
        let request = self.called("TestClaims", request)?;
        answer(TestClaimsResponse {
            explanation: Some(explanation(&request.repository, &request.action)),
        })
    }

    async fn who_am_i(&self, request: Request<WhoAmIRequest>) -> Answer<WhoAmIResponse> {
        self.called("WhoAmI", request)?;
        answer(WhoAmIResponse {
            upstream: Some(Identity {
                issuer: "https://issuer.example".to_owned(),
                subject: "dev".to_owned(),
            }),
            identities: vec![summary()],
            expires_at: DAY,
            bindings: vec![binding()],
            narrowing: Some(Narrowing {
                resources: vec!["acme/web".to_owned()],
                capabilities: Vec::new(),
            }),
        })
    }
}

fn pull_token(name: &str) -> PullToken {
    PullToken {
        id: "ptk_1".to_owned(),
        name: name.to_owned(),
        resources: vec![at_group("acme")],
        networks: vec!["10.0.0.0/8".to_owned()],
        created_at: DAY * 1_000,
        created_by: "dev".to_owned(),
        expires_at: DAY + 86_400,
        last_used_at: 0,
        last_used_from: String::new(),
        revoked_at: 0,
    }
}

#[tonic::async_trait]
impl PullTokenService for Shared {
    async fn create_pull_token(
        &self,
        request: Request<CreatePullTokenRequest>,
    ) -> Answer<CreatePullTokenResponse> {
        let request = self.called("CreatePullToken", request)?;
        refusal(&request.name)?;
        answer(CreatePullTokenResponse {
            pull_token: Some(pull_token(&request.name)),
            username: "pull-token".to_owned(),
            token: "rspt_1_secret".to_owned(),
        })
    }

    async fn list_pull_tokens(
        &self,
        request: Request<ListPullTokensRequest>,
    ) -> Answer<ListPullTokensResponse> {
        self.called("ListPullTokens", request)?;
        answer(ListPullTokensResponse {
            pull_tokens: vec![pull_token("acme/staging")],
            next_page_token: String::new(),
        })
    }

    async fn rotate_pull_token(
        &self,
        request: Request<RotatePullTokenRequest>,
    ) -> Answer<RotatePullTokenResponse> {
        self.called("RotatePullToken", request)?;
        answer(RotatePullTokenResponse {
            pull_token: Some(pull_token("acme/staging")),
            username: "pull-token".to_owned(),
            token: "rspt_1_other".to_owned(),
        })
    }

    async fn revoke_pull_token(
        &self,
        request: Request<RevokePullTokenRequest>,
    ) -> Answer<RevokePullTokenResponse> {
        self.called("RevokePullToken", request)?;
        answer(RevokePullTokenResponse {})
    }
}
