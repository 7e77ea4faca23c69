use std::time::Duration;

use roadstead_events::Config;

use crate::harness::{Harness, PUSH, audit_event, event, eventually};

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("event-{index:04}")).collect()
}

async fn drained(harness: &Harness) {
    eventually("the outbox is empty", async || harness.outbox.is_empty()).await;
}

fn fill(harness: &Harness, ids: &[String]) {
    for id in ids {
        harness.outbox.push(id, event(id, PUSH, "acme/web").to_string());
    }
}

#[tokio::test]
async fn events_are_logged_once_in_order_without_gaps() {
    let harness = Harness::start().await;
    let ids = ids(450);
    fill(&harness, &ids);
    drained(&harness).await;
    let expected: Vec<_> = (1..).zip(ids).collect();
    assert_eq!(harness.all().await, expected);
    assert_eq!(harness.outbox.acknowledged_early(), Vec::<String>::new());
}

#[tokio::test]
async fn events_that_come_again_are_not_logged_again() {
    let mut harness = Harness::start().await;
    let ids = ids(20);
    harness.outbox.lose_acks(3);
    fill(&harness, &ids);
    drained(&harness).await;
    harness.restart().await;
    fill(&harness, &ids);
    harness
        .outbox
        .push("last", event("last", PUSH, "acme/web").to_string());
    drained(&harness).await;
    let expected: Vec<_> = (1..).zip(ids.into_iter().chain(["last".to_owned()])).collect();
    assert_eq!(harness.all().await, expected);
    assert_eq!(harness.outbox.acknowledged_early(), Vec::<String>::new());
}

#[tokio::test]
async fn an_outbox_that_was_down_is_drained_when_it_is_up() {
    let harness = Harness::start().await;
    harness.outbox.set_down(true);
    fill(&harness, &ids(5));
    let before = harness.outbox.claims();
    eventually("it was tried again", async || {
        harness.outbox.claims() >= before + 3
    })
    .await;
    assert!(harness.all().await.is_empty());
    harness.outbox.set_down(false);
    drained(&harness).await;
    assert_eq!(harness.all().await.len(), 5);
}

#[tokio::test]
async fn each_outbox_is_drained_whatever_becomes_of_the_other() {
    let harness = Harness::start().await;
    let (metadata, auth) = (&harness.outbox, &harness.auth_outbox);
    for (round, up, down) in [("first", metadata, auth), ("second", auth, metadata)] {
        down.set_down(true);
        let pushed = format!("push-{round}");
        metadata.push(&pushed, event(&pushed, PUSH, "acme/web").to_string());
        let bound = format!("binding-{round}");
        auth.push(&bound, audit_event(&bound, "").to_string());
        let before = down.claims();
        eventually("the one that is up is drained", async || up.is_empty()).await;
        eventually("the other is asked again", async || down.claims() >= before + 3).await;
        assert!(!down.is_empty());
        down.set_down(false);
        eventually("the other is drained too", async || down.is_empty()).await;
    }
    assert_eq!(metadata.acknowledged_early(), Vec::<String>::new());
    assert_eq!(auth.acknowledged_early(), Vec::<String>::new());
}

#[tokio::test]
async fn an_event_of_auth_that_does_not_say_what_it_is_about_is_set_aside() {
    let harness = Harness::start().await;
    harness
        .auth_outbox
        .push("placeless", event("placeless", PUSH, "acme/web").to_string());
    eventually("it is taken", async || harness.auth_outbox.is_empty()).await;
    assert!(harness.all().await.is_empty());
    let log = rusqlite::Connection::open(harness.database()).unwrap();
    let set_aside: String = log
        .query_row("SELECT id FROM rejected_event", [], |row| row.get(0))
        .unwrap();
    assert_eq!(set_aside, "placeless");
}

#[tokio::test]
async fn what_is_no_event_is_set_aside_and_holds_nothing_up() {
    let harness = Harness::start().await;
    harness.outbox.push("poison", "{");
    harness
        .outbox
        .push("other", event("not that id", PUSH, "acme/web").to_string());
    harness
        .outbox
        .push("good", event("good", PUSH, "acme/web").to_string());
    drained(&harness).await;
    assert_eq!(harness.all().await, [(1, "good".to_owned())]);
    let log = rusqlite::Connection::open(harness.database()).unwrap();
    let kept: Vec<(String, Vec<u8>)> = log
        .prepare("SELECT id, content FROM rejected_event ORDER BY id")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(kept[0].0, "other");
    assert_eq!(kept[1], ("poison".to_owned(), b"{".to_vec()));
}

#[tokio::test]
async fn stopping_does_not_wait_for_the_next_poll() {
    let long = Duration::from_hours(1);
    let config = Config {
        drain_interval: long,
        prune_interval: long,
        ..Config::default()
    };
    let mut harness = Harness::with(config).await;
    eventually("the first poll", async || harness.outbox.claims() == 1).await;
    let begun = std::time::Instant::now();
    harness.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(5));
}
