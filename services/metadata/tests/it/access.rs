use std::time::Duration;

use roadstead_proto::metadata::v1::read_access::Ground;
use roadstead_proto::metadata::v1::{
    ClaimEventsRequest, GetManifestRequest, ListTagHistoryRequest, ListTagsRequest, PutManifestRequest,
    ReadAccess,
};
use roadstead_rpc::{ErrorReason, Peer, detail, retry_after};
use roadstead_types::Principal;
use tonic::Request;

use crate::harness::*;

fn get(repository: &str, access: Option<ReadAccess>) -> GetManifestRequest {
    GetManifestRequest {
        repository: repository.to_owned(),
        reference: "v1".to_owned(),
        access,
        include_content: true,
    }
}

#[tokio::test]
async fn a_denied_read_is_the_same_whether_or_not_the_repository_exists() {
    let rig = Rig::start().await;
    rig.push_image("acme/web", "v1", "a").await;
    let mut denials = Vec::new();
    for repository in ["acme/web", "acme/never"] {
        let result = rig
            .read()
            .get_manifest(get(repository, access(Ground::PublicOnly, "")))
            .await;
        let status = refused(result, ErrorReason::PermissionMissing);
        denials.push(status.message().replace(repository, ""));
        let result = rig.read().get_manifest(get(repository, None)).await;
        refused(result, ErrorReason::RepositoryUnknown);
    }
    assert_eq!(denials[0], denials[1]);
}

#[tokio::test]
async fn public_repositories_need_no_token_and_say_what_is_missing() {
    let rig = Rig::start().await;
    rig.push_image("public/web", "v1", "a").await;
    rig.read()
        .get_manifest(get("public/web", access(Ground::PublicOnly, "")))
        .await
        .unwrap();
    let unknown = rig
        .read()
        .get_manifest(get("public/never", access(Ground::PublicOnly, "")))
        .await;
    refused(unknown, ErrorReason::RepositoryUnknown);
    let other = rig
        .read()
        .get_manifest(get("publicity", access(Ground::PublicOnly, "")))
        .await;
    refused(other, ErrorReason::PermissionMissing);
}

#[tokio::test]
async fn a_single_repository_that_is_public_opens_none_below_its_name() {
    let rig = Rig::start().await;
    rig.authority.grant_read_of(&Principal::anonymous(), "open");
    for repository in ["open", "open/below"] {
        rig.push_image(repository, "v1", "a").await;
    }
    rig.read()
        .get_manifest(get("open", access(Ground::PublicOnly, "")))
        .await
        .unwrap();
    let below = rig
        .read()
        .get_manifest(get("open/below", access(Ground::PublicOnly, "")))
        .await;
    refused(below, ErrorReason::PermissionMissing);
}

#[tokio::test]
async fn what_is_public_is_asked_of_auth_and_remembered_for_a_moment() {
    let rig = Rig::start().await;
    rig.push_image("public/web", "v1", "a").await;
    let read = async |repository: &str| {
        let access = access(Ground::PublicOnly, "");
        rig.read().get_manifest(get(repository, access)).await.map(|_| ())
    };
    for _ in 0..20 {
        read("public/web").await.unwrap();
    }
    assert!(rig.authority.checks() < 20, "not every read asks");
    rig.authority.make_private();
    let closed = async {
        while read("public/web").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), closed)
        .await
        .unwrap();
    refused(read("public/web").await, ErrorReason::PermissionMissing);
}

#[tokio::test]
async fn without_auth_nothing_is_public() {
    let rig = Rig::start().await;
    rig.push_image("public/web", "v1", "a").await;
    rig.authority.set_down(true);
    for repository in ["public/web", "public/never", "acme/web"] {
        let result = rig
            .read()
            .get_manifest(get(repository, access(Ground::PublicOnly, "")))
            .await;
        let status = refused(result, ErrorReason::Unavailable);
        assert!(retry_after(&status).is_some());
    }
    // Whoever may pull still does.
    rig.read()
        .get_manifest(get("public/web", granted()))
        .await
        .unwrap();
    rig.authority.set_down(false);
    rig.read()
        .get_manifest(get("public/web", access(Ground::PublicOnly, "")))
        .await
        .unwrap();
}

async fn put(rig: &Rig, token: &str) -> Result<(), tonic::Status> {
    let request = PutManifestRequest {
        registry_token: token.to_owned(),
        ..rig.put_request("acme/web", "v1", &index(&[]))
    };
    rig.write().put_manifest(request).await.map(|_| ())
}

#[tokio::test]
async fn writes_believe_only_the_token() {
    let rig = Rig::start().await;
    let keys = &rig.keys;
    let push = "repository:acme/web:pull,push";
    put(&rig, &keys.sign_registry_token(&alice(), &[push]))
        .await
        .unwrap();
    refused(put(&rig, "").await, ErrorReason::TokenMissing);
    refused(put(&rig, "nonsense").await, ErrorReason::TokenInvalid);
    refused(
        put(&rig, &keys.with_new_keys().sign_registry_token(&alice(), &[push])).await,
        ErrorReason::TokenInvalid,
    );
    refused(
        put(&rig, &keys.sign_access_token(&alice())).await,
        ErrorReason::TokenInvalid,
    );
    refused(
        put(&rig, &keys.registry_token(&alice()).access(push).expired().sign()).await,
        ErrorReason::TokenExpired,
    );
    let other = keys.sign_registry_token(&alice(), &["repository:acme/other:pull,push"]);
    refused(put(&rig, &other).await, ErrorReason::ScopeInsufficient);
    let pull = keys.sign_registry_token(&alice(), &["repository:acme/web:pull"]);
    refused(put(&rig, &pull).await, ErrorReason::ScopeInsufficient);
}

#[tokio::test]
async fn who_asked_and_was_denied_hears_what_was_missing() {
    let rig = Rig::start().await;
    let token = |principal: &Principal| {
        rig.keys
            .registry_token(principal)
            .access("repository:acme/web:pull")
            .denied("repository:acme/web:push")
            .sign()
    };
    let status = refused(put(&rig, &token(&alice())).await, ErrorReason::PermissionMissing);
    assert_eq!(
        detail(&status, "identity").unwrap(),
        "alice (https://issuer.example)"
    );
    assert_eq!(detail(&status, "resource").unwrap(), "acme/web");
    assert_eq!(detail(&status, "action").unwrap(), "push");
    // Another identity might be granted it, so the anonymous are asked for one.
    refused(
        put(&rig, &token(&Principal::anonymous())).await,
        ErrorReason::ScopeInsufficient,
    );
}

#[tokio::test]
async fn tag_history_takes_an_access_token_that_may_pull() {
    let rig = Rig::start().await;
    rig.push_image("acme/web", "v1", "a").await;
    let request = |repository: &str| ListTagHistoryRequest {
        repository: repository.to_owned(),
        tag: "v1".to_owned(),
        page_size: 0,
        page_token: String::new(),
    };
    let anonymous = Request::new(request("acme/web"));
    refused(
        rig.admin().list_tag_history(anonymous).await,
        ErrorReason::TokenMissing,
    );
    let registry = with_access_token(request("acme/web"), &rig.token(&["acme/web"]));
    refused(
        rig.admin().list_tag_history(registry).await,
        ErrorReason::TokenInvalid,
    );
    let expired = with_access_token(
        request("acme/web"),
        &rig.keys.access_token(&alice()).expired().sign(),
    );
    refused(
        rig.admin().list_tag_history(expired).await,
        ErrorReason::TokenExpired,
    );
    let access = rig.keys.sign_access_token(&alice());
    for repository in ["acme/web", "acme/never"] {
        let status = rig
            .admin()
            .list_tag_history(with_access_token(request(repository), &access))
            .await;
        refused(status, ErrorReason::PermissionMissing);
    }
    let bob = Principal::new("https://issuer.example", "bob");
    rig.authority.grant_read(&bob, "acme");
    let access = rig.keys.sign_access_token(&bob);
    let page = rig
        .admin()
        .list_tag_history(with_access_token(request("acme/web"), &access))
        .await
        .unwrap();
    assert_eq!(page.into_inner().changes.len(), 1);
}

#[tokio::test]
async fn peers_reach_only_their_own_services() {
    use roadstead_proto::metadata::v1::outbox_service_client::OutboxServiceClient;
    use roadstead_proto::metadata::v1::read_service_client::ReadServiceClient;
    let rig = Rig::start().await;
    let mut outbox = OutboxServiceClient::new(rig.channel(Peer::Gateway));
    refused(
        outbox.claim_events(ClaimEventsRequest { max_events: 1 }).await,
        ErrorReason::PeerRefused,
    );
    let mut read = ReadServiceClient::new(rig.channel(Peer::Events));
    let request = ListTagsRequest {
        repository: "acme/web".to_owned(),
        access: granted(),
        page_size: 0,
        last: String::new(),
    };
    refused(read.list_tags(request).await, ErrorReason::PeerRefused);
}

#[tokio::test]
async fn before_the_keys_came_writes_are_put_off_and_reads_are_served() {
    let rig = Rig::build(config(), false).await;
    assert!(!rig.service.readiness.is_ready());
    let status = refused(
        put(&rig, &rig.token(&["acme/web"])).await,
        ErrorReason::Unavailable,
    );
    assert!(retry_after(&status).is_some());
    let unknown = rig.read().get_manifest(get("acme/web", granted())).await;
    refused(unknown, ErrorReason::RepositoryUnknown);
    rig.authority.set_down(false);
    rig.service.readiness.wait_ready().await;
    put(&rig, &rig.token(&["acme/web"])).await.unwrap();
}
