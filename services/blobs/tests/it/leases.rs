use roadstead_proto::blobs::v1::AbortRequest;
use roadstead_rpc::ErrorReason;
use roadstead_types::Digest;

use crate::harness::{Harness, Upload, assert_reason, files_in, noise};

#[tokio::test]
async fn a_stale_lease_is_refused() {
    let mut harness = Harness::start().await;
    let mut old = Upload::new();
    harness.append(&mut old, b"old").await.unwrap();
    let mut new = old.acquired();
    harness.append(&mut new, b" new").await.unwrap();
    let digest = Digest::sha256(b"old");
    assert_reason(harness.append(&mut old, b"x").await, ErrorReason::UploadConflict);
    assert_reason(harness.finish(&old, &digest).await, ErrorReason::UploadConflict);
    let abort = AbortRequest {
        lease: old.lease(&harness),
        state: old.state.clone(),
    };
    assert_reason(harness.writer().abort(abort).await, ErrorReason::UploadConflict);

    // A process that never saw the newer lease still sees it in the newer state.
    harness.restart().await;
    let mut stale = Upload {
        state: new.state.clone(),
        ..old
    };
    assert_reason(
        harness.append(&mut stale, b"x").await,
        ErrorReason::UploadConflict,
    );
    harness.finish(&new, &Digest::sha256(b"old new")).await.unwrap();
}

/// A process that was just started knows of no lease.
#[tokio::test]
async fn a_stale_lease_does_no_harm_after_a_restart() {
    let mut harness = Harness::start().await;
    let mut old = Upload::new();
    harness.append(&mut old, b"old").await.unwrap();
    let mut new = old.acquired();
    harness.append(&mut new, b" new").await.unwrap();

    harness.restart().await;
    assert_reason(
        harness.append(&mut old.clone(), b"x").await,
        ErrorReason::UploadInvalid,
    );
    harness.restart().await;
    let digest = Digest::sha256(b"old");
    assert_reason(harness.finish(&old, &digest).await, ErrorReason::UploadInvalid);
    harness.restart().await;
    let mut from_the_start = Upload {
        state: bytes::Bytes::new(),
        ..old.clone()
    };
    harness.append(&mut from_the_start, b"x").await.unwrap();
    harness.restart().await;
    let abort = AbortRequest {
        lease: old.lease(&harness),
        state: old.state.clone(),
    };
    harness.writer().abort(abort).await.unwrap();

    let mut next = new.acquired();
    harness.append(&mut next, b"er").await.unwrap();
    let receipt = harness
        .finish(&next, &Digest::sha256(b"old newer"))
        .await
        .unwrap();
    let object = harness.root().join(receipt.object_key);
    assert_eq!(files_in(&harness.root().join("uploads")).len(), 0);
    assert_eq!(files_in(&harness.root().join("blobs")), [object]);
}

/// Finish died before its caller could commit, and something of the past came in between.
#[tokio::test]
async fn a_stale_lease_does_not_undo_a_finish() {
    let mut harness = Harness::start().await;
    let old = Upload::new();
    let mut new = old.acquired();
    harness.append(&mut new, b"content").await.unwrap();
    let digest = Digest::sha256(b"content");
    let receipt = harness.finish(&new, &digest).await.unwrap();
    harness.restart().await;
    harness.append(&mut old.clone(), b"x").await.unwrap();
    let again = harness.finish(&new.acquired(), &digest).await.unwrap();
    assert_eq!((again.object_key, again.size), (receipt.object_key, receipt.size));
}

#[tokio::test]
async fn of_two_appends_the_newer_wins() {
    let harness = Harness::start().await;
    let old = Upload::new();
    let mut running = harness.open_append(&old).await.unwrap();
    running.send(&noise(500_000, 1)).await.unwrap();
    let mut new = old.acquired();
    harness.append(&mut new, b"the newer").await.unwrap();
    assert_eq!(
        roadstead_rpc::reason(&running.failure().await),
        ErrorReason::UploadConflict
    );
    harness.finish(&new, &Digest::sha256(b"the newer")).await.unwrap();
}

#[tokio::test]
async fn an_abort_stops_a_running_append() {
    let harness = Harness::start().await;
    let upload = Upload::new();
    let mut running = harness.open_append(&upload).await.unwrap();
    running.send(b"some bytes").await.unwrap();
    let abort = AbortRequest {
        lease: upload.acquired().lease(&harness),
        state: upload.state.clone(),
    };
    harness.writer().abort(abort.clone()).await.unwrap();
    assert_eq!(
        roadstead_rpc::reason(&running.failure().await),
        ErrorReason::UploadConflict
    );
    assert!(!harness.upload_path(&upload).exists());
    harness.writer().abort(abort).await.unwrap();
}
