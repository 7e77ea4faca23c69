//! What other services ask: what may be pulled, by whom, and what everybody may.

use roadstead_proto::auth::v1::{
    CheckRequest, NoteRepositoryRequest, authorization_service_client::AuthorizationServiceClient,
    repository_notice_service_client::RepositoryNoticeServiceClient,
};
use roadstead_rpc::{ErrorReason, Peer, reason};
use serde_json::json;
use tonic::Status;

use super::support::Registry;
use crate::harness::{by, group, refused, repository};

async fn check(registry: &Registry, token: &str, name: &str) -> Result<Vec<String>, Status> {
    let mut client = AuthorizationServiceClient::new(registry.auth.channel(Peer::Metadata));
    let request = CheckRequest {
        token: token.to_owned(),
        repository: name.to_owned(),
    };
    client
        .check(request)
        .await
        .map(|answer| answer.into_inner().actions)
}

async fn note(registry: &Registry, name: &str) -> Result<(), Status> {
    let mut client = RepositoryNoticeServiceClient::new(registry.auth.channel(Peer::Metadata));
    let request = NoteRepositoryRequest {
        repository: name.to_owned(),
    };
    client.note_repository(request).await.map(drop)
}

#[tokio::test]
async fn a_check_tells_what_everybody_may_and_what_a_bearer_may() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    owner
        .bind("anonymous", "registry.pull", group("public"))
        .await
        .unwrap();
    let pusher = registry
        .person_with("pusher", "registry.push", group("acme"))
        .await;
    let nothing: [&str; 0] = [];
    assert_eq!(check(&registry, "", "public/web").await.unwrap(), ["pull"]);
    assert_eq!(check(&registry, "", "acme/web").await.unwrap(), nothing);
    assert_eq!(
        check(&registry, &pusher.token, "acme/web").await.unwrap(),
        ["pull", "push"]
    );
    assert_eq!(
        check(&registry, &pusher.token, "public/web").await.unwrap(),
        ["pull"]
    );
    assert_eq!(
        check(&registry, &owner.token, "any/thing").await.unwrap(),
        ["pull", "push", "delete"]
    );
    assert_eq!(
        refused(check(&registry, "garbage", "acme/web").await),
        ErrorReason::TokenInvalid
    );
    assert_eq!(refused(check(&registry, "", "A").await), ErrorReason::NameInvalid);
}

#[tokio::test]
async fn readable_places_are_prefixes_and_single_repositories() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    owner
        .bind("anonymous", "registry.pull", repository("public/web"))
        .await
        .unwrap();
    let id = owner.workload("", "ci", "main").await;
    for (role, at) in [
        ("registry.pull", group("acme")),
        ("viewer", group("acme/web")),
        ("registry.pull", repository("beta/api")),
        ("viewer", repository("gamma/api")),
    ] {
        owner.bind(&id, role, at).await.unwrap();
    }
    let everybody = registry.auth.readable("").await.unwrap();
    assert_eq!(everybody.repositories, ["public/web"]);
    assert!(everybody.prefixes.is_empty() && everybody.audit_prefixes.is_empty());
    assert!(everybody.identity.is_none());
    let build = registry.build(json!({ "sub": "main" })).await;
    let registry_token = registry
        .auth
        .registry_token(&build.token, &[])
        .await
        .unwrap()
        .token;
    for token in [&build.token, &registry_token] {
        let mine = registry.auth.readable(token).await.unwrap();
        assert_eq!(mine.prefixes, ["acme"]);
        assert_eq!(mine.repositories, ["beta/api", "gamma/api", "public/web"]);
        assert_eq!(mine.audit_prefixes, ["acme/web"]);
        assert_eq!(mine.audit_repositories, ["gamma/api"]);
        assert_eq!(mine.identity.unwrap().subject, "main");
    }
    let all = registry.auth.readable(&owner.token).await.unwrap();
    assert_eq!(
        (all.prefixes, all.audit_prefixes),
        (vec![String::new()], vec![String::new()])
    );
    assert!(all.repositories.is_empty());
}

#[tokio::test]
async fn a_push_makes_the_groups_above_its_repository() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    for _ in 0..2 {
        note(&registry, "acme/web/front/app").await.unwrap();
        note(&registry, "alone").await.unwrap();
    }
    for there in ["acme", "acme/web", "acme/web/front"] {
        assert_eq!(
            refused(owner.create_group(there).await),
            ErrorReason::AlreadyExists
        );
    }
    owner.create_group("alone").await.unwrap();
    owner.create_group("acme/web/front/app").await.unwrap();
    assert_eq!(refused(note(&registry, "A").await), ErrorReason::NameInvalid);
    // A deleted group does not come back by it.
    for path in ["acme/web/front/app", "acme/web/front"] {
        owner.delete_group(path).await.unwrap();
    }
    for name in ["acme/web/front/other", "acme/web/front/deeper/other"] {
        note(&registry, name).await.unwrap();
    }
    assert_eq!(
        refused(owner.create_group("acme/web/front").await),
        ErrorReason::PathTombstoned
    );
}

#[tokio::test]
async fn each_service_answers_its_peers_only() {
    let registry = Registry::start().await;
    let asked_by = async |peer: Peer| {
        let mut client = RepositoryNoticeServiceClient::new(registry.auth.channel(peer));
        let outcome = client.note_repository(NoteRepositoryRequest::default()).await;
        reason(&outcome.unwrap_err())
    };
    for peer in [Peer::Gateway, Peer::Events, Peer::Blobs, Peer::Operator] {
        assert_eq!(asked_by(peer).await, ErrorReason::PeerRefused, "{peer}");
    }
    assert_eq!(asked_by(Peer::Metadata).await, ErrorReason::NameInvalid);
}

#[tokio::test]
async fn the_administration_believes_living_access_tokens_only() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    let registry_token = registry
        .auth
        .registry_token(&owner.token, &[])
        .await
        .unwrap()
        .token;
    for (token, expected) in [
        (registry_token.as_str(), ErrorReason::TokenInvalid),
        ("garbage", ErrorReason::TokenInvalid),
        ("", ErrorReason::TokenInvalid),
    ] {
        let caller = registry.holding(token.to_owned());
        assert_eq!(refused(caller.who_am_i().await), expected, "{token}");
        assert_eq!(refused(caller.create_group("acme").await), expected);
    }
    let mut client = owner.policies();
    let bare = roadstead_proto::auth::v1::WhoAmIRequest {};
    assert_eq!(refused(client.who_am_i(bare).await), ErrorReason::TokenMissing);
    let mut basic = by("x", bare);
    basic
        .metadata_mut()
        .insert("authorization", "Basic eDp5".parse().unwrap());
    assert_eq!(refused(client.who_am_i(basic).await), ErrorReason::TokenInvalid);
    registry.auth.time.advance(std::time::Duration::from_hours(1));
    assert_eq!(refused(owner.who_am_i().await), ErrorReason::TokenExpired);
}
