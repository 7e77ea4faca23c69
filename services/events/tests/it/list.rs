use std::time::Duration;

use roadstead_proto::events::v1::ListEventsRequest;
use roadstead_rpc::ErrorReason;
use roadstead_types::Principal;
use serde_json::{Value, json};

use crate::harness::{Harness, PULL, REFUSAL, assert_reason, audit_event, event, eventually, reader};

async fn with_events(repositories: &[&str]) -> Harness {
    let harness = Harness::start().await;
    for (index, chunk) in repositories.chunks(1000).enumerate() {
        let events = chunk
            .iter()
            .enumerate()
            .map(|(place, repository)| event(&format!("{}", index * 1000 + place + 1), PULL, repository))
            .collect();
        harness.publish(events).await.unwrap();
    }
    harness
}

fn offsets(events: &[(u64, String)]) -> Vec<u64> {
    events.iter().map(|(offset, _)| *offset).collect()
}

#[tokio::test]
async fn pages_in_both_directions() {
    let harness = with_events(&["acme/web"; 25]).await;
    for page_size in [1, 7, 25, 26, 0] {
        let oldest = ListEventsRequest {
            page_size,
            ..Default::default()
        };
        let newest = ListEventsRequest {
            newest_first: true,
            ..oldest.clone()
        };
        let forward = harness.all_as(&reader(), oldest).await;
        assert_eq!(offsets(&forward), (1..=25).collect::<Vec<_>>());
        let backward = harness.all_as(&reader(), newest).await;
        assert_eq!(offsets(&backward), (1..=25).rev().collect::<Vec<_>>());
    }
}

/// What is logged meanwhile neither repeats nor hides anything.
#[tokio::test]
async fn paging_back_is_stable_while_the_log_grows() {
    let harness = with_events(&["acme/web"; 4]).await;
    let mut request = ListEventsRequest {
        page_size: 2,
        newest_first: true,
        ..Default::default()
    };
    let first = harness.list_as(&reader(), request.clone()).await.unwrap();
    harness
        .publish(vec![event("new", PULL, "acme/web")])
        .await
        .unwrap();
    request.page_token = first.next_page_token;
    assert_eq!(offsets(&harness.all_as(&reader(), request).await), [2, 1]);
}

#[tokio::test]
async fn an_event_is_shown_as_it_came() {
    let harness = Harness::start().await;
    let sent = event("one", PULL, "acme/web");
    harness.publish(vec![sent.clone()]).await.unwrap();
    let page = harness
        .list_as(&reader(), ListEventsRequest::default())
        .await
        .unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&page.events[0].cloudevent_json).unwrap(),
        sent
    );
}

#[tokio::test]
async fn filters() {
    let harness = with_events(&["acme/web", "acme/api", "acme/web", "acme/web/x"]).await;
    harness.outbox.push(
        "5",
        event("5", "dev.roadstead.registry.push.v1", "acme/web").to_string(),
    );
    eventually("the push is logged", async || harness.all().await.len() == 5).await;
    let list = async |repository: &str, type_prefix: &str, newest_first| {
        let request = ListEventsRequest {
            page_size: 1,
            newest_first,
            repository: repository.to_owned(),
            type_prefix: type_prefix.to_owned(),
            ..Default::default()
        };
        offsets(&harness.all_as(&reader(), request).await)
    };
    assert_eq!(list("acme/web", "", false).await, [1, 3, 5]);
    assert_eq!(list("acme/web", "", true).await, [5, 3, 1]);
    assert_eq!(list("", "dev.roadstead.registry.push", false).await, [5]);
    assert_eq!(list("", "dev.roadstead.registry.pull", true).await, [4, 3, 2, 1]);
    assert_eq!(
        list("acme/web", "dev.roadstead.registry.pull", false).await,
        [1, 3]
    );
    assert!(list("acme", "", false).await.is_empty());
    let request = ListEventsRequest {
        repository: "No Name".to_owned(),
        ..Default::default()
    };
    assert_reason(
        harness.list_as(&reader(), request).await,
        ErrorReason::ArgumentInvalid,
    );
}

#[tokio::test]
async fn only_events_of_readable_repositories_are_shown() {
    let harness = with_events(&["acme/web", "acme/website", "acme/web/x", "other", "acme"]).await;
    let mut about_none = event("6", PULL, "");
    about_none.as_object_mut().unwrap().remove("repository");
    harness.publish(vec![about_none]).await.unwrap();
    let principal = |name: &str| Principal::new("https://issuer.example", name);
    let (web, two, nobody) = (principal("web"), principal("two"), principal("nobody"));
    harness.authority.grant_read(&web, "acme/web");
    harness.authority.grant_read(&two, "other");
    harness.authority.grant_read(&two, "acme/website");
    for (who, shown) in [
        (&web, vec![1, 3]),
        (&two, vec![2, 4]),
        (&nobody, vec![]),
        (&reader(), vec![1, 2, 3, 4, 5, 6]),
    ] {
        for page_size in [1, 0] {
            let request = ListEventsRequest {
                page_size,
                ..Default::default()
            };
            assert_eq!(offsets(&harness.all_as(who, request).await), shown, "{who}");
        }
    }
    for repository in ["other", "does/not/exist"] {
        let request = ListEventsRequest {
            repository: repository.to_owned(),
            ..Default::default()
        };
        assert!(harness.all_as(&web, request).await.is_empty());
    }
}

#[tokio::test]
async fn audit_events_are_shown_only_where_the_caller_may_audit() {
    let harness = with_events(&["acme/web"]).await;
    for (id, path) in [("2", ""), ("3", "acme"), ("4", "acme/web"), ("5", "acme/web/x")] {
        harness.auth_outbox.push(id, audit_event(id, path).to_string());
        eventually("it is logged", async || harness.auth_outbox.is_empty()).await;
    }
    let mut refusal = event("6", REFUSAL, "acme/web");
    refusal["path"] = json!("acme/web");
    harness.publish(vec![refusal]).await.unwrap();
    let principal = |name: &str| Principal::new("https://issuer.example", name);
    let (root, group, one) = (principal("root"), principal("group"), principal("one"));
    harness.authority.grant_audit(&root, "");
    harness.authority.grant_audit(&group, "acme/web");
    harness.authority.grant_audit_of(&one, "acme/web");
    harness.authority.grant_read_of(&one, "acme/web");
    for (who, shown, of_web) in [
        // Who may read every repository audits none of them.
        (&reader(), vec![1], vec![1]),
        (&root, vec![2, 3, 4, 5, 6], vec![4, 6]),
        (&group, vec![4, 5, 6], vec![4, 6]),
        (&one, vec![1, 4, 6], vec![1, 4, 6]),
        (&principal("nobody"), vec![], vec![]),
    ] {
        let list = async |repository: &str| {
            let request = ListEventsRequest {
                repository: repository.to_owned(),
                ..Default::default()
            };
            offsets(&harness.all_as(who, request).await)
        };
        assert_eq!(list("").await, shown, "{who}");
        assert_eq!(list("acme/web").await, of_web, "{who}");
    }
}

/// Work per page is bounded: who may see one event in twenty thousand gets there over an empty page.
#[tokio::test]
async fn a_page_looks_at_a_bounded_part_of_the_log() {
    let mut repositories = vec!["other"; 20_500];
    repositories.push("acme/web");
    let harness = with_events(&repositories).await;
    let principal = Principal::new("https://issuer.example", "web");
    harness.authority.grant_read(&principal, "acme");
    let first = harness
        .list_as(&principal, ListEventsRequest::default())
        .await
        .unwrap();
    assert!(first.events.is_empty());
    assert!(!first.next_page_token.is_empty());
    assert_eq!(
        offsets(&harness.all_as(&principal, ListEventsRequest::default()).await),
        [20_501]
    );
}

#[tokio::test]
async fn a_page_fits_a_message() {
    let harness = Harness::start().await;
    for batch in 0..3 {
        let events = (0..50)
            .map(|index| {
                let mut event = event(&format!("{batch}-{index}"), PULL, "acme/web");
                event["data"] = json!("x".repeat(60_000));
                event
            })
            .collect();
        harness.publish(events).await.unwrap();
    }
    let request = ListEventsRequest {
        page_size: 1000,
        ..Default::default()
    };
    assert_eq!(harness.all_as(&reader(), request).await.len(), 150);
}

#[tokio::test]
async fn a_token_is_needed() {
    let harness = with_events(&["acme/web"]).await;
    let list = async |authorization: Option<&str>| {
        harness
            .list_with(authorization, ListEventsRequest::default())
            .await
    };
    let access = harness.keys.sign_access_token(&reader());
    let bearer = |token: &str| format!("Bearer {token}");
    list(Some(&bearer(&access))).await.unwrap();
    assert_reason(list(None).await, ErrorReason::TokenMissing);
    assert_reason(list(Some("Bearer ")).await, ErrorReason::TokenMissing);
    assert_reason(list(Some(&access)).await, ErrorReason::TokenMissing);
    let registry = harness
        .keys
        .sign_registry_token(&reader(), &["repository:acme/web:pull"]);
    assert_reason(list(Some(&bearer(&registry))).await, ErrorReason::TokenInvalid);
    let foreign = harness.keys.with_new_keys().sign_access_token(&reader());
    assert_reason(list(Some(&bearer(&foreign))).await, ErrorReason::TokenInvalid);
    let expired = harness.keys.access_token(&reader()).expired().sign();
    assert_reason(list(Some(&bearer(&expired))).await, ErrorReason::TokenExpired);
    harness.authority.set_down(true);
    assert_reason(list(Some(&bearer(&access))).await, ErrorReason::Unavailable);
}

#[tokio::test]
async fn page_tokens_are_checked() {
    let harness = with_events(&["acme/web"; 3]).await;
    let request = ListEventsRequest {
        page_size: 1,
        ..Default::default()
    };
    let page = harness.list_as(&reader(), request.clone()).await.unwrap();
    for bad in [
        ListEventsRequest {
            page_token: "made up".to_owned(),
            ..request.clone()
        },
        ListEventsRequest {
            page_token: page.next_page_token.clone(),
            newest_first: true,
            ..request.clone()
        },
    ] {
        assert_reason(
            harness.list_as(&reader(), bad).await,
            ErrorReason::PageTokenInvalid,
        );
    }
}

#[tokio::test]
async fn old_events_go_and_offsets_go_on() {
    let harness = with_events(&["acme/web"; 3]).await;
    harness.time.advance(Duration::from_hours(89 * 24));
    harness
        .publish(vec![event("young", PULL, "acme/web")])
        .await
        .unwrap();
    assert_eq!(offsets(&harness.all().await), [1, 2, 3, 4]);
    harness.time.advance(Duration::from_hours(2 * 24));
    eventually("the old are gone", async || offsets(&harness.all().await) == [4]).await;
    harness.time.advance(Duration::from_hours(90 * 24));
    eventually("all are gone", async || harness.all().await.is_empty()).await;
    harness
        .publish(vec![event("next", PULL, "acme/web")])
        .await
        .unwrap();
    assert_eq!(harness.all().await, [(5, "next".to_owned())]);
}
