use roadstead_proto::auth::v1::{
    DeleteRoleRequest, GetRoleRequest, ListRolesRequest, Role, UpdateRoleRequest,
};
use roadstead_rpc::{ErrorReason, detail};
use serde_json::json;
use tonic::Status;

use super::support::{Caller, Registry};
use crate::harness::{by, group, refused};

async fn seen(caller: &Caller<'_>, name: &str) -> Result<Role, Status> {
    let request = GetRoleRequest {
        name: name.to_owned(),
    };
    let answer = caller.roles().get_role(by(&caller.token, request)).await;
    answer.map(|answer| answer.into_inner().role.unwrap())
}

async fn update(caller: &Caller<'_>, name: &str, capabilities: &[&str]) -> Result<Role, Status> {
    let request = UpdateRoleRequest {
        name: name.to_owned(),
        description: String::new(),
        capabilities: capabilities.iter().map(ToString::to_string).collect(),
    };
    let answer = caller.roles().update_role(by(&caller.token, request)).await;
    answer.map(|answer| answer.into_inner().role.unwrap())
}

async fn delete(caller: &Caller<'_>, name: &str) -> Result<(), Status> {
    let request = DeleteRoleRequest {
        name: name.to_owned(),
    };
    caller
        .roles()
        .delete_role(by(&caller.token, request))
        .await
        .map(drop)
}

async fn names(caller: &Caller<'_>, of: &str) -> Vec<String> {
    let request = ListRolesRequest {
        group: of.to_owned(),
        page_size: 100,
        page_token: String::new(),
    };
    let answer = caller.roles().list_roles(by(&caller.token, request)).await;
    let answer = answer.unwrap().into_inner();
    answer.roles.into_iter().map(|role| role.name).collect()
}

const BUILT_IN: [&str; 6] = [
    "editor",
    "owner",
    "registry.pull",
    "registry.pull_token_creator",
    "registry.push",
    "viewer",
];

#[tokio::test]
async fn built_in_roles_are_there_and_do_not_change() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    assert_eq!(names(&owner, "").await, BUILT_IN);
    for name in BUILT_IN {
        assert!(seen(&owner, name).await.unwrap().built_in);
        assert_eq!(
            refused(update(&owner, name, &["repo.pull"]).await),
            ErrorReason::RoleBuiltIn
        );
        assert_eq!(refused(delete(&owner, name).await), ErrorReason::RoleBuiltIn);
    }
    let everything = seen(&owner, "owner").await.unwrap().capabilities;
    assert_eq!(everything.len(), 25);
    assert_eq!(
        seen(&owner, "registry.pull").await.unwrap().capabilities,
        ["repo.pull", "repo.list"]
    );
    assert_eq!(
        refused(owner.create_role("", "owner", &["repo.pull"]).await),
        ErrorReason::AlreadyExists
    );
}

#[tokio::test]
async fn a_role_of_a_group_is_given_there_and_below() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    owner.create_group("acme").await.unwrap();
    let made = owner
        .create_role("acme", "deployer", &["repo.pull", "repo.delete"])
        .await
        .unwrap();
    assert_eq!((made.name.as_str(), made.built_in), ("acme/deployer", false));
    let ci = owner.workload("acme", "ci", "main").await;
    for place in ["acme", "acme/web"] {
        owner.bind(&ci, "acme/deployer", group(place)).await.unwrap();
    }
    for place in ["", "other"] {
        assert_eq!(
            refused(owner.bind(&ci, "acme/deployer", group(place)).await),
            ErrorReason::ArgumentInvalid
        );
    }
    assert_eq!(
        refused(owner.bind(&ci, "acme/absent", group("acme")).await),
        ErrorReason::NotFound
    );
    let build = registry.build(json!({ "sub": "main" })).await;
    assert_eq!(build.actions("acme/web/app").await, "pull,delete");
    assert_eq!(
        refused(owner.create_role("acme", "deployer", &["repo.pull"]).await),
        ErrorReason::AlreadyExists
    );
    for wrong in [&["repo.fly"][..], &[]] {
        assert_eq!(
            refused(owner.create_role("acme", "x", wrong).await),
            ErrorReason::ArgumentInvalid
        );
    }
}

#[tokio::test]
async fn nobody_makes_a_role_of_what_they_do_not_have() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    owner.create_group("acme").await.unwrap();
    owner
        .create_role(
            "acme",
            "maker",
            &["roles.create", "roles.update", "roles.list", "repo.pull"],
        )
        .await
        .unwrap();
    let maker = registry.person_with("maker", "acme/maker", group("acme")).await;
    let status = maker
        .create_role("acme", "more", &["repo.pull", "repo.push"])
        .await
        .unwrap_err();
    assert_eq!(roadstead_rpc::reason(&status), ErrorReason::CapabilityMissing);
    assert_eq!(detail(&status, "capability").unwrap(), "repo.push");
    maker.create_role("acme", "less", &["repo.pull"]).await.unwrap();
    assert_eq!(
        refused(update(&maker, "acme/less", &["repo.pull", "bindings.create"]).await),
        ErrorReason::CapabilityMissing
    );
    // Least of all of the role that they themselves have.
    assert_eq!(
        refused(update(&maker, "acme/maker", &["roles.update", "repo.delete"]).await),
        ErrorReason::CapabilityMissing
    );
    assert_eq!(
        refused(delete(&maker, "acme/less").await),
        ErrorReason::CapabilityMissing
    );
    for group in ["", "other"] {
        assert_eq!(
            refused(maker.create_role(group, "x", &["repo.pull"]).await),
            ErrorReason::CapabilityMissing
        );
    }
}

#[tokio::test]
async fn a_narrowed_role_gives_less_at_once() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    owner.create_group("acme").await.unwrap();
    owner
        .create_role("acme", "deployer", &["repo.pull", "repo.push"])
        .await
        .unwrap();
    let ci = owner.workload("acme", "ci", "main").await;
    owner.bind(&ci, "acme/deployer", group("acme")).await.unwrap();
    let build = registry.build(json!({ "sub": "main" })).await;
    let token = registry
        .auth
        .registry_token(&build.token, &["repository:acme/web:push"])
        .await
        .unwrap()
        .token;
    registry.auth.readable(&token).await.unwrap();
    assert_eq!(
        refused(delete(&owner, "acme/deployer").await),
        ErrorReason::NotEmpty
    );
    update(&owner, "acme/deployer", &["repo.pull"]).await.unwrap();
    assert_eq!(
        refused(registry.auth.readable(&token).await),
        ErrorReason::TokenInvalid
    );
    assert_eq!(build.actions("acme/web").await, "pull");
}

#[tokio::test]
async fn roles_of_other_groups_are_unknown() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    for path in ["acme", "other"] {
        owner.create_group(path).await.unwrap();
        owner.create_role(path, "puller", &["repo.pull"]).await.unwrap();
    }
    let admin = registry.person_with("admin", "owner", group("acme")).await;
    let mut visible: Vec<_> = BUILT_IN.iter().map(ToString::to_string).collect();
    visible.push("acme/puller".to_owned());
    assert_eq!(names(&admin, "").await, visible);
    for name in ["other/puller", "other/absent"] {
        assert_eq!(refused(seen(&admin, name).await), ErrorReason::NotFound);
        assert_eq!(
            refused(update(&admin, name, &["repo.pull"]).await),
            ErrorReason::NotFound
        );
        assert_eq!(refused(delete(&admin, name).await), ErrorReason::NotFound);
        assert_eq!(
            refused(admin.bind("anonymous", name, group("acme")).await),
            ErrorReason::NotFound
        );
    }
    delete(&admin, "acme/puller").await.unwrap();
    assert_eq!(refused(seen(&owner, "acme/puller").await), ErrorReason::NotFound);
}
