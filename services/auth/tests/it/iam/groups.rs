use roadstead_proto::auth::v1::{GetGroupRequest, ListGroupsRequest, UpdateGroupRequest};
use roadstead_rpc::{ErrorReason, detail};

use super::support::{Caller, Registry};
use crate::harness::{by, group, refused, repository};

async fn paths(caller: &Caller<'_>, path: &str, page_size: u32) -> Vec<Vec<String>> {
    let (mut pages, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListGroupsRequest {
            path: path.to_owned(),
            page_size,
            page_token,
        };
        let answer = caller.groups().list_groups(by(&caller.token, request)).await;
        let answer = answer.unwrap().into_inner();
        pages.push(answer.groups.into_iter().map(|group| group.path).collect());
        if answer.next_page_token.is_empty() {
            return pages;
        }
        page_token = answer.next_page_token;
    }
}

async fn is_seen(caller: &Caller<'_>, path: &str) -> bool {
    let request = GetGroupRequest {
        path: path.to_owned(),
    };
    match caller.groups().get_group(by(&caller.token, request)).await {
        Ok(_) => true,
        Err(status) => {
            assert_eq!(roadstead_rpc::reason(&status), ErrorReason::NotFound);
            false
        }
    }
}

#[tokio::test]
async fn a_group_brings_those_above_it() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    let made = owner.create_group("acme/web/front").await.unwrap();
    assert_eq!(made.path, "acme/web/front");
    assert!(made.created_at > 0 && made.created_by.contains("dev"), "{made:?}");
    assert_eq!(
        paths(&owner, "", 0).await,
        [["acme", "acme/web", "acme/web/front"]]
    );
    for there in ["acme", "acme/web", "acme/web/front"] {
        assert_eq!(
            refused(owner.create_group(there).await),
            ErrorReason::AlreadyExists
        );
    }
    for wrong in ["", "/", "acme/", "/acme", "ACME", "acme//web", "acme/../web"] {
        assert_eq!(
            refused(owner.create_group(wrong).await),
            ErrorReason::NameInvalid,
            "{wrong:?}"
        );
    }
}

#[tokio::test]
async fn only_whoever_may_makes_a_group_and_only_below_where_they_may() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    owner.create_group("acme").await.unwrap();
    owner.create_group("other").await.unwrap();
    let editor = registry.person_with("alice", "editor", group("acme")).await;
    editor.create_group("acme/web").await.unwrap();
    for path in ["acme-two", "other/web", "new", "other"] {
        let status = editor.create_group(path).await.unwrap_err();
        assert_eq!(
            roadstead_rpc::reason(&status),
            ErrorReason::CapabilityMissing,
            "{path}"
        );
        assert_eq!(detail(&status, "capability").unwrap(), "groups.create");
        assert!(detail(&status, "identity").unwrap().contains("alice"));
    }
    // The refusal names the same resource whether or not the group above is there.
    let resource = async |path: &str| {
        let status = editor.create_group(path).await.unwrap_err();
        detail(&status, "resource").unwrap()
    };
    assert_eq!(resource("other/web").await, "group other");
    assert_eq!(resource("absent/web").await, "group absent");
    let viewer = registry.person_with("bob", "viewer", group("acme")).await;
    assert_eq!(
        refused(viewer.create_group("acme/x").await),
        ErrorReason::CapabilityMissing
    );
}

#[tokio::test]
async fn a_deleted_path_is_not_used_again_unasked() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    owner.create_group("acme/web").await.unwrap();
    assert_eq!(refused(owner.delete_group("acme").await), ErrorReason::NotEmpty);
    owner.delete_group("acme/web").await.unwrap();
    assert_eq!(
        refused(owner.delete_group("acme/web").await),
        ErrorReason::NotFound
    );
    assert!(!is_seen(&owner, "acme/web").await);
    for path in ["acme/web", "acme/web/front"] {
        assert_eq!(
            refused(owner.create_group(path).await),
            ErrorReason::PathTombstoned,
            "{path}"
        );
    }
    assert_eq!(
        refused(owner.bind("anonymous", "registry.pull", group("acme/web")).await),
        ErrorReason::PathTombstoned
    );
    // Whoever may only make groups does not restore one.
    let editor = registry.person_with("alice", "editor", group("acme")).await;
    assert_eq!(
        refused(editor.create_group_as("acme/web", true).await),
        ErrorReason::CapabilityMissing
    );
    owner.create_group_as("acme/web", true).await.unwrap();
    assert!(is_seen(&owner, "acme/web").await);
    owner.delete_group("acme/web").await.unwrap();
    owner.delete_group("acme").await.unwrap();
    assert_eq!(
        refused(owner.create_group("acme").await),
        ErrorReason::PathTombstoned
    );
}

#[tokio::test]
async fn deleting_a_group_takes_what_was_in_it_and_stops_pushes() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    owner.create_group("acme/web").await.unwrap();
    let ci = owner.workload("acme/web", "ci", "main").await;
    let outside = owner.workload("acme", "outside", "main").await;
    owner.bind(&ci, "registry.push", group("acme")).await.unwrap();
    owner
        .bind(&outside, "registry.push", group("acme/web"))
        .await
        .unwrap();
    owner
        .bind(&outside, "registry.pull", repository("acme/web/app"))
        .await
        .unwrap();
    owner
        .create_role("acme/web", "pusher", &["repo.push"])
        .await
        .unwrap();
    let build = registry.build(serde_json::json!({ "sub": "main" })).await;
    assert_eq!(build.actions("acme/web/app").await, "pull,push");
    owner.delete_group("acme/web").await.unwrap();
    assert_eq!(refused(build.who_am_i().await), ErrorReason::TokenInvalid);
    let build = registry.build(serde_json::json!({ "sub": "main" })).await;
    assert_eq!(build.actions("acme/web/app").await, "");
    // Not even whoever owns everything pushes to where a deleted group was; what is there can be read and removed.
    assert_eq!(owner.actions("acme/web/app").await, "pull,delete");
    assert_eq!(owner.actions("acme/web").await, "pull,delete");
    assert_eq!(owner.actions("acme/website").await, "pull,push,delete");
    // What comes back is empty.
    owner.create_group_as("acme/web", true).await.unwrap();
    let build = registry.build(serde_json::json!({ "sub": "main" })).await;
    assert_eq!(build.actions("acme/web/app").await, "");
    assert_eq!(
        refused(owner.delete_identity("acme/web/ci").await),
        ErrorReason::NotFound
    );
}

#[tokio::test]
async fn a_list_comes_in_pages_of_what_is_visible() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    for path in ["acme/web/front", "acme-two", "acme.three", "beta/api", "gamma"] {
        owner.create_group(path).await.unwrap();
    }
    let all = [
        "acme",
        "acme-two",
        "acme.three",
        "acme/web",
        "acme/web/front",
        "beta",
        "beta/api",
        "gamma",
    ];
    for size in [1, 3, 8, 100] {
        let pages = paths(&owner, "", size).await;
        assert!(pages.iter().all(|page| page.len() <= size as usize));
        assert_eq!(pages.concat(), all, "{size}");
    }
    assert_eq!(
        paths(&owner, "acme", 0).await.concat(),
        ["acme", "acme/web", "acme/web/front"]
    );
    let viewer = registry.person_with("alice", "viewer", group("acme/web")).await;
    registry.owner().await.human(&registry.people, "bob").await;
    assert_eq!(
        paths(&viewer, "", 1).await.concat(),
        ["acme/web", "acme/web/front"]
    );
    assert!(paths(&viewer, "beta", 0).await.concat().is_empty());
    for (path, seen) in [
        ("acme/web", true),
        ("acme", false),
        ("beta", false),
        ("absent", false),
    ] {
        assert_eq!(is_seen(&viewer, path).await, seen, "{path}");
    }
    let nobody = registry.person("bob").await;
    assert!(paths(&nobody, "", 0).await.concat().is_empty());
}

#[tokio::test]
async fn a_page_token_is_good_for_its_own_list() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    for path in ["acme/a", "acme/b"] {
        owner.create_group(path).await.unwrap();
    }
    let list = async |path: &str, page_token: &str| {
        let request = ListGroupsRequest {
            path: path.to_owned(),
            page_size: 1,
            page_token: page_token.to_owned(),
        };
        owner.groups().list_groups(by(&owner.token, request)).await
    };
    let token = list("acme", "").await.unwrap().into_inner().next_page_token;
    let next = list("acme", &token).await.unwrap().into_inner();
    assert_eq!(next.groups[0].path, "acme/a");
    for (path, wrong) in [
        ("", token.as_str()),
        ("acme/a", &token),
        ("acme", "x"),
        ("acme", "%"),
    ] {
        assert_eq!(
            refused(list(path, wrong).await),
            ErrorReason::PageTokenInvalid,
            "{path} {wrong}"
        );
    }
}

#[tokio::test]
async fn a_display_name_changes_and_a_path_does_not() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    owner.create_group("acme").await.unwrap();
    let rename = async |caller: &Caller<'_>, path: &str, display_name: &str| {
        let request = UpdateGroupRequest {
            path: path.to_owned(),
            display_name: display_name.to_owned(),
        };
        let answer = caller.groups().update_group(by(&caller.token, request)).await;
        answer.map(|answer| answer.into_inner().group.unwrap())
    };
    let renamed = rename(&owner, "acme", "Acme & Söhne").await.unwrap();
    assert_eq!(
        (renamed.path.as_str(), renamed.display_name.as_str()),
        ("acme", "Acme & Söhne")
    );
    assert_eq!(
        refused(rename(&owner, "acme", "a\nb").await),
        ErrorReason::ArgumentInvalid
    );
    assert_eq!(
        refused(rename(&owner, "absent", "x").await),
        ErrorReason::NotFound
    );
    let viewer = registry.person_with("alice", "viewer", group("acme")).await;
    for path in ["acme", "absent"] {
        assert_eq!(
            refused(rename(&viewer, path, "x").await),
            ErrorReason::CapabilityMissing
        );
    }
}
