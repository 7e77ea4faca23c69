//! The RPCs that clients reach through the gateway. They carry an access token, and the service decides.

use prost::Message;
use roadstead_proto::auth::v1::{
    ClaimMatch, CreateBindingRequest, CreateGroupRequest, CreateIdentityRequest, CreatePullTokenRequest,
    CreateRoleRequest, DeleteBindingRequest, DeleteGroupRequest, DeleteIdentityRequest, DeleteRoleRequest,
    ExplainRequest, GetBindingRequest, GetGroupRequest, GetIdentityRequest, GetRoleRequest,
    ListBindingsRequest, ListGroupsRequest, ListIdentitiesRequest, ListPullTokensRequest,
    ListPushPoliciesRequest, ListRolesRequest, PushPolicy, RevokePullTokenRequest, RotatePullTokenRequest,
    SetPushPolicyRequest, TestClaimsRequest, UpdateGroupRequest, UpdateIdentityRequest, UpdateRoleRequest,
    WhoAmIRequest, create_identity_request,
};
use roadstead_proto::events::v1::ListEventsRequest;
use roadstead_proto::metadata::v1::ListTagHistoryRequest;
use roadstead_testkit::GitHubJob;
use serde_json::json;

use super::callers::{CALLERS, Caller};
use super::cells::Cell::{self, Bare, Denied, Expired, Full, Hidden, Invalid, Lacks, Missing};
use super::stage::{GROUP, REPOSITORY, Stage};
use crate::administration::{group, repository};
use crate::organisation::{AUDIENCE, exactly};

/// One RPC, and its answer to each caller. The number tells apart what calls use up.
pub(crate) struct Row {
    pub(crate) method: String,
    pub(crate) request: fn(&Stage, &Caller, usize) -> Vec<u8>,
    pub(crate) cells: [Cell; CALLERS.len()],
}

/// A row of the administration: without a good token it tells nothing but that.
fn row(method: &str, cells: [Cell; 5], request: fn(&Stage, &Caller, usize) -> Vec<u8>) -> Row {
    let [other, viewer, puller, pusher, owner] = cells;
    Row {
        method: format!("/roadstead.{method}"),
        request,
        cells: [Missing, Invalid, Expired, other, viewer, puller, pusher, owner],
    }
}

fn bytes(message: &impl Message) -> Vec<u8> {
    message.encode_to_vec()
}

/// Cells: other group, viewer, puller, pusher, owner.
pub(crate) fn rows() -> Vec<Row> {
    [
        groups(),
        identities(),
        roles(),
        bindings(),
        policy(),
        pull_tokens(),
        logs(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[rustfmt::skip] // The answers stand one above the other.
fn groups() -> Vec<Row> {
    vec![
        row("auth.v1.GroupService/CreateGroup", [Lacks, Lacks, Lacks, Lacks, Full], |_, _, turn| {
            bytes(&CreateGroupRequest { path: format!("{GROUP}/made-{turn}"), ..Default::default() })
        }),
        row("auth.v1.GroupService/GetGroup", [Hidden, Full, Hidden, Hidden, Full], |_, _, _| {
            bytes(&GetGroupRequest { path: GROUP.into() })
        }),
        row("auth.v1.GroupService/ListGroups", [Bare, Full, Bare, Bare, Full], |_, _, _| {
            bytes(&ListGroupsRequest { path: GROUP.into(), ..Default::default() })
        }),
        row("auth.v1.GroupService/UpdateGroup", [Lacks, Lacks, Lacks, Lacks, Full], |_, _, turn| {
            bytes(&UpdateGroupRequest { path: GROUP.into(), display_name: format!("Acme {turn}") })
        }),
        row("auth.v1.GroupService/DeleteGroup", [Lacks, Lacks, Lacks, Lacks, Bare], |_, _, turn| {
            bytes(&DeleteGroupRequest { path: format!("{GROUP}/gone-{turn}") })
        }),
        row("auth.v1.GroupService/SetPushPolicy", [Lacks, Lacks, Lacks, Lacks, Bare], |_, _, turn| {
            bytes(&SetPushPolicyRequest { resource: Some(repository(&format!("{GROUP}/closed-{turn}"))), policy: PushPolicy::WorkloadOnly.into() })
        }),
        row("auth.v1.GroupService/ListPushPolicies", [Bare, Full, Bare, Bare, Full], |_, _, _| {
            bytes(&ListPushPoliciesRequest { path: GROUP.into(), ..Default::default() })
        }),
    ]
}

fn rule(turn: usize) -> ClaimMatch {
    exactly(&GitHubJob::on_branch(REPOSITORY, &format!("made-{turn}")).workload())
}

#[rustfmt::skip] // The answers stand one above the other.
fn identities() -> Vec<Row> {
    vec![
        row("auth.v1.IdentityService/CreateIdentity", [Lacks, Lacks, Lacks, Lacks, Full], |_, _, turn| {
            let rule = create_identity_request::Rule::ClaimMatch(rule(turn));
            bytes(&CreateIdentityRequest { group: GROUP.into(), name: format!("made-identity-{turn}"), rule: Some(rule), ..Default::default() })
        }),
        row("auth.v1.IdentityService/GetIdentity", [Hidden, Full, Hidden, Hidden, Full], |stage, _, _| {
            bytes(&GetIdentityRequest { identity: stage.identity.clone() })
        }),
        row("auth.v1.IdentityService/ListIdentities", [Bare, Full, Bare, Bare, Full], |_, _, _| {
            bytes(&ListIdentitiesRequest { group: GROUP.into(), ..Default::default() })
        }),
        row("auth.v1.IdentityService/UpdateIdentity", [Hidden, Lacks, Hidden, Hidden, Full], |stage, _, turn| {
            bytes(&UpdateIdentityRequest { identity: stage.identity.clone(), description: format!("described {turn} times"), rule: None })
        }),
        row("auth.v1.IdentityService/DeleteIdentity", [Hidden, Lacks, Hidden, Hidden, Bare], |stage, _, turn| {
            bytes(&DeleteIdentityRequest { identity: stage.identities[turn].clone() })
        }),
    ]
}

#[rustfmt::skip] // The answers stand one above the other.
fn roles() -> Vec<Row> {
    vec![
        row("auth.v1.RoleService/CreateRole", [Lacks, Lacks, Lacks, Lacks, Full], |_, _, turn| {
            bytes(&CreateRoleRequest { group: GROUP.into(), name: format!("made-role-{turn}"), capabilities: vec!["repo.pull".into()], ..Default::default() })
        }),
        row("auth.v1.RoleService/GetRole", [Hidden, Full, Hidden, Hidden, Full], |_, _, _| {
            bytes(&GetRoleRequest { name: format!("{GROUP}/deployer") })
        }),
        // The built-in ones are no secret.
        row("auth.v1.RoleService/ListRoles", [Full, Full, Full, Full, Full], |_, _, _| {
            bytes(&ListRolesRequest { group: GROUP.into(), ..Default::default() })
        }),
        row("auth.v1.RoleService/UpdateRole", [Hidden, Lacks, Hidden, Hidden, Full], |_, _, turn| {
            bytes(&UpdateRoleRequest { name: format!("{GROUP}/deployer"), description: format!("described {turn} times"), capabilities: vec!["repo.pull".into()] })
        }),
        row("auth.v1.RoleService/DeleteRole", [Hidden, Lacks, Hidden, Hidden, Bare], |_, _, turn| {
            bytes(&DeleteRoleRequest { name: format!("{GROUP}/role-{turn}") })
        }),
    ]
}

#[rustfmt::skip] // The answers stand one above the other.
fn bindings() -> Vec<Row> {
    vec![
        row("auth.v1.BindingService/CreateBinding", [Lacks, Lacks, Lacks, Lacks, Full], |stage, _, turn| {
            let resource = Some(repository(&format!("{GROUP}/made-{turn}")));
            bytes(&CreateBindingRequest { identity: stage.identity.clone(), role: "registry.pull".into(), resource, conditions: Vec::new() })
        }),
        row("auth.v1.BindingService/GetBinding", [Hidden, Full, Hidden, Hidden, Full], |stage, _, _| {
            bytes(&GetBindingRequest { id: stage.binding.clone() })
        }),
        row("auth.v1.BindingService/ListBindings", [Bare, Full, Bare, Bare, Full], |_, _, _| {
            bytes(&ListBindingsRequest { group: GROUP.into(), ..Default::default() })
        }),
        row("auth.v1.BindingService/DeleteBinding", [Hidden, Lacks, Hidden, Hidden, Bare], |stage, _, turn| {
            bytes(&DeleteBindingRequest { id: stage.bindings[turn].clone() })
        }),
    ]
}

#[rustfmt::skip] // The answers stand one above the other.
fn policy() -> Vec<Row> {
    vec![
        row("auth.v1.PolicyService/Explain", [Lacks, Full, Lacks, Lacks, Full], |stage, _, _| {
            bytes(&ExplainRequest { identity: stage.identity.clone(), repository: REPOSITORY.into(), action: "push".into(), claims_json: String::new() })
        }),
        row("auth.v1.PolicyService/TestClaims", [Lacks, Full, Lacks, Lacks, Full], |_, _, turn| {
            let job = GitHubJob::on_branch(REPOSITORY, &format!("made-{turn}")).workload();
            let claims = json!({ "iss": job.issuer(), "sub": job.subject(), "aud": AUDIENCE });
            bytes(&TestClaimsRequest { claims_json: claims.to_string(), repository: REPOSITORY.into(), action: "push".into() })
        }),
        row("auth.v1.PolicyService/WhoAmI", [Full, Full, Full, Full, Full], |_, _, _| bytes(&WhoAmIRequest {})),
    ]
}

#[rustfmt::skip] // The answers stand one above the other.
fn pull_tokens() -> Vec<Row> {
    vec![
        row("auth.v1.PullTokenService/CreatePullToken", [Lacks, Lacks, Lacks, Lacks, Full], |_, _, turn| {
            bytes(&CreatePullTokenRequest { name: format!("made-token-{turn}"), resources: vec![group(GROUP)], ..Default::default() })
        }),
        row("auth.v1.PullTokenService/ListPullTokens", [Bare, Full, Bare, Bare, Full], |_, _, _| {
            bytes(&ListPullTokensRequest { group: GROUP.into(), ..Default::default() })
        }),
        row("auth.v1.PullTokenService/RotatePullToken", [Hidden, Lacks, Hidden, Hidden, Full], |stage, _, _| {
            bytes(&RotatePullTokenRequest { id: stage.pull_tokens[0].clone(), ttl: 0, overlap: 60 })
        }),
        row("auth.v1.PullTokenService/RevokePullToken", [Hidden, Lacks, Hidden, Hidden, Bare], |stage, _, turn| {
            bytes(&RevokePullTokenRequest { id: stage.pull_tokens[turn].clone() })
        }),
    ]
}

/// What happened, for those who may pull what it happened to.
#[rustfmt::skip] // The answers stand one above the other.
fn logs() -> Vec<Row> {
    vec![
        row("events.v1.EventQueryService/ListEvents", [Bare, Full, Full, Full, Full], |_, _, _| {
            bytes(&ListEventsRequest { repository: REPOSITORY.into(), ..Default::default() })
        }),
        row("metadata.v1.RepositoryAdminService/ListTagHistory", [Denied, Full, Full, Full, Full], |_, _, _| {
            bytes(&ListTagHistoryRequest { repository: REPOSITORY.into(), tag: "latest".into(), ..Default::default() })
        }),
    ]
}
