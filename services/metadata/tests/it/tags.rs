use std::collections::BTreeSet;
use std::sync::Arc;

use roadstead_proto::metadata::v1::{DeleteTagRequest, ListTagHistoryRequest};
use roadstead_rpc::ErrorReason;
use serde_json::json;

use crate::harness::*;

fn numbered(number: usize) -> serde_json::Value {
    let mut manifest = index(&[]);
    manifest["annotations"] = json!({"number": number.to_string()});
    manifest
}

#[tokio::test]
async fn history_tells_every_change_and_only_changes() {
    let rig = Rig::start().await;
    let first = rig.put("acme/web", "v1", &numbered(1)).await.unwrap().digest;
    rig.put("acme/web", "v1", &numbered(1)).await.unwrap();
    let second = rig.put("acme/web", "v1", &numbered(2)).await.unwrap().digest;
    let delete = DeleteTagRequest {
        registry_token: rig.token(&["acme/web"]),
        context: Some(context()),
        repository: "acme/web".to_owned(),
        tag: "v1".to_owned(),
    };
    rig.write().delete_tag(delete).await.unwrap();
    rig.put("acme/web", "v1", &numbered(2)).await.unwrap();

    let history = rig.history("acme/web", "v1").await;
    let changes: Vec<_> = history
        .iter()
        .map(|change| {
            (
                change.version,
                change.digest.as_str(),
                change.previous_digest.as_str(),
            )
        })
        .collect();
    assert_eq!(
        changes,
        [
            (4, second.as_str(), ""),
            (3, "", second.as_str()),
            (2, &second, &first),
            (1, &first, "")
        ]
    );
    let oldest = &history[3];
    assert_eq!(
        (oldest.actor_subject.as_str(), oldest.request_id.as_str()),
        ("alice", "request-1")
    );
    assert_eq!(oldest.time, "2027-01-15T08:00:00Z");

    let events = rig.drain().await;
    let versions: Vec<_> = events
        .iter()
        .map(|event| event["data"]["tag_version"].as_u64().unwrap())
        .collect();
    assert_eq!(
        versions,
        [1, 1, 2, 3, 4],
        "a push that changes nothing is still announced"
    );
    assert_eq!(events[2]["data"]["previous_digest"], first.as_str());
}

#[tokio::test]
async fn history_pages_from_the_newest() {
    let rig = Rig::start().await;
    for number in 0..7 {
        rig.put("acme/web", "v1", &numbered(number)).await.unwrap();
    }
    rig.authority.grant_read(&alice(), "acme");
    let token = rig.keys.sign_access_token(&alice());
    let mut request = ListTagHistoryRequest {
        repository: "acme/web".to_owned(),
        tag: "v1".to_owned(),
        page_size: 3,
        page_token: String::new(),
    };
    let mut versions = Vec::new();
    loop {
        let page = with_access_token(request.clone(), &token);
        let page = rig.admin().list_tag_history(page).await.unwrap().into_inner();
        versions.extend(page.changes.iter().map(|change| change.version));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(versions, [7, 6, 5, 4, 3, 2, 1]);
    request.page_token = "nonsense".to_owned();
    let nonsense = with_access_token(request, &token);
    refused(
        rig.admin().list_tag_history(nonsense).await,
        ErrorReason::PageTokenInvalid,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tags_written_at_once_lose_no_update() {
    const WRITERS: usize = 32;
    const EACH: usize = 8;
    let rig = Arc::new(Rig::start().await);
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let rig = rig.clone();
        writers.spawn(async move {
            for turn in 0..EACH {
                rig.put("acme/web", "v1", &numbered(writer * EACH + turn))
                    .await
                    .unwrap();
            }
        });
    }
    writers.join_all().await;

    let mut history = rig.history("acme/web", "v1").await;
    history.reverse();
    assert_eq!(history.len(), WRITERS * EACH);
    let distinct: BTreeSet<_> = history.iter().map(|change| change.digest.clone()).collect();
    assert_eq!(distinct.len(), WRITERS * EACH);
    let mut previous = String::new();
    for (change, version) in history.iter().zip(1..) {
        assert_eq!((change.version, &change.previous_digest), (version, &previous));
        previous.clone_from(&change.digest);
    }
    assert_eq!(rig.get("acme/web", "v1").await.unwrap().digest, previous);
    assert_eq!(rig.drain().await.len(), WRITERS * EACH);
}
