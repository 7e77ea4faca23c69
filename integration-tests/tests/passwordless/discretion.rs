//! What a caller may not see is for that caller as what does not exist: every question has the same answer about both.

use anyhow::{Result, ensure};
use prost::Message;
use roadstead_integration_tests::{Mode, in_both_modes};
use roadstead_proto::auth::v1::{
    CreateBindingRequest, CreateGroupRequest, CreateIdentityRequest, CreatePullTokenRequest,
    CreateRoleRequest, DeleteBindingRequest, DeleteGroupRequest, DeleteIdentityRequest, DeleteRoleRequest,
    ExplainRequest, GetBindingRequest, GetGroupRequest, GetIdentityRequest, GetRoleRequest,
    ListBindingsRequest, ListGroupsRequest, ListIdentitiesRequest, ListPullTokensRequest,
    ListPushPoliciesRequest, ListRolesRequest, PushPolicy, RevokePullTokenRequest, RotatePullTokenRequest,
    SetPushPolicyRequest, TestClaimsRequest, UpdateGroupRequest, UpdateIdentityRequest, UpdateRoleRequest,
    create_identity_request,
};
use roadstead_proto::metadata::v1::ListTagHistoryRequest;
use roadstead_testkit::GitHubJob;
use serde_json::json;

use crate::administration::{channel, group, repository};
use crate::organisation::{AUDIENCE, FIRST_OWNER, Organisation, exactly};
use crate::table::call;

in_both_modes!(nobody_learns_what_there_is_elsewhere,);

/// Names of one thing of each kind.
struct Names {
    group: &'static str,
    identity: String,
    binding: String,
    pull_token: String,
}

impl Names {
    /// Takes the names out of an answer.
    fn hidden(&self, text: &str) -> String {
        [&self.identity, &self.binding, &self.pull_token]
            .into_iter()
            .map(String::as_str)
            .chain([self.group])
            .fold(text.to_owned(), |text, name| text.replace(name, "X"))
    }
}

/// What there is in the group `acme`.
async fn furnished(organisation: &Organisation) -> Result<Names> {
    let root = &organisation.root;
    for path in ["acme", "acme/deep", "other"] {
        root.create_group(path).await?;
    }
    let job = GitHubJob::on_branch("acme/web", "main").workload();
    let identity = root.create_claim_match("acme", "ci", exactly(&job)).await?.id;
    let binding = root
        .bind(&identity, "registry.pull", group("acme"), &[])
        .await?
        .id;
    let role = CreateRoleRequest {
        group: "acme".to_owned(),
        name: "deployer".to_owned(),
        description: String::new(),
        capabilities: vec!["repo.pull".to_owned()],
    };
    root.roles().create_role(role).await?;
    let token = root.create_pull_token("staging", vec![group("acme")]).await?;
    root.set_push_policy(repository("acme/web"), PushPolicy::WorkloadOnly)
        .await?;
    let session = organisation
        .person(FIRST_OWNER)
        .await?
        .session_for(&["acme/web"])
        .await?;
    // Whoever owns everything does not push there either, now.
    session
        .request(reqwest::Method::POST, "/v2/acme/web/blobs/uploads/")
        .send()
        .await?
        .expect(403)?;
    Ok(Names {
        group: "acme",
        identity,
        binding,
        pull_token: token.pull_token.unwrap_or_default().id,
    })
}

/// Names of the same form behind which there is nothing.
fn nothing(like: &Names) -> Names {
    let other = |id: &str| {
        let (start, last) = id.split_at(id.len() - 4);
        format!("{start}{}", if last == "0123" { "4567" } else { "0123" })
    };
    Names {
        group: "none",
        identity: other(&like.identity),
        binding: other(&like.binding),
        pull_token: other(&like.pull_token),
    }
}

fn question(method: &'static str, message: &impl Message) -> (&'static str, Vec<u8>) {
    (method, message.encode_to_vec())
}

/// Every question and every order that names something.
fn questions(names: &Names) -> Vec<(&'static str, Vec<u8>)> {
    [
        groups(names),
        identities(names),
        roles_and_bindings(names),
        others(names),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[rustfmt::skip] // A question is a line.
fn groups(names: &Names) -> Vec<(&'static str, Vec<u8>)> {
    let path = names.group.to_owned();
    let web = Some(repository(&format!("{path}/web")));
    let policy = PushPolicy::WorkloadOnly.into();
    vec![
        question("GroupService/GetGroup", &GetGroupRequest { path: path.clone() }),
        question("GroupService/ListGroups", &ListGroupsRequest { path: path.clone(), ..Default::default() }),
        question("GroupService/CreateGroup", &CreateGroupRequest { path: path.clone(), ..Default::default() }),
        question("GroupService/CreateGroup", &CreateGroupRequest { path: format!("{path}/deep"), ..Default::default() }),
        question("GroupService/CreateGroup", &CreateGroupRequest { path: format!("{path}/deep/down"), ..Default::default() }),
        question("GroupService/UpdateGroup", &UpdateGroupRequest { path: path.clone(), display_name: "x".into() }),
        question("GroupService/DeleteGroup", &DeleteGroupRequest { path: path.clone() }),
        question("GroupService/DeleteGroup", &DeleteGroupRequest { path: format!("{path}/deep") }),
        question("GroupService/SetPushPolicy", &SetPushPolicyRequest { resource: Some(group(&path)), policy }),
        question("GroupService/SetPushPolicy", &SetPushPolicyRequest { resource: web, policy: PushPolicy::Unspecified.into() }),
        question("GroupService/ListPushPolicies", &ListPushPoliciesRequest { path, ..Default::default() }),
    ]
}

#[rustfmt::skip] // A question is a line.
fn identities(names: &Names) -> Vec<(&'static str, Vec<u8>)> {
    let job = GitHubJob::on_branch("other/web", "main").workload();
    let rule = Some(create_identity_request::Rule::ClaimMatch(exactly(&job)));
    let mut questions = vec![
        question("IdentityService/CreateIdentity", &CreateIdentityRequest { group: names.group.into(), name: "ci".into(), rule, ..Default::default() }),
        question("IdentityService/ListIdentities", &ListIdentitiesRequest { group: names.group.into(), ..Default::default() }),
    ];
    for identity in [names.identity.clone(), format!("{}/ci", names.group)] {
        questions.extend([
            question("IdentityService/GetIdentity", &GetIdentityRequest { identity: identity.clone() }),
            question("IdentityService/UpdateIdentity", &UpdateIdentityRequest { identity: identity.clone(), ..Default::default() }),
            question("IdentityService/DeleteIdentity", &DeleteIdentityRequest { identity: identity.clone() }),
        ]);
    }
    // By name: an id that nobody can guess is itself the leave to give that identity something of one's own.
    let identity = format!("{}/ci", names.group);
    questions.extend([
        question("BindingService/ListBindings", &ListBindingsRequest { identity: identity.clone(), ..Default::default() }),
        question("BindingService/CreateBinding", &CreateBindingRequest { identity: identity.clone(), role: "registry.pull".into(), resource: Some(group("other")), conditions: Vec::new() }),
        question("PolicyService/Explain", &ExplainRequest { identity, repository: "other/web".into(), action: "pull".into(), claims_json: String::new() }),
    ]);
    questions
}

#[rustfmt::skip] // A question is a line.
fn roles_and_bindings(names: &Names) -> Vec<(&'static str, Vec<u8>)> {
    let (path, role) = (names.group, format!("{}/deployer", names.group));
    let binding = || CreateBindingRequest { identity: "anonymous".into(), role: "registry.pull".into(), resource: Some(group(path)), conditions: Vec::new() };
    vec![
        question("RoleService/CreateRole", &CreateRoleRequest { group: path.into(), name: "deployer".into(), capabilities: vec!["repo.pull".into()], ..Default::default() }),
        question("RoleService/GetRole", &GetRoleRequest { name: role.clone() }),
        question("RoleService/ListRoles", &ListRolesRequest { group: path.into(), ..Default::default() }),
        question("RoleService/UpdateRole", &UpdateRoleRequest { name: role.clone(), capabilities: vec!["repo.pull".into()], ..Default::default() }),
        question("RoleService/DeleteRole", &DeleteRoleRequest { name: role.clone() }),
        question("BindingService/CreateBinding", &binding()),
        question("BindingService/CreateBinding", &CreateBindingRequest { role, resource: Some(group("other")), ..binding() }),
        question("BindingService/GetBinding", &GetBindingRequest { id: names.binding.clone() }),
        question("BindingService/ListBindings", &ListBindingsRequest { group: path.into(), ..Default::default() }),
        question("BindingService/DeleteBinding", &DeleteBindingRequest { id: names.binding.clone() }),
    ]
}

#[rustfmt::skip] // A question is a line.
fn others(names: &Names) -> Vec<(&'static str, Vec<u8>)> {
    let web = format!("{}/web", names.group);
    let job = GitHubJob::on_branch("acme/web", "main").workload();
    let claims = json!({ "iss": job.issuer(), "sub": job.subject(), "aud": AUDIENCE }).to_string();
    let mut questions = vec![
        question("PolicyService/Explain", &ExplainRequest { repository: web.clone(), action: "push".into(), ..Default::default() }),
        question("PolicyService/TestClaims", &TestClaimsRequest { claims_json: claims, repository: web.clone(), action: "push".into() }),
        question("PullTokenService/CreatePullToken", &CreatePullTokenRequest { name: "staging".into(), resources: vec![group(names.group)], ..Default::default() }),
        question("PullTokenService/ListPullTokens", &ListPullTokensRequest { group: names.group.into(), all: true, ..Default::default() }),
        question("RepositoryAdminService/ListTagHistory", &ListTagHistoryRequest { repository: web, tag: "latest".into(), ..Default::default() }),
    ];
    for id in [names.pull_token.clone(), format!("{}/staging", names.group)] {
        questions.extend([
            question("PullTokenService/RotatePullToken", &RotatePullTokenRequest { id: id.clone(), ..Default::default() }),
            question("PullTokenService/RevokePullToken", &RevokePullTokenRequest { id }),
        ]);
    }
    questions
}

async fn nobody_learns_what_there_is_elsewhere(mode: Mode) -> Result<()> {
    let organisation = Organisation::start(mode).await?;
    let acme = furnished(&organisation).await?;
    let none = nothing(&acme);
    organisation.employ("omar", "owner", group("other")).await?;
    let gateway = channel(&organisation.cluster.address()).await?;
    let mut told = Vec::new();
    // One who owns another group, and one who has nothing at all.
    for person in ["omar", "nina"] {
        let token = organisation
            .access_token(&organisation.issuers.person(person))
            .await?;
        for ((method, existing), (_, missing)) in questions(&acme).into_iter().zip(questions(&none)) {
            let service = if method.starts_with("RepositoryAdmin") {
                "metadata"
            } else {
                "auth"
            };
            let path = format!("/roadstead.{service}.v1.{method}");
            let answer = async |names: &Names, request| {
                let answer = call(&gateway, &path, Some(&token), request).await;
                answer
                    .map(|message| names.hidden(&String::from_utf8_lossy(&message)))
                    .map_err(|status| {
                        let reason = roadstead_rpc::reason(&status);
                        format!(
                            "{:?} {reason:?} {}",
                            status.code(),
                            names.hidden(status.message())
                        )
                    })
            };
            let answers = [answer(&acme, existing).await, answer(&none, missing).await];
            if answers[0] != answers[1] {
                told.push(format!(
                    "{person}: {method}: {:?} but {:?}",
                    answers[0], answers[1]
                ));
            }
        }
    }
    ensure!(told.is_empty(), "{}", told.join("\n"));
    organisation.stop().await
}
