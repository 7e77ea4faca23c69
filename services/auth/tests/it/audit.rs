//! Audit events of what is done with tokens.

use std::fmt::Write as _;

use roadstead_proto::{
    auth::v1::{
        ClaimEventsRequest, CreateGroupRequest, CreatePullTokenRequest, ExchangeRequest,
        RevokePullTokenRequest, RotatePullTokenRequest, group_service_client::GroupServiceClient,
        outbox_service_client::OutboxServiceClient, pull_token_service_client::PullTokenServiceClient,
    },
    common::v1::RequestContext,
};
use roadstead_rpc::{ErrorReason, Peer};
use roadstead_testkit::OidcIssuer;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::{AUDIENCE, Auth, by, config, issuer, local, refused, repository};

const CLIENT: &str = "roadstead-cli";

fn configured(issuer: &OidcIssuer) -> roadstead_auth::Config {
    config(json!({
        "dev": true,
        "issuers": [{
            "issuer": issuer.url(),
            "audience": AUDIENCE,
            "allow_private": true,
            "login": { "client_id": CLIENT },
        }],
    }))
}

async fn start() -> (OidcIssuer, Auth) {
    let (issuer, clock, time) = issuer().await;
    let auth = Auth::start(configured(&issuer), clock, time).await;
    (issuer, auth)
}

/// All events that are not claimed yet, as CloudEvents.
async fn events(auth: &Auth) -> Vec<Value> {
    let mut client = OutboxServiceClient::new(auth.channel(Peer::Events));
    let request = ClaimEventsRequest { max_events: 1000 };
    let claimed = client.claim_events(request).await.unwrap().into_inner().events;
    claimed
        .iter()
        .map(|event| serde_json::from_slice(&event.cloudevent_json).unwrap())
        .collect()
}

fn of<'e>(events: &'e [Value], kind: &str) -> Vec<&'e Value> {
    events.iter().filter(|event| event["type"] == kind).collect()
}

fn from(address: &str) -> RequestContext {
    RequestContext {
        request_id: "request-1".to_owned(),
        client_address: address.to_owned(),
        ..RequestContext::default()
    }
}

#[tokio::test]
async fn an_exchange_is_told_without_the_token() {
    let (issuer, auth) = start().await;
    let identity_token = issuer.issue(&json!({ "aud": CLIENT, "sub": "alice" }));
    let request = ExchangeRequest {
        identity_token: identity_token.clone(),
        session: true,
        context: Some(from("192.0.2.7")),
        ..ExchangeRequest::default()
    };
    let answer = auth.exchange_as(request).await.unwrap();
    let all = events(&auth).await;
    let [exchange] = of(&all, "dev.roadstead.auth.exchange.v1")[..] else {
        panic!("one exchange, not {all:?}")
    };
    let data = &exchange["data"];
    assert_eq!(
        (&data["issuer"], &data["subject"]),
        (&json!(issuer.url()), &json!("alice"))
    );
    assert_eq!(data["identities"], json!([answer.identities[0].id]));
    assert_eq!(
        (&data["client_address"], &data["request_id"]),
        (&json!("192.0.2.7"), &json!("request-1"))
    );
    let mut hash = String::new();
    for byte in Sha256::digest(identity_token.as_bytes()) {
        write!(hash, "{byte:02x}").unwrap();
    }
    assert_eq!(data["token_sha256"], hash);
    assert!(data["session"].as_str().unwrap().starts_with("ses_"));
    // The person was made by it.
    let mut made = of(&all, "dev.roadstead.iam.identity.created.v1");
    made.retain(|event| event["subject"] == answer.identities[0].id);
    assert_eq!(made.len(), 1);
    let text = serde_json::to_string(&all).unwrap();
    for secret in [&identity_token, &answer.access_token, &answer.refresh_token] {
        let signature = secret.rsplit_once('.').unwrap().1;
        assert!(!text.contains(signature));
    }
    assert!(all.iter().all(|event| event["path"].is_string()), "all say where");
}

#[tokio::test]
async fn a_session_that_ends_says_why() {
    let (issuer, auth) = start().await;
    let log_in = async || {
        let request = ExchangeRequest {
            identity_token: issuer.issue(&json!({ "aud": CLIENT, "sub": "alice" })),
            session: true,
            ..ExchangeRequest::default()
        };
        auth.exchange_as(request).await.unwrap().refresh_token
    };
    let (left, stolen) = (log_in().await, log_in().await);
    auth.revoke_session(&left).await;
    auth.revoke_session(&left).await;
    auth.refresh(&stolen).await.unwrap();
    auth.time.advance(std::time::Duration::from_mins(1));
    assert_eq!(refused(auth.refresh(&stolen).await), ErrorReason::TokenInvalid);
    assert_eq!(refused(auth.refresh(&stolen).await), ErrorReason::TokenInvalid);
    let all = events(&auth).await;
    let reasons: Vec<_> = of(&all, "dev.roadstead.iam.session.revoked.v1")
        .into_iter()
        .map(|event| event["data"]["reason"].clone())
        .collect();
    assert_eq!(reasons, ["logout", "reuse"], "each end is told once");
}

#[tokio::test]
async fn the_life_of_a_pull_token_is_told_without_its_secret() {
    let (_issuer, auth) = start().await;
    let owner = auth.owner().await;
    let mut client = PullTokenServiceClient::new(auth.channel(Peer::Gateway));
    let request = CreatePullTokenRequest {
        name: "staging".to_owned(),
        resources: vec![repository("acme/web")],
        ..CreatePullTokenRequest::default()
    };
    let made = client
        .create_pull_token(by(&owner, request))
        .await
        .unwrap()
        .into_inner();
    let id = made.pull_token.unwrap().id;
    let request = RotatePullTokenRequest {
        id: id.clone(),
        ..RotatePullTokenRequest::default()
    };
    let next = client
        .rotate_pull_token(by(&owner, request))
        .await
        .unwrap()
        .into_inner();
    let request = RevokePullTokenRequest { id: id.clone() };
    client.revoke_pull_token(by(&owner, request)).await.unwrap();
    let all = events(&auth).await;
    for kind in ["created", "rotated", "revoked"] {
        let told = of(&all, &format!("dev.roadstead.iam.pull_token.{kind}.v1"));
        assert_eq!(told.len(), 1, "{kind}");
        assert_eq!(
            (&told[0]["path"], &told[0]["data"]["id"]),
            (&json!("acme"), &json!(id))
        );
        assert_eq!(told[0]["data"]["actor"]["subject"], "dev");
    }
    let text = serde_json::to_string(&all).unwrap();
    for token in [made.token, next.token] {
        let secret = &token[token.len() - 43..];
        assert!(!text.contains(secret));
    }
}

#[tokio::test]
async fn repeated_refusals_of_one_caller_are_one_event() {
    let (issuer, auth) = start().await;
    let stranger = auth.access_token(&issuer, json!({ "sub": "stranger" })).await;
    for index in 0..50 {
        let request = CreateGroupRequest {
            path: "acme".to_owned(),
            display_name: format!("{index}"),
            restore: false,
        };
        let outcome = GroupServiceClient::new(auth.channel(Peer::Gateway))
            .create_group(by(&stranger, request))
            .await;
        assert_eq!(refused(outcome), ErrorReason::CapabilityMissing);
        let request = ExchangeRequest {
            identity_token: "no token".to_owned(),
            context: Some(from("192.0.2.7")),
            ..ExchangeRequest::default()
        };
        assert_eq!(
            refused(auth.exchange_as(request).await),
            ErrorReason::TokenInvalid
        );
    }
    // What is not told yet is told when the service ends.
    let (clock, time) = (auth.clock.clone(), auth.time.clone());
    let directory = auth.stop().await;
    let auth = Auth::start_in(directory, configured(&issuer), local(), clock, time)
        .await
        .unwrap();
    let all = events(&auth).await;
    let mut told: Vec<_> = of(&all, "dev.roadstead.auth.refusal.v1")
        .into_iter()
        .map(|event| {
            let data = &event["data"];
            (
                data["reason"].as_str().unwrap().to_owned(),
                data["actor"]["subject"].as_str().unwrap().to_owned(),
                data["client_address"].as_str().unwrap().to_owned(),
                data["count"].as_u64().unwrap(),
            )
        })
        .collect();
    told.sort();
    let expected = [
        ("CAPABILITY_MISSING", "stranger", "", 50),
        ("TOKEN_INVALID", "", "192.0.2.7", 50),
    ];
    assert_eq!(
        told,
        expected.map(|(reason, subject, address, count)| {
            (reason.to_owned(), subject.to_owned(), address.to_owned(), count)
        })
    );
}
