//! The development issuer.

use std::time::Duration;

use roadstead_auth::Config;
use roadstead_proto::auth::v1::{
    IssueIdentityTokenRequest, dev_issuer_service_client::DevIssuerServiceClient,
};
use roadstead_rpc::{ErrorReason, Peer, reason};
use serde_json::json;
use tonic::Status;

use crate::harness::{Auth, config, stopped_clock};

async fn start(config: Config) -> Auth {
    let (clock, time) = stopped_clock();
    Auth::start(config, clock, time).await
}

async fn identity_token(auth: &Auth, caller: Peer) -> Result<String, Status> {
    let mut client = DevIssuerServiceClient::new(auth.channel(caller));
    let answer = client
        .issue_identity_token(IssueIdentityTokenRequest::default())
        .await?;
    Ok(answer.into_inner().identity_token)
}

#[tokio::test]
async fn a_developer_may_do_everything() {
    let auth = start(config(json!({ "dev": true }))).await;
    let answer = auth
        .exchange(&identity_token(&auth, Peer::Gateway).await.unwrap())
        .await
        .unwrap();
    let identity = answer.identity.unwrap();
    assert_eq!(
        (identity.issuer.as_str(), identity.subject.as_str()),
        ("http://127.0.0.1:5000/dev", "dev")
    );
    let token = auth
        .registry_token(&answer.access_token, &["repository:any/thing:*"])
        .await
        .unwrap();
    assert_eq!(token.granted_scopes, ["repository:any/thing:pull,push,delete"]);
    assert_eq!(auth.readable(&answer.access_token).await.unwrap().prefixes, [""]);
}

#[tokio::test]
async fn it_refuses_when_it_is_off() {
    let auth = start(Config::default()).await;
    let status = identity_token(&auth, Peer::Gateway).await.unwrap_err();
    assert_eq!(reason(&status), ErrorReason::DevIssuerRefused);
    let other = start(config(json!({ "dev": true }))).await;
    let token = identity_token(&other, Peer::Gateway).await.unwrap();
    assert_eq!(auth.refusal(&token).await, ErrorReason::IssuerUntrusted);
}

#[tokio::test]
async fn its_tokens_are_good_for_its_process_and_a_minute() {
    let auth = start(config(json!({ "dev": true }))).await;
    let other = start(config(json!({ "dev": true }))).await;
    let foreign = identity_token(&other, Peer::Gateway).await.unwrap();
    assert_eq!(auth.refusal(&foreign).await, ErrorReason::TokenInvalid);
    let own = identity_token(&auth, Peer::Gateway).await.unwrap();
    auth.time.advance(Duration::from_mins(1));
    assert_eq!(auth.refusal(&own).await, ErrorReason::TokenExpired);
}

#[tokio::test]
async fn only_the_gateway_may_ask_it() {
    let auth = start(config(json!({ "dev": true }))).await;
    for peer in [Peer::Metadata, Peer::Events, Peer::Blobs] {
        let status = identity_token(&auth, peer).await.unwrap_err();
        assert_eq!(reason(&status), ErrorReason::PeerRefused, "{peer}");
    }
}
