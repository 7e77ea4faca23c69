use std::{fs, fs::OpenOptions, os::unix::fs::FileExt as _};

use roadstead_rpc::ErrorReason;
use roadstead_types::Digest;

use crate::harness::{Harness, Upload, assert_reason, noise};

#[tokio::test]
async fn an_upload_goes_on_after_a_restart() {
    let mut harness = Harness::start().await;
    let content = noise(700_001, 3);
    let mut upload = Upload::new();
    harness.append(&mut upload, &content[..300_000]).await.unwrap();
    harness.restart().await;
    upload = upload.acquired();
    harness.append(&mut upload, &content[300_000..]).await.unwrap();
    let receipt = harness.finish(&upload, &Digest::sha256(&content)).await.unwrap();
    assert_eq!(receipt.size, content.len() as u64);
}

/// The gateway died with a checkpoint that it had not saved.
#[tokio::test]
async fn bytes_behind_the_saved_state_are_cut_off() {
    for restart in [false, true] {
        let mut harness = Harness::start().await;
        let mut saved = Upload::new();
        harness.append(&mut saved, b"saved ").await.unwrap();
        let mut lost = saved.acquired();
        harness
            .append(&mut lost, b"lost, and a good deal longer")
            .await
            .unwrap();
        if restart {
            harness.restart().await;
        }
        let mut upload = Upload {
            epoch: lost.epoch + 1,
            ..saved
        };
        harness.append(&mut upload, b"end").await.unwrap();
        let receipt = harness
            .finish(&upload, &Digest::sha256(b"saved end"))
            .await
            .unwrap();
        assert_eq!(receipt.size, 9);
    }
}

/// As after a power failure: the state says more than the disk has.
#[tokio::test]
async fn lost_bytes_end_the_upload() {
    let mut harness = Harness::start().await;
    let content = noise(100_000, 5);
    let mut upload = Upload::new();
    harness.append(&mut upload, &content).await.unwrap();
    harness.restart().await;
    let file = OpenOptions::new().write(true).open(harness.upload_path(&upload));
    let file = file.unwrap();
    upload = upload.acquired();
    file.write_all_at(&[0; 4096], 50_000).unwrap();
    assert_reason(
        harness.append(&mut upload, b"more").await,
        ErrorReason::UploadInvalid,
    );
    assert_reason(
        harness.finish(&upload, &Digest::sha256(&content)).await,
        ErrorReason::UploadInvalid,
    );

    file.set_len(50_000).unwrap();
    assert_reason(
        harness.append(&mut upload, b"more").await,
        ErrorReason::UploadInvalid,
    );
    assert_reason(
        harness.finish(&upload, &Digest::sha256(&content)).await,
        ErrorReason::UploadInvalid,
    );

    fs::remove_file(harness.upload_path(&upload)).unwrap();
    assert_reason(
        harness.append(&mut upload, b"more").await,
        ErrorReason::UploadInvalid,
    );
    assert_reason(
        harness.finish(&upload, &Digest::sha256(&content)).await,
        ErrorReason::UploadInvalid,
    );
}

#[tokio::test]
async fn an_append_that_breaks_off_leaves_the_last_state_good() {
    let harness = Harness::start().await;
    let mut upload = Upload::new();
    harness.append(&mut upload, b"first ").await.unwrap();
    upload = upload.acquired();
    let mut broken = harness.open_append(&upload).await.unwrap();
    broken.send(&noise(200_000, 1)).await.unwrap();
    drop(broken);
    upload = upload.acquired();
    harness.append(&mut upload, b"second").await.unwrap();
    harness
        .finish(&upload, &Digest::sha256(b"first second"))
        .await
        .unwrap();
}
