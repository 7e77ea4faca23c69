//! Audit events.

use roadstead_proto::auth::v1::{
    AckEventsRequest, ClaimEventsRequest, PushPolicy, outbox_service_client::OutboxServiceClient,
};
use roadstead_rpc::{ErrorReason, Peer};
use serde_json::{Value, json};

use super::support::Registry;
use crate::harness::{group, refused};

async fn claim(registry: &Registry, max_events: u32) -> Vec<(String, Value)> {
    let mut client = OutboxServiceClient::new(registry.auth.channel(Peer::Events));
    let answer = client
        .claim_events(ClaimEventsRequest { max_events })
        .await
        .unwrap();
    let events = answer.into_inner().events.into_iter();
    events
        .map(|event| {
            let json: Value = serde_json::from_slice(&event.cloudevent_json).unwrap();
            assert_eq!(json["id"], event.id.as_str());
            (event.id, json)
        })
        .collect()
}

async fn ack(registry: &Registry, ids: Vec<String>) {
    let mut client = OutboxServiceClient::new(registry.auth.channel(Peer::Events));
    client.ack_events(AckEventsRequest { ids }).await.unwrap();
}

/// Takes all events out, and gives type, path and subject of those of the administration.
async fn drain(registry: &Registry) -> Vec<(String, String, Value)> {
    let mut found = Vec::new();
    loop {
        let events = claim(registry, 3).await;
        if events.is_empty() {
            return found;
        }
        assert!(events.len() <= 3);
        ack(registry, events.iter().map(|(id, _)| id.clone()).collect()).await;
        for (_, event) in events {
            let text = |name: &str| event[name].as_str().unwrap().to_owned();
            if text("type").starts_with("dev.roadstead.iam.") {
                found.push((text("type"), text("path"), event));
            }
        }
    }
}

#[tokio::test]
async fn every_change_is_told_with_who_made_it_and_where() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    let started = drain(&registry).await;
    let kinds: Vec<_> = started.iter().map(|(kind, _, _)| kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "dev.roadstead.iam.identity.created.v1",
            "dev.roadstead.iam.binding.created.v1"
        ]
    );
    assert_eq!(started[0].2["data"]["actor"]["subject"], "configuration");

    owner.create_group("acme/web").await.unwrap();
    let ci = owner.workload("acme", "ci", "main").await;
    owner.create_role("acme", "puller", &["repo.pull"]).await.unwrap();
    let binding = owner.bind(&ci, "acme/puller", group("acme/api")).await.unwrap();
    owner.mark(group("acme"), PushPolicy::WorkloadOnly).await.unwrap();
    owner.mark(group("acme"), PushPolicy::WorkloadOnly).await.unwrap();
    owner.mark(group("acme"), PushPolicy::Unspecified).await.unwrap();
    owner.unbind(&binding.id).await.unwrap();
    owner.delete_identity(&ci).await.unwrap();
    owner.delete_group("acme/web").await.unwrap();
    // What is refused is no change.
    refused(owner.create_group("acme").await);
    let told = drain(&registry).await;
    let told: Vec<_> = told
        .iter()
        .map(|(kind, path, event)| {
            assert_eq!(event["data"]["actor"]["subject"], "dev", "{event}");
            assert_eq!(event["specversion"], "1.0");
            let kind = kind.strip_prefix("dev.roadstead.iam.").unwrap();
            (kind.strip_suffix(".v1").unwrap(), path.as_str())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("group.created", "acme"),
            ("group.created", "acme/web"),
            ("identity.created", "acme"),
            ("role.created", "acme"),
            ("group.created", "acme/api"),
            ("binding.created", "acme/api"),
            ("push_policy.set", "acme"),
            ("push_policy.lifted", "acme"),
            ("binding.deleted", "acme/api"),
            ("identity.deleted", "acme"),
            ("group.deleted", "acme/web"),
        ]
    );
}

#[tokio::test]
async fn what_is_claimed_is_not_given_twice_before_its_lease_ends() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    drain(&registry).await;
    for path in ["a", "b", "c"] {
        owner.create_group(path).await.unwrap();
    }
    let first = claim(&registry, 2).await;
    assert_eq!(first.len(), 2);
    assert_eq!(claim(&registry, 100).await.len(), 1);
    assert!(claim(&registry, 100).await.is_empty());
    ack(&registry, vec![first[0].0.clone()]).await;
    registry.auth.time.advance(std::time::Duration::from_mins(2));
    let again = claim(&registry, 100).await;
    assert_eq!(again.len(), 2);
    assert_eq!(again[0], first[1]);
}

#[tokio::test]
async fn only_events_has_them() {
    let registry = Registry::start().await;
    for peer in [Peer::Gateway, Peer::Metadata, Peer::Blobs] {
        let mut client = OutboxServiceClient::new(registry.auth.channel(peer));
        let outcome = client.claim_events(ClaimEventsRequest { max_events: 1 }).await;
        assert_eq!(refused(outcome), ErrorReason::PeerRefused, "{peer}");
    }
}

#[tokio::test]
async fn a_rule_is_told_whole_and_holds_no_secret() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    drain(&registry).await;
    let ci = owner.workload("", "ci", "main").await;
    let told = drain(&registry).await;
    assert_eq!(told[0].2["subject"], ci.as_str());
    assert_eq!(
        told[0].2["data"]["rule"],
        json!({
            "kind": "claim_match",
            "issuer": { "exact": registry.workloads.url() },
            "subject": { "exact": "main" },
        })
    );
    assert!(!told[0].2.to_string().contains(&owner.token));
}
