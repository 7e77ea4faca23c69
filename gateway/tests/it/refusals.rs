//! What auditors hear of refusals.

use std::time::Duration;

use http::Method;
use roadstead_gateway::Config;
use roadstead_types::Principal;
use serde_json::{Value, json};

use crate::services::{Gateway, Script, alice};

const REFUSAL: &str = "dev.roadstead.registry.refusal.v1";

/// One whose refusals become events when it stops, and not before.
async fn gateway() -> Gateway {
    Gateway::start(Config {
        refusal_event_interval: Duration::from_hours(1),
        ..Config::default()
    })
    .await
}

async fn request(gateway: &Gateway, method: Method, path: &str, token: &str) -> u16 {
    let request = gateway.http.request(method, gateway.url(path)).bearer_auth(token);
    request.send().await.unwrap().status().as_u16()
}

/// Stops the gateway and gives what it told, sorted by place.
async fn told(gateway: Gateway) -> Vec<Value> {
    let script = gateway.script.clone();
    gateway.end().await;
    let mut events: Vec<Value> = script.published.lock().unwrap().clone();
    events.sort_by_key(|event| format!("{}{}", event["path"], event["data"]["action"]));
    events
}

#[tokio::test]
async fn repeated_refusals_of_one_identity_are_one_event_with_a_count() {
    let gateway = gateway().await;
    let token = |principal: &Principal| {
        gateway
            .keys
            .registry_token(principal)
            .denied("repository:a/b:pull,push")
            .denied("repository:a/c:pull")
            .sign()
    };
    let (mine, nobodys) = (token(&alice()), token(&Principal::anonymous()));
    for _ in 0..5 {
        assert_eq!(
            request(&gateway, Method::GET, "/v2/a/b/tags/list", &mine).await,
            403
        );
        // Somebody who showed no identity is refused without a word to the auditors.
        assert_eq!(
            request(&gateway, Method::GET, "/v2/a/b/tags/list", &nobodys).await,
            401
        );
    }
    assert_eq!(
        request(&gateway, Method::POST, "/v2/a/b/blobs/uploads/", &mine).await,
        403
    );
    assert_eq!(
        request(&gateway, Method::GET, "/v2/a/c/tags/list", &mine).await,
        403
    );
    let events = told(gateway).await;
    let summary: Vec<_> = events
        .iter()
        .map(|event| {
            let data = &event["data"];
            json!([
                event["path"],
                event["repository"],
                data["action"],
                data["count"],
                data["status"]
            ])
        })
        .collect();
    assert_eq!(
        summary,
        [
            json!(["a/b", "a/b", "pull", 5, 403]),
            json!(["a/b", "a/b", "push", 1, 403]),
            json!(["a/c", "a/c", "pull", 1, 403]),
        ]
    );
    for event in &events {
        assert_eq!(event["type"], REFUSAL);
        let actor = json!({ "issuer": "https://issuer.example", "subject": "alice" });
        assert_eq!(event["data"]["actor"], actor);
        assert_eq!(event["data"]["client_address"], "127.0.0.1");
    }
    assert_eq!(events[1]["data"]["capability"], "repo.push");
}

#[tokio::test]
async fn tokens_that_are_good_no_longer_are_refusals_and_asking_for_another_is_none() {
    let gateway = gateway().await;
    let expired = gateway
        .keys
        .registry_token(&alice())
        .access("repository:a/b:pull")
        .expired()
        .sign();
    assert_eq!(
        request(&gateway, Method::GET, "/v2/a/b/tags/list", &expired).await,
        401
    );
    let other = gateway.token(&["repository:other:pull"]);
    assert_eq!(
        request(&gateway, Method::GET, "/v2/a/b/tags/list", &other).await,
        401
    );
    assert_eq!(
        request(&gateway, Method::GET, "/v2/a/b/tags/list", "nonsense").await,
        401
    );
    let events = told(gateway).await;
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["data"]["reason"], "the token had expired");
    assert_eq!(events[0]["data"]["status"], 401);
}

#[tokio::test]
async fn one_identity_cannot_fill_the_log() {
    let gateway = gateway().await;
    for number in 0..40 {
        let token = gateway
            .keys
            .registry_token(&alice())
            .denied(&format!("repository:r/{number:02}:pull"))
            .sign();
        let path = format!("/v2/r/{number:02}/tags/list");
        assert_eq!(request(&gateway, Method::GET, &path, &token).await, 403);
    }
    let events = told(gateway).await;
    assert_eq!(events.len(), 9, "eight places and the rest");
    let counts: u64 = events
        .iter()
        .map(|event| event["data"]["count"].as_u64().unwrap())
        .sum();
    assert_eq!(counts, 40, "none is lost");
    assert_eq!(events[0]["path"], "");
    assert_eq!(events[0]["data"]["count"], 32);
    assert_eq!(events[0].get("repository"), None);
}

#[tokio::test]
async fn refusals_are_told_while_the_gateway_runs() {
    let gateway = Gateway::start(Config {
        refusal_event_interval: Duration::from_millis(10),
        ..Config::default()
    })
    .await;
    let denied = gateway
        .keys
        .registry_token(&alice())
        .denied("repository:a/b:pull")
        .sign();
    for round in 1..=2 {
        assert_eq!(
            request(&gateway, Method::GET, "/v2/a/b/tags/list", &denied).await,
            403
        );
        gateway
            .eventually("it is told", |script: &Script| {
                script.published.lock().unwrap().len() == round
            })
            .await;
    }
}
