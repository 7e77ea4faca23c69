use roadstead_proto::blobs::v1::{AbortRequest, AbortUploadsRequest, DeleteObjectsRequest};
use roadstead_rpc::{ErrorReason, Peer};
use roadstead_types::{Digest, UploadId};

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
    harness.append(&mut open, b"half of it").await.unwrap();
    harness.append(&mut finished, b"not committed").await.unwrap();
    harness
        .finish(&finished, &Digest::sha256(b"not committed"))
        .await
        .unwrap();
    let uploads = [open, finished, never].map(|upload| AbortRequest {
        lease: upload.acquired().lease(&harness),
        state: upload.state.clone(),
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
