use roadstead_proto::auth::v1::{
    Binding, GetBindingRequest, ListBindingsRequest, Narrowing, Resource, ResourceKind,
};
use roadstead_rpc::{ErrorReason, detail};
use serde_json::json;
use tonic::Status;

use super::support::{Caller, Registry};
use crate::harness::{AUDIENCE, by, group, refused, repository};

async fn seen(caller: &Caller<'_>, id: &str) -> Result<Binding, Status> {
    let request = GetBindingRequest { id: id.to_owned() };
    let answer = caller.bindings().get_binding(by(&caller.token, request)).await;
    answer.map(|answer| answer.into_inner().binding.unwrap())
}

async fn list(caller: &Caller<'_>, of: &str, identity: &str) -> Vec<Binding> {
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListBindingsRequest {
            group: of.to_owned(),
            identity: identity.to_owned(),
            page_size: 2,
            page_token,
        };
        let answer = caller.bindings().list_bindings(by(&caller.token, request)).await;
        let answer = answer.unwrap().into_inner();
        assert!(answer.bindings.len() <= 2);
        found.extend(answer.bindings);
        if answer.next_page_token.is_empty() {
            return found;
        }
        page_token = answer.next_page_token;
    }
}

fn places(bindings: &[Binding]) -> Vec<String> {
    let place = |binding: &Binding| {
        let resource = binding.resource.clone().unwrap();
        format!("{} {}", binding.role, resource.path)
    };
    bindings.iter().map(place).collect()
}

#[tokio::test]
async fn a_role_is_given_found_listed_and_taken_back() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    owner.create_group("ci").await.unwrap();
    let id = owner.workload("ci", "main", "main").await;
    // The groups above come with it; by name or id is the same.
    let pull = owner
        .bind("ci/main", "registry.pull", group("acme/web"))
        .await
        .unwrap();
    let push = owner
        .bind(&id, "registry.push", repository("beta/api/server"))
        .await
        .unwrap();
    owner.create_group("beta/api/x").await.unwrap();
    assert_eq!(
        refused(owner.create_group("beta/api").await),
        ErrorReason::AlreadyExists
    );
    assert_eq!(pull.identity.as_ref().unwrap().name, "ci/main");
    assert_eq!(seen(&owner, &push.id).await.unwrap(), push);
    assert_eq!(
        refused(owner.bind(&id, "registry.pull", group("acme/web")).await),
        ErrorReason::AlreadyExists
    );
    let build = registry.build(json!({ "sub": "main" })).await;
    assert_eq!(build.actions("acme/web/front").await, "pull");
    assert_eq!(build.actions("acme/website").await, "");
    assert_eq!(build.actions("beta/api/server").await, "pull,push");
    assert_eq!(build.actions("beta/api/server/x").await, "");
    assert_eq!(
        places(&list(&owner, "", &id).await),
        ["registry.pull acme/web", "registry.push beta/api/server"]
    );
    assert_eq!(
        places(&list(&owner, "beta", "").await),
        ["registry.push beta/api/server"]
    );
    owner.unbind(&pull.id).await.unwrap();
    assert_eq!(build.actions("acme/web/front").await, "");
    for _ in 0..2 {
        assert_eq!(refused(owner.unbind(&pull.id).await), ErrorReason::NotFound);
    }
}

#[tokio::test]
async fn a_taken_role_revokes_what_was_signed_under_it() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    let id = owner.workload("", "ci", "main").await;
    let binding = owner.bind(&id, "registry.push", group("acme")).await.unwrap();
    let public = owner
        .bind("anonymous", "registry.pull", group("public"))
        .await
        .unwrap();
    let build = registry.build(json!({ "sub": "main" })).await;
    let sign = async |credential: &str, scope: &str| {
        let answer = registry.auth.registry_token(credential, &[scope]).await;
        answer.unwrap().token
    };
    let mine = sign(&build.token, "repository:acme/web:push").await;
    let everybodys = sign("", "repository:public/web:pull").await;
    let other = sign("", "repository:elsewhere/web:pull").await;
    for token in [&mine, &everybodys, &other] {
        registry.auth.readable(token).await.unwrap();
    }
    owner.unbind(&binding.id).await.unwrap();
    assert_eq!(
        refused(registry.auth.readable(&mine).await),
        ErrorReason::TokenInvalid
    );
    // Who the bearer is has not changed.
    build.who_am_i().await.unwrap();
    registry.auth.readable(&everybodys).await.unwrap();
    owner.unbind(&public.id).await.unwrap();
    assert_eq!(
        refused(registry.auth.readable(&everybodys).await),
        ErrorReason::TokenInvalid
    );
    registry.auth.readable(&other).await.unwrap();
    let answer = registry
        .auth
        .registry_token("", &["repository:public/web:pull"])
        .await
        .unwrap();
    assert!(answer.granted_scopes.is_empty());
}

#[tokio::test]
async fn nobody_gives_what_they_do_not_have() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    owner.create_group("acme").await.unwrap();
    owner
        .create_role("acme", "binder", &["bindings.create", "repo.pull", "repo.list"])
        .await
        .unwrap();
    let binder = registry.person_with("binder", "acme/binder", group("acme")).await;
    let friend = owner.human(&registry.people, "friend").await;
    let own = binder.who_am_i().await.unwrap().identities.remove(0).id;
    binder
        .bind(&friend, "registry.pull", group("acme/web"))
        .await
        .unwrap();
    for (role, at, lacking) in [
        ("registry.push", group("acme"), "repo.push"),
        ("owner", group("acme"), "repo.push"),
        ("viewer", group("acme"), "events.list"),
        ("registry.pull", group(""), "bindings.create"),
        ("registry.pull", repository("other/web"), "bindings.create"),
    ] {
        for identity in [&own, &friend] {
            let status = binder.bind(identity, role, at.clone()).await.unwrap_err();
            assert_eq!(
                roadstead_rpc::reason(&status),
                ErrorReason::CapabilityMissing,
                "{role} {at:?}"
            );
            assert_eq!(detail(&status, "capability").unwrap(), lacking, "{role}");
        }
    }
    // An owner of a group is none of what is above or beside it.
    let admin = registry.person_with("admin", "owner", group("acme")).await;
    for at in [group(""), group("other"), group("acme-two")] {
        assert_eq!(
            refused(admin.bind(&own, "registry.pull", at).await),
            ErrorReason::CapabilityMissing
        );
    }
    admin.bind(&own, "owner", group("acme/web")).await.unwrap();
}

#[tokio::test]
async fn a_narrowed_token_administers_no_more_than_it_is_good_for() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    owner.create_group("acme").await.unwrap();
    let friend = owner.human(&registry.people, "friend").await;
    registry.person_with("admin", "owner", group("acme")).await;
    let token = async |resources: &[&str], capabilities: &[&str]| {
        let identity_token = registry.people.issue(&json!({ "sub": "admin", "aud": AUDIENCE }));
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        let request = roadstead_proto::auth::v1::ExchangeRequest {
            identity_token,
            narrowing: Some(Narrowing {
                resources: texts(resources),
                capabilities: texts(capabilities),
            }),
            ..Default::default()
        };
        let answer = registry.auth.exchange_as(request).await.unwrap();
        registry.holding(answer.access_token)
    };
    let here = token(&["acme/web"], &[]).await;
    here.bind(&friend, "registry.pull", group("acme/web"))
        .await
        .unwrap();
    assert_eq!(
        refused(here.bind(&friend, "registry.pull", group("acme/api")).await),
        ErrorReason::CapabilityMissing
    );
    let puller = token(&[], &["bindings.create", "repo.pull", "repo.list"]).await;
    puller
        .bind(&friend, "registry.pull", group("acme/api"))
        .await
        .unwrap();
    assert_eq!(
        refused(puller.bind(&friend, "registry.push", group("acme/api")).await),
        ErrorReason::CapabilityMissing
    );
    assert_eq!(
        refused(puller.create_group("acme/new").await),
        ErrorReason::CapabilityMissing
    );
    assert_eq!(puller.actions("acme/web").await, "pull");
}

#[tokio::test]
async fn everybody_is_given_pulling_only() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    let bind = async |role: &str, conditions: &[(&str, &str)]| {
        owner.bind_if("anonymous", role, group("acme"), conditions).await
    };
    for role in ["registry.push", "viewer", "owner"] {
        assert_eq!(
            refused(bind(role, &[]).await),
            ErrorReason::ArgumentInvalid,
            "{role}"
        );
    }
    assert_eq!(
        refused(bind("registry.pull", &[("ref", "main")]).await),
        ErrorReason::ArgumentInvalid
    );
    assert_eq!(registry.holding(String::new()).actions("acme/web").await, "");
    bind("registry.pull", &[]).await.unwrap();
    assert_eq!(registry.holding(String::new()).actions("acme/web").await, "pull");
    assert_eq!(registry.person("nobody").await.actions("acme/web").await, "pull");
    assert_eq!(registry.holding(String::new()).actions("other/web").await, "");
}

#[tokio::test]
async fn bindings_of_other_groups_are_unknown() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    let id = owner.workload("", "ci", "main").await;
    let hidden = owner.bind(&id, "registry.pull", group("other")).await.unwrap();
    owner.bind(&id, "registry.pull", group("acme/web")).await.unwrap();
    owner
        .bind(&id, "registry.pull", repository("acme/api"))
        .await
        .unwrap();
    owner.bind(&id, "registry.pull", group("acme-two")).await.unwrap();
    let viewer = registry.person_with("viewer", "viewer", group("acme")).await;
    let visible = places(&list(&viewer, "", "").await);
    assert_eq!(
        visible,
        ["viewer acme", "registry.pull acme/api", "registry.pull acme/web"]
    );
    assert!(list(&viewer, "other", "").await.is_empty());
    assert_eq!(list(&viewer, "", &id).await.len(), 2);
    assert!(list(&viewer, "", "absent").await.is_empty());
    for foreign in [hidden.id.as_str(), "bnd_0"] {
        assert_eq!(refused(seen(&viewer, foreign).await), ErrorReason::NotFound);
        assert_eq!(refused(viewer.unbind(foreign).await), ErrorReason::NotFound);
    }
    let mine = list(&viewer, "acme", "").await.remove(0);
    assert_eq!(
        refused(viewer.unbind(&mine.id).await),
        ErrorReason::CapabilityMissing
    );
    // Who may look at one repository sees what is given at it alone.
    let narrow = registry
        .person_with("narrow", "viewer", repository("acme/api"))
        .await;
    let mut there = places(&list(&narrow, "", "").await);
    there.sort();
    assert_eq!(there, ["registry.pull acme/api", "viewer acme/api"]);
}

#[tokio::test]
async fn a_resource_is_a_group_or_a_repository() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    let bind = async |at: Option<Resource>| {
        let request = roadstead_proto::auth::v1::CreateBindingRequest {
            identity: "anonymous".to_owned(),
            role: "registry.pull".to_owned(),
            resource: at,
            conditions: Vec::new(),
        };
        refused(owner.bindings().create_binding(by(&owner.token, request)).await)
    };
    assert_eq!(bind(None).await, ErrorReason::ArgumentInvalid);
    let unspecified = Resource {
        kind: ResourceKind::Unspecified.into(),
        path: "acme".to_owned(),
    };
    assert_eq!(bind(Some(unspecified)).await, ErrorReason::ArgumentInvalid);
    for wrong in [repository(""), repository("A"), group("a/"), group("a//b")] {
        assert_eq!(bind(Some(wrong)).await, ErrorReason::NameInvalid);
    }
}
