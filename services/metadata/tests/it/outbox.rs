use std::time::Duration;

use roadstead_proto::common::v1::RequestContext;
use roadstead_proto::metadata::v1::{AckEventsRequest, ClaimEventsRequest};

use crate::harness::*;

async fn claim(rig: &Rig, max_events: u32) -> Vec<String> {
    let claimed = rig
        .outbox()
        .claim_events(ClaimEventsRequest { max_events })
        .await
        .unwrap()
        .into_inner()
        .events;
    claimed.into_iter().map(|event| event.id).collect()
}

async fn ack(rig: &Rig, ids: Vec<String>) {
    rig.outbox().ack_events(AckEventsRequest { ids }).await.unwrap();
}

#[tokio::test]
async fn claims_are_leased_oldest_first_and_acks_forget() {
    let rig = Rig::start().await;
    for tag in ["a", "b", "c"] {
        rig.put("acme/web", tag, &index(&[])).await.unwrap();
    }
    let first = claim(&rig, 2).await;
    let rest = claim(&rig, 2).await;
    assert_eq!((first.len(), rest.len()), (2, 1));
    assert!(claim(&rig, 10).await.is_empty(), "all are leased");

    ack(&rig, rest.clone()).await;
    ack(&rig, rest).await;
    rig.control.advance(Duration::from_secs(31));
    assert_eq!(
        claim(&rig, 10).await,
        first,
        "a lease that ran out is given again, under the same ids"
    );
    ack(&rig, first).await;
    rig.control.advance(Duration::from_secs(31));
    assert!(claim(&rig, 10).await.is_empty());
}

/// What a client sends in headers must not make an event larger than the log takes.
#[tokio::test]
async fn what_a_client_says_of_itself_is_cut() {
    let rig = Rig::start().await;
    let mut request = rig.put_request("acme/web", "v1", &index(&[]));
    let long = "é".repeat(40_000);
    request.context = Some(RequestContext {
        request_id: long.clone(),
        client_address: long.clone(),
        user_agent: long.clone(),
        operation_id: long.clone(),
    });
    rig.write().put_manifest(request).await.unwrap();
    let event = &rig.drain().await[0];
    for field in ["request_id", "client_address", "user_agent"] {
        let text = event["data"][field].as_str().unwrap();
        assert!(!text.is_empty() && long.starts_with(text), "{field}");
    }
    assert!(event.to_string().len() < 4096);
}

/// A call whose answer was lost is made again, and must not tell twice of what it did once.
#[tokio::test]
async fn an_operation_that_is_repeated_is_announced_once() {
    let rig = Rig::start().await;
    let put = async |operation_id: &str| {
        let mut request = rig.put_request("acme/web", "v1", &index(&[]));
        request.context = Some(RequestContext {
            operation_id: operation_id.to_owned(),
            ..context()
        });
        rig.write().put_manifest(request).await.unwrap();
    };
    let first = "01890a5d-ac96-774b-bcce-b302099a8057";
    put(first).await;
    put(first).await;
    let ids = claim(&rig, 10).await;
    assert_eq!(ids.len(), 1);
    // Also when the log has it by now, which then knows the id.
    ack(&rig, ids.clone()).await;
    put(first).await;
    assert_eq!(claim(&rig, 10).await, ids);
    put("01890a5d-ac96-774b-bcce-b302099a8058").await;
    assert_eq!(
        claim(&rig, 10).await.len(),
        1,
        "another operation is another event"
    );
}

#[tokio::test]
async fn events_tell_what_was_pushed_by_whom() {
    let rig = Rig::start().await;
    let digest = rig.push_image("acme/web", "v1", "a").await;
    let events = rig.drain().await;
    assert_eq!(events.len(), 3, "two blobs and a tag");
    let event = &events[2];
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["type"], "dev.roadstead.registry.push.v1");
    assert_eq!(event["source"], "/registry");
    assert_eq!(event["subject"], "acme/web:v1");
    assert_eq!(event["repository"], "acme/web");
    let data = &event["data"];
    assert_eq!(data["digest"], digest);
    assert_eq!(data["media_type"], OCI_MANIFEST);
    assert_eq!(data["tag_version"], 1);
    assert_eq!(data["actor"]["issuer"], "https://issuer.example");
    assert_eq!(data["request_id"], "request-1");
    assert_eq!(data["client_address"], "192.0.2.1");
    assert_eq!(
        data["repository_id"],
        rig.get("acme/web", "v1").await.unwrap().repository_id
    );

    let manifest = index(&[]);
    let digest = roadstead_types::Digest::sha256(manifest.to_string().as_bytes()).to_string();
    rig.put("acme/web", &digest, &manifest).await.unwrap();
    assert_eq!(rig.drain().await[0]["subject"], format!("acme/web@{digest}"));
    let mut tagged = rig.put_request("acme/web", &digest, &manifest);
    tagged.tags = vec!["x".to_owned(), "y".to_owned()];
    rig.write().put_manifest(tagged).await.unwrap();
    let subjects: Vec<_> = rig
        .drain()
        .await
        .iter()
        .map(|event| event["subject"].clone())
        .collect();
    assert_eq!(subjects, ["acme/web:x", "acme/web:y"]);
}
