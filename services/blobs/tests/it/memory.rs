use std::time::Duration;

use roadstead_blobs::Config;
use roadstead_rpc::ErrorReason;
use roadstead_types::Digest;

use crate::harness::{DEADLINE, Harness, Upload, noise};

const KIB: u64 = 1024;

#[tokio::test]
async fn credit_is_granted_from_one_budget() {
    let config = Config {
        upload_memory: 1024 * KIB,
        upload_window: 512 * KIB,
        ..Config::default()
    };
    let harness = Harness::with(config).await;
    let mut running = Vec::new();
    for _ in 0..4 {
        let mut append = harness.open_append(&Upload::new()).await.unwrap();
        append.receive().await.unwrap();
        assert_eq!(append.credit, 256 * KIB);
        running.push(append);
    }
    // The budget is spoken for: a fifth gets its turn when one of the four is done.
    let mut fifth = harness.open_append(&Upload::new()).await.unwrap();
    {
        let mut waiting = Box::pin(fifth.receive());
        let early = tokio::time::timeout(Duration::from_millis(50), &mut waiting).await;
        assert!(early.is_err(), "credit beyond the budget");
        running.pop().unwrap().end().await.unwrap();
        assert!(waiting.await.unwrap());
    }
    assert_eq!(fifth.credit, 256 * KIB);
}

#[tokio::test]
async fn many_large_uploads_pass_through_a_small_budget() {
    let config = Config {
        upload_memory: 512 * KIB,
        upload_window: 512 * KIB,
        ..Config::default()
    };
    let harness = Harness::with(config).await;
    let push = async |seed| {
        let content = noise(2_000_000, seed);
        let mut upload = Upload::new();
        harness.append(&mut upload, &content).await.unwrap();
        harness.finish(&upload, &Digest::sha256(&content)).await.unwrap();
    };
    let all = futures::future::join_all((1..=8).map(push));
    tokio::time::timeout(DEADLINE, all)
        .await
        .expect("no upload waits for ever");
}

#[tokio::test]
async fn bytes_without_credit_end_the_stream() {
    let config = Config {
        upload_memory: 1024 * KIB,
        upload_window: 256 * KIB,
        ..Config::default()
    };
    let harness = Harness::with(config).await;
    let mut append = harness.open_append(&Upload::new()).await.unwrap();
    append.send_unasked(&noise(300_000, 1)).await;
    assert_eq!(
        roadstead_rpc::reason(&append.failure().await),
        ErrorReason::ArgumentInvalid
    );
}

#[tokio::test]
async fn a_blob_has_a_largest_size() {
    let harness = Harness::with(Config {
        max_blob_size: 1000,
        ..Config::default()
    })
    .await;
    let mut upload = Upload::new();
    harness.append(&mut upload, &noise(999, 1)).await.unwrap();
    upload = upload.acquired();
    let mut append = harness.open_append(&upload).await.unwrap();
    append.send(b"ab").await.unwrap();
    assert_eq!(
        roadstead_rpc::reason(&append.failure().await),
        ErrorReason::BlobTooLarge
    );
    upload = upload.acquired();
    harness.append(&mut upload, b"a").await.unwrap();
}

#[tokio::test]
async fn a_peer_that_stands_still_is_given_up() {
    let config = Config {
        chunk_idle_timeout: Duration::from_millis(50),
        ..Config::default()
    };
    let harness = Harness::with(config).await;
    let mut upload = Upload::new();
    let mut append = harness.open_append(&upload).await.unwrap();
    append.send(b"then nothing").await.unwrap();
    assert_eq!(
        roadstead_rpc::reason(&append.failure().await),
        ErrorReason::DeadlineExceeded
    );
    harness.append(&mut upload, b"again").await.unwrap();
}

/// A byte now and then keeps nobody's memory.
#[tokio::test]
async fn a_trickle_is_given_up() {
    let config = Config {
        chunk_idle_timeout: Duration::from_millis(200),
        ..Config::default()
    };
    let harness = Harness::with(config).await;
    let mut append = harness.open_append(&Upload::new()).await.unwrap();
    append.send(b"first").await.unwrap();
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    let trickle = async {
        loop {
            pace.tick().await;
            let received = futures::poll!(std::pin::pin!(append.receive()));
            if let std::task::Poll::Ready(Err(status)) = received {
                return status;
            }
            append.send_unasked(b"x").await;
        }
    };
    let status = tokio::time::timeout(DEADLINE, trickle)
        .await
        .expect("it is given up");
    assert_eq!(roadstead_rpc::reason(&status), ErrorReason::DeadlineExceeded);
}
