//! The stream of revocations, as verifiers read it.

use roadstead_authn::VerifyError;
use roadstead_proto::auth::v1::{
    CreateBindingRequest, CreateBindingResponse, CreatePullTokenRequest, DeleteBindingRequest, PushPolicy,
    RevokePullTokenRequest, SetPushPolicyRequest, WatchRequest, WatchResponse,
    binding_service_client::BindingServiceClient, group_service_client::GroupServiceClient,
    pull_token_service_client::PullTokenServiceClient, revocation_service_client::RevocationServiceClient,
    watermark::Subject,
};
use roadstead_rpc::{ErrorReason, Peer, RpcChannel, reason};
use serde_json::json;
use tonic::Streaming;

use crate::harness::{Auth, by, eventually, group, issuer, refused, repository, trusting};

const PUSH_WEB: &str = "repository:acme/web:push";

async fn start() -> (roadstead_testkit::OidcIssuer, Auth) {
    let (issuer, clock, time) = issuer().await;
    let auth = Auth::start(trusting(&issuer), clock, time).await;
    (issuer, auth)
}

async fn watch(auth: &Auth) -> Streaming<WatchResponse> {
    let mut client = RevocationServiceClient::new(auth.channel(Peer::Metadata));
    client.watch(WatchRequest {}).await.unwrap().into_inner()
}

/// The next message that tells of something.
async fn told(stream: &mut Streaming<WatchResponse>) -> WatchResponse {
    loop {
        let message = stream.message().await.unwrap().unwrap();
        if message.revision != message.previous {
            return message;
        }
    }
}

fn bindings(auth: &Auth) -> BindingServiceClient<RpcChannel> {
    BindingServiceClient::new(auth.channel(Peer::Gateway))
}

async fn bind(auth: &Auth, owner: &str, identity: &str, role: &str, path: &str) -> CreateBindingResponse {
    let request = CreateBindingRequest {
        identity: identity.to_owned(),
        role: role.to_owned(),
        resource: Some(group(path)),
        conditions: Vec::new(),
    };
    let answer = bindings(auth).create_binding(by(owner, request)).await;
    answer.unwrap().into_inner()
}

async fn unbind(auth: &Auth, owner: &str, made: CreateBindingResponse) {
    let request = DeleteBindingRequest {
        id: made.binding.unwrap().id,
    };
    bindings(auth).delete_binding(by(owner, request)).await.unwrap();
}

#[tokio::test]
async fn a_stream_begins_with_a_snapshot_and_goes_on_with_changes_and_heartbeats() {
    let (_issuer, auth) = start().await;
    let owner = auth.owner().await;
    let made = bind(&auth, &owner, "imported-1", "viewer", "beta").await;
    let identity = made.binding.as_ref().unwrap().identity.clone().unwrap().id;
    unbind(&auth, &owner, made).await;

    let mut stream = watch(&auth).await;
    let snapshot = told(&mut stream).await;
    assert_eq!((snapshot.previous, snapshot.more), (0, false));
    let [mark] = snapshot.watermarks.as_slice() else {
        panic!("one was revoked, not {:?}", snapshot.watermarks)
    };
    assert_eq!(mark.subject, Some(Subject::Identity(identity.clone())));
    assert_eq!(mark.revision, snapshot.revision);

    let heartbeat = stream.message().await.unwrap().unwrap();
    assert_eq!(
        (heartbeat.previous, heartbeat.revision, heartbeat.watermarks.len()),
        (snapshot.revision, snapshot.revision, 0)
    );
    // What gives somebody more revokes nothing, and is told all the same.
    let made = bind(&auth, &owner, "imported-1", "viewer", "beta").await;
    let wider = told(&mut stream).await;
    assert_eq!((wider.previous, wider.watermarks.len()), (snapshot.revision, 0));
    unbind(&auth, &owner, made).await;
    let narrower = told(&mut stream).await;
    assert_eq!(narrower.previous, wider.revision);
    assert_eq!(narrower.watermarks[0].subject, Some(Subject::Identity(identity)));
}

#[tokio::test]
async fn many_changes_between_two_messages_are_all_told() {
    let (_issuer, auth) = start().await;
    let owner = auth.owner().await;
    let mut client = PullTokenServiceClient::new(auth.channel(Peer::Gateway));
    let mut stream = watch(&auth).await;
    let mut known = told(&mut stream).await.revision;
    let mut ids = std::collections::BTreeSet::new();
    for index in 0..20 {
        let request = CreatePullTokenRequest {
            name: format!("token-{index}"),
            resources: vec![repository("acme/web")],
            ..CreatePullTokenRequest::default()
        };
        let made = client.create_pull_token(by(&owner, request)).await.unwrap();
        let id = made.into_inner().pull_token.unwrap().id;
        let request = RevokePullTokenRequest { id: id.clone() };
        client.revoke_pull_token(by(&owner, request)).await.unwrap();
        ids.insert(format!("pull-token:{id}"));
    }
    // Nobody read meanwhile.
    while !ids.is_empty() {
        let message = told(&mut stream).await;
        assert_eq!(message.previous, known, "nothing was left out");
        known = message.revision;
        for mark in message.watermarks {
            let Some(Subject::Credential(credential)) = mark.subject else {
                panic!("a credential was revoked, not {:?}", mark.subject)
            };
            assert!(ids.remove(&credential), "{credential} was told once");
        }
    }
}

#[tokio::test]
async fn a_binding_that_is_taken_back_ends_what_was_decided_by_it() {
    let (issuer, auth) = start().await;
    let owner = auth.owner().await;
    let verifier = auth.verifier().await;
    let made = bind(&auth, &owner, "imported-1", "registry.push", "beta").await;
    let access = auth.access_token(&issuer, json!({ "sub": "ci" })).await;
    let scope = "repository:beta/web:push";
    let token = auth.registry_token(&access, &[scope]).await.unwrap();
    assert_eq!(token.granted_scopes, [scope]);
    verifier.registry(&token.token).unwrap();
    unbind(&auth, &owner, made).await;
    eventually("the revocation", || {
        matches!(verifier.registry(&token.token), Err(VerifyError::Revoked(_)))
    })
    .await;
    assert_eq!(
        refused(auth.readable(&token.token).await),
        ErrorReason::TokenInvalid
    );
    // The access token goes on: what it is good for is looked up.
    let again = auth.registry_token(&access, &[scope, PUSH_WEB]).await.unwrap();
    assert_eq!(again.granted_scopes, [PUSH_WEB]);
    verifier.registry(&again.token).unwrap();
}

#[tokio::test]
async fn a_push_policy_ends_what_was_decided_before_it() {
    let (issuer, auth) = start().await;
    let owner = auth.owner().await;
    let verifier = auth.verifier().await;
    let access = auth.access_token(&issuer, json!({ "sub": "ci" })).await;
    let token = auth.registry_token(&access, &[PUSH_WEB]).await.unwrap();
    let elsewhere = auth
        .registry_token(&access, &["repository:acme/api:push"])
        .await
        .unwrap();
    verifier.registry(&token.token).unwrap();
    let request = SetPushPolicyRequest {
        resource: Some(repository("acme/web")),
        policy: PushPolicy::WorkloadOnly.into(),
    };
    GroupServiceClient::new(auth.channel(Peer::Gateway))
        .set_push_policy(by(&owner, request))
        .await
        .unwrap();
    eventually("the revocation", || {
        matches!(verifier.registry(&token.token), Err(VerifyError::Revoked(_)))
    })
    .await;
    verifier.registry(&elsewhere.token).unwrap();
    let again = auth.registry_token(&access, &[PUSH_WEB]).await.unwrap();
    assert!(again.granted_scopes.is_empty());
}

#[tokio::test]
async fn the_stream_ends_with_the_service_and_is_for_verifiers_only() {
    let (_issuer, auth) = start().await;
    for peer in [Peer::Blobs, Peer::Operator] {
        let mut client = RevocationServiceClient::new(auth.channel(peer));
        let status = client.watch(WatchRequest {}).await.unwrap_err();
        assert_eq!(reason(&status), ErrorReason::PeerRefused, "{peer}");
    }
    let mut stream = watch(&auth).await;
    told(&mut stream).await;
    auth.stop().await;
    while let Ok(Some(message)) = stream.message().await {
        assert!(message.watermarks.is_empty());
    }
}
