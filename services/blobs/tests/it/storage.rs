use std::{fs, os::unix::fs::symlink};

use bytes::Bytes;
use roadstead_blobs::Config;
use roadstead_proto::blobs::v1::{AppendRequest, append_request};
use roadstead_rpc::ErrorReason;
use roadstead_runtime::DirectoryError;
use roadstead_types::Digest;

use crate::harness::{Harness, Upload, assert_reason, noise};

#[tokio::test]
async fn a_second_process_is_refused() {
    let mut harness = Harness::start().await;
    assert!(matches!(harness.build().await, Err(DirectoryError::InUse(_))));
    harness.restart().await;
}

#[tokio::test]
async fn a_full_disk_is_reported_as_such() {
    let harness = Harness::start().await;
    let upload = Upload::new();
    // Every write to this device fails as on a full disk.
    symlink("/dev/full", harness.upload_path(&upload)).unwrap();
    let mut append = harness.open_append(&upload).await.unwrap();
    append.send(&noise(100_000, 1)).await.unwrap();
    assert_eq!(
        roadstead_rpc::reason(&append.failure().await),
        ErrorReason::StorageFull
    );
}

/// What others need of the disk is not taken, and an upload that met the limit goes on when there is room.
#[tokio::test]
async fn uploads_leave_a_reserve_of_the_disk() {
    let mut harness = Harness::with(Config {
        disk_reserve: u64::MAX,
        ..Config::default()
    })
    .await;
    let mut upload = Upload::new();
    assert_reason(
        harness.append(&mut upload, b"bytes").await,
        ErrorReason::StorageFull,
    );
    harness.config.disk_reserve = 0;
    harness.restart().await;
    harness.append(&mut upload, b"bytes").await.unwrap();
}

#[tokio::test]
async fn a_failing_disk_is_reported_as_such() {
    let harness = Harness::start().await;
    let mut upload = Upload::new();
    harness.append(&mut upload, b"bytes").await.unwrap();
    let key = harness.push(b"object").await;
    let (uploads, blobs) = (harness.root().join("uploads"), harness.root().join("blobs"));
    fs::rename(&uploads, harness.root().join("gone")).unwrap();
    fs::write(&uploads, b"no directory").unwrap();
    assert_reason(
        harness.append(&mut upload, b"x").await,
        ErrorReason::StorageUnavailable,
    );
    assert_reason(
        harness.finish(&upload, &Digest::sha256(b"bytes")).await,
        ErrorReason::StorageUnavailable,
    );
    fs::rename(&blobs, harness.root().join("gone too")).unwrap();
    fs::write(&blobs, b"no directory").unwrap();
    let refused = harness.read(harness.locator(&key, b"object"), 0, 0).await;
    assert_reason(refused, ErrorReason::StorageUnavailable);
}

/// An object that lost bytes to the disk is not passed off as whole.
#[tokio::test]
async fn a_short_object_is_not_served() {
    let harness = Harness::start().await;
    let key = harness.push(b"whole").await;
    fs::write(harness.root().join(&key), b"who").unwrap();
    assert_reason(
        harness.read(harness.locator(&key, b"whole"), 0, 0).await,
        ErrorReason::BlobUnknown,
    );
}

#[tokio::test]
async fn the_first_message_opens() {
    let harness = Harness::start().await;
    let chunk = AppendRequest {
        message: Some(append_request::Message::Chunk(Bytes::from_static(b"x"))),
    };
    for first in [vec![chunk], vec![AppendRequest::default()], vec![]] {
        let refused = harness.writer().append(tokio_stream::iter(first)).await;
        assert_reason(refused, ErrorReason::ArgumentInvalid);
    }
}
