use std::fs;

use bytes::Bytes;
use roadstead_rpc::ErrorReason;
use roadstead_types::{Digest, DigestAlgorithm};

use crate::harness::{Harness, Upload, assert_reason, files_in, noise};

#[tokio::test]
async fn a_wrong_digest_leaves_the_upload_usable() {
    let harness = Harness::start().await;
    let mut upload = Upload::new();
    harness.append(&mut upload, b"right").await.unwrap();
    for algorithm in [DigestAlgorithm::Sha256, DigestAlgorithm::Sha512] {
        let wrong = Digest::of(algorithm, b"wrong");
        assert_reason(harness.finish(&upload, &wrong).await, ErrorReason::DigestMismatch);
    }
    assert_eq!(
        files_in(&harness.root().join("blobs")),
        Vec::<std::path::PathBuf>::new()
    );
    upload = upload.acquired();
    harness.append(&mut upload, b" and more").await.unwrap();
    harness
        .finish(&upload, &Digest::sha256(b"right and more"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_wrong_digest_of_nothing_is_a_mismatch() {
    let harness = Harness::start().await;
    let upload = Upload::new();
    assert_reason(
        harness.finish(&upload, &Digest::sha256(b"x")).await,
        ErrorReason::DigestMismatch,
    );
    harness.finish(&upload, &Digest::sha256(b"")).await.unwrap();
}

#[tokio::test]
async fn finishing_again_gives_an_equal_receipt() {
    let mut harness = Harness::start().await;
    let content = noise(100_000, 2);
    let digest = Digest::sha256(&content);
    let mut upload = Upload::new();
    harness.append(&mut upload, &content).await.unwrap();
    let receipt = harness.finish(&upload, &digest).await.unwrap();
    assert_eq!(harness.finish(&upload, &digest).await.unwrap(), receipt);
    harness.restart().await;
    assert_eq!(harness.finish(&upload, &digest).await.unwrap(), receipt);
    assert_reason(
        harness.finish(&upload, &Digest::sha256(b"x")).await,
        ErrorReason::UploadInvalid,
    );
    assert_eq!(files_in(&harness.root().join("blobs")).len(), 1);
    assert_eq!(files_in(&harness.root().join("uploads")).len(), 0);
}

/// The process was killed right after it had given the bytes their last name.
#[tokio::test]
async fn a_finish_that_died_after_the_rename_is_taken_up() {
    let mut harness = Harness::start().await;
    let content = noise(10_000, 2);
    let digest = Digest::sha256(&content);
    let mut upload = Upload::new();
    harness.append(&mut upload, &content).await.unwrap();
    harness.restart().await;
    let directory = harness.root().join("blobs/sha256").join(&digest.encoded()[..2]);
    fs::create_dir_all(&directory).unwrap();
    let name = format!("{}.{}", digest.encoded(), upload.id);
    fs::rename(harness.upload_path(&upload), directory.join(name)).unwrap();
    upload = upload.acquired();
    let receipt = harness.finish(&upload, &digest).await.unwrap();
    assert_eq!(receipt.epoch, 2);
    assert_eq!(
        harness
            .read(harness.locator(&receipt.object_key, &content), 0, 0)
            .await
            .unwrap(),
        content
    );
}

/// A later state of the session says that the object has other bytes than the caller thinks.
#[tokio::test]
async fn a_finished_object_must_have_the_size_of_the_state() {
    let harness = Harness::start().await;
    let mut upload = Upload::new();
    harness.append(&mut upload, b"whole").await.unwrap();
    let digest = Digest::sha256(b"whole");
    harness.finish(&upload, &digest).await.unwrap();
    let other = Upload {
        state: Bytes::new(),
        ..upload.acquired()
    };
    assert_reason(harness.finish(&other, &digest).await, ErrorReason::UploadInvalid);
}

#[tokio::test]
async fn the_same_digest_twice_gives_two_objects() {
    let harness = Harness::start().await;
    let (one, two) = (harness.push(b"same").await, harness.push(b"same").await);
    assert_ne!(one, two);
    let hex = Digest::sha256(b"same").encoded().to_owned();
    assert!(
        one.starts_with(&format!("blobs/sha256/{}/{hex}.", &hex[..2])),
        "{one}"
    );
}

#[tokio::test]
async fn a_sha512_digest_is_found_by_reading_again() {
    let mut harness = Harness::start().await;
    let content = noise(2_500_000, 9);
    let digest = Digest::of(DigestAlgorithm::Sha512, &content);
    for restart in [false, true] {
        let mut upload = Upload::new();
        harness.append(&mut upload, &content).await.unwrap();
        if restart {
            harness.restart().await;
        }
        let receipt = harness.finish(&upload, &digest).await.unwrap();
        assert!(
            receipt.object_key.starts_with("blobs/sha512/"),
            "{}",
            receipt.object_key
        );
        assert_eq!(receipt.size, 2_500_000);
    }
}
