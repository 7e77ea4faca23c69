use bytes::Bytes;
use roadstead_proto::events::v1::{PublishEventsRequest, ingest_service_client::IngestServiceClient};
use roadstead_rpc::{ErrorReason, Peer};
use serde_json::json;

use crate::harness::{Harness, PULL, PUSH, REFUSAL, assert_reason, event};

#[tokio::test]
async fn pulls_are_logged_once() {
    let mut harness = Harness::start().await;
    let pulls = vec![event("one", PULL, "acme/web"), event("two", PULL, "acme/web")];
    harness.publish(pulls.clone()).await.unwrap();
    harness.publish(pulls).await.unwrap();
    harness
        .publish(vec![
            event("two", PULL, "acme/web"),
            event("three", PULL, "acme/web"),
        ])
        .await
        .unwrap();
    harness.publish(Vec::new()).await.unwrap();
    harness.restart().await;
    let expected = [
        (1, "one".to_owned()),
        (2, "two".to_owned()),
        (3, "three".to_owned()),
    ];
    assert_eq!(harness.all().await, expected);
}

#[tokio::test]
async fn many_callers_at_once_leave_no_gap() {
    let harness = Harness::start().await;
    let publish = async |index: usize| {
        harness
            .publish(vec![event(&format!("{index}"), PULL, "acme/web")])
            .await
            .unwrap();
    };
    futures::future::join_all((0..100).map(publish)).await;
    let offsets: Vec<u64> = harness
        .all()
        .await
        .into_iter()
        .map(|(offset, _)| offset)
        .collect();
    assert_eq!(offsets, (1..=100).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_batch_with_something_wrong_is_refused_as_a_whole() {
    let harness = Harness::start().await;
    let good = Bytes::from(event("good", PULL, "acme/web").to_string());
    let mut no_source = event("x", PULL, "acme/web");
    no_source.as_object_mut().unwrap().remove("source");
    let mut long = event("x", PULL, "acme/web");
    long["data"] = json!("x".repeat(70_000));
    // A gateway sees pulls. That somebody pushed is not its to say.
    let push = event("x", PUSH, "acme/web");
    // Who was refused is for auditors, and who pulled is for members.
    let open_refusal = event("x", REFUSAL, "acme/web");
    let mut hidden_pull = event("x", PULL, "acme/web");
    hidden_pull["path"] = json!("");
    for bad in [
        String::new(),
        "[]".to_owned(),
        no_source.to_string(),
        long.to_string(),
        push.to_string(),
        open_refusal.to_string(),
        hidden_pull.to_string(),
    ] {
        let batch = vec![good.clone(), Bytes::from(bad)];
        assert_reason(harness.publish_raw(batch).await, ErrorReason::ArgumentInvalid);
    }
    assert_reason(
        harness.publish_raw(vec![good; 1001]).await,
        ErrorReason::ArgumentInvalid,
    );
    assert!(harness.all().await.is_empty());
}

#[tokio::test]
async fn only_gateways_publish() {
    let harness = Harness::start().await;
    let mut client = IngestServiceClient::new(harness.channel(Peer::Auth));
    assert_reason(
        client.publish_events(PublishEventsRequest::default()).await,
        ErrorReason::PeerRefused,
    );
}
