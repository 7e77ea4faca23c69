use roadstead_proto::blobs::v1::{AbandonedUpload, AbortUploadsRequest, DeleteObjectsRequest};
use roadstead_rpc::{ErrorReason, Peer};
use roadstead_types::{Digest, DigestAlgorithm, UploadId};

use crate::harness::{Harness, Upload, assert_reason, files_in};

#[tokio::test]
async fn objects_are_deleted_and_unknown_ones_count_as_deleted() {
    let harness = Harness::start().await;
    let (one, two, kept) = (
        harness.push(b"one").await,
        harness.push(b"two").await,
        harness.push(b"two").await,
    );
    let hex = Digest::sha256(b"absent").encoded().to_owned();
    let absent = format!("blobs/sha256/{}/{hex}.{}", &hex[..2], UploadId::new());
    let request = DeleteObjectsRequest {
        object_keys: vec![one, two, absent],
    };
    for _ in 0..2 {
        harness
            .admin(Peer::Metadata)
            .delete_objects(request.clone())
            .await
            .unwrap();
        assert_eq!(
            files_in(&harness.root().join("blobs")),
            [harness.root().join(&kept)]
        );
    }
}

#[tokio::test]
async fn one_object_that_cannot_be_deleted_holds_up_no_other() {
    let harness = Harness::start().await;
    let (stuck, other) = (harness.push(b"stuck").await, harness.push(b"other").await);
    std::fs::remove_file(harness.root().join(&stuck)).unwrap();
    std::fs::create_dir(harness.root().join(&stuck)).unwrap();
    let request = DeleteObjectsRequest {
        object_keys: vec![stuck, other.clone()],
    };
    assert_reason(
        harness.admin(Peer::Metadata).delete_objects(request).await,
        ErrorReason::StorageUnavailable,
    );
    assert!(!harness.root().join(other).exists());
}

#[tokio::test]
async fn no_key_leads_out_of_the_objects() {
    let harness = Harness::start().await;
    let mut upload = Upload::new();
    harness.append(&mut upload, b"bytes").await.unwrap();
    let object = harness.push(b"object").await;
    let outside = harness.directory.path().join("outside");
    std::fs::write(&outside, b"x").unwrap();
    for key in [
        "lock",
        "../outside",
        "blobs/../lock",
        outside.to_str().unwrap(),
        &format!("uploads/{}", upload.id),
    ] {
        let request = DeleteObjectsRequest {
            object_keys: vec![object.clone(), key.to_owned()],
        };
        assert_reason(
            harness.admin(Peer::Metadata).delete_objects(request).await,
            ErrorReason::ArgumentInvalid,
        );
    }
    assert!(outside.exists());
    assert!(harness.root().join(object).exists());
    harness.finish(&upload, &Digest::sha256(b"bytes")).await.unwrap();
}

#[tokio::test]
async fn abandoned_uploads_leave_nothing() {
    let harness = Harness::start().await;
    let (mut open, mut finished, never) = (Upload::new(), Upload::new(), Upload::new());
    let mut otherwise = Upload::new();
    harness.append(&mut open, b"half of it").await.unwrap();
    harness.append(&mut finished, b"not committed").await.unwrap();
    harness.append(&mut otherwise, b"not committed").await.unwrap();
    let digest = |algorithm| Digest::of(algorithm, b"not committed");
    let (usual, other) = (digest(DigestAlgorithm::Sha256), digest(DigestAlgorithm::Sha512));
    harness.finish(&finished, &usual).await.unwrap();
    harness.finish(&otherwise, &other).await.unwrap();
    let wrong = Digest::sha256(b"a digest that a later attempt named");
    let named = [
        (open, String::new()),
        (finished, wrong.to_string()),
        (otherwise, other.to_string()),
        (never, String::new()),
    ];
    let uploads = named.map(|(upload, digest)| AbandonedUpload {
        lease: upload.acquired().lease(&harness),
        state: upload.state.clone(),
        digest,
    });
    let request = AbortUploadsRequest {
        uploads: uploads.to_vec(),
    };
    for _ in 0..2 {
        harness
            .admin(Peer::Metadata)
            .abort_uploads(request.clone())
            .await
            .unwrap();
    }
    assert_eq!(files_in(&harness.root()), [harness.root().join("lock")]);
}

/// As after the sealing key was replaced.
#[tokio::test]
async fn a_state_that_cannot_be_opened_keeps_nothing_alive() {
    let harness = Harness::start().await;
    let (mut one, mut two) = (Upload::new(), Upload::new());
    harness.append(&mut one, b"one").await.unwrap();
    harness.append(&mut two, b"two").await.unwrap();
    one.state = "sealed under another key".into();
    let uploads = [one, two].map(|upload| AbandonedUpload {
        lease: upload.acquired().lease(&harness),
        state: upload.state.clone(),
        digest: String::new(),
    });
    let request = AbortUploadsRequest {
        uploads: uploads.to_vec(),
    };
    harness
        .admin(Peer::Metadata)
        .abort_uploads(request)
        .await
        .unwrap();
    assert_eq!(files_in(&harness.root()), [harness.root().join("lock")]);
}

#[tokio::test]
async fn one_upload_that_cannot_be_discarded_holds_up_no_other() {
    let harness = Harness::start().await;
    let (stuck, mut other) = (Upload::new(), Upload::new());
    harness.append(&mut other, b"other").await.unwrap();
    // No file, so it cannot be removed as one.
    std::fs::create_dir(harness.upload_path(&stuck)).unwrap();
    let uploads = [&stuck, &other].map(|upload| AbandonedUpload {
        lease: upload.lease(&harness),
        state: upload.state.clone(),
        digest: String::new(),
    });
    let request = AbortUploadsRequest {
        uploads: uploads.to_vec(),
    };
    assert_reason(
        harness.admin(Peer::Metadata).abort_uploads(request).await,
        ErrorReason::StorageUnavailable,
    );
    assert!(!harness.upload_path(&other).exists());
}

#[tokio::test]
async fn a_gateway_deletes_nothing() {
    let harness = Harness::start().await;
    let object_keys = vec![harness.push(b"kept").await];
    let mut admin = harness.admin(Peer::Gateway);
    assert_reason(
        admin.delete_objects(DeleteObjectsRequest { object_keys }).await,
        ErrorReason::PeerRefused,
    );
    let uploads = AbortUploadsRequest { uploads: Vec::new() };
    assert_reason(admin.abort_uploads(uploads).await, ErrorReason::PeerRefused);
}
