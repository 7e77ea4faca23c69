//! A gateway that was taken over: it holds real leases and states, and sends what it likes.

use bytes::Bytes;
use roadstead_proto::blobs::v1::{AbortRequest, FinishRequest, Lease};
use roadstead_rpc::{ErrorReason, SealKey};
use roadstead_types::{Digest, UploadId};

use crate::harness::{Append, Harness, Upload, assert_reason};

/// The state of good bytes, over a file with bad ones, must not give a receipt for the good digest.
#[tokio::test]
async fn an_old_state_does_not_vouch_for_new_bytes() {
    for restart in [false, true] {
        let mut harness = Harness::start().await;
        let mut good = Upload::new();
        harness.append(&mut good, b"good bytes").await.unwrap();
        let mut bad = Upload {
            state: Bytes::new(),
            ..good.acquired()
        };
        harness.append(&mut bad, b"evil bytes").await.unwrap();
        if restart {
            harness.restart().await;
        }
        let mut replayed = Upload {
            state: good.state.clone(),
            ..bad.clone()
        };
        let digest = Digest::sha256(b"good bytes");
        assert_reason(
            harness.finish(&replayed, &digest).await,
            ErrorReason::UploadInvalid,
        );
        assert_reason(
            harness.append(&mut replayed, b"").await,
            ErrorReason::UploadInvalid,
        );
        // What is there can still be had, by its own name.
        let bad = bad.acquired();
        harness
            .finish(&bad, &Digest::sha256(b"evil bytes"))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_state_belongs_to_its_session() {
    let harness = Harness::start().await;
    let mut one = Upload::new();
    harness.append(&mut one, b"one").await.unwrap();
    let mut other = Upload {
        state: one.state.clone(),
        ..Upload::new()
    };
    assert_reason(
        harness.append(&mut other, b"more").await,
        ErrorReason::UploadInvalid,
    );
    assert_reason(
        harness.finish(&other, &Digest::sha256(b"one")).await,
        ErrorReason::UploadInvalid,
    );
}

#[tokio::test]
async fn made_up_leases_and_states_are_refused() {
    let harness = Harness::start().await;
    let mut upload = Upload::new();
    harness.append(&mut upload, b"bytes").await.unwrap();
    let lease = Lease {
        upload_id: upload.id.to_string(),
        epoch: 9,
        digest_algorithm: "sha256".to_owned(),
    };
    let traversal = Lease {
        upload_id: "../lock".to_owned(),
        ..lease.clone()
    };
    let mut flipped = upload.state.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    let digest = Digest::sha256(b"bytes").to_string();
    for (lease, state) in [
        (Bytes::new(), upload.state.clone()),
        (SealKey::generate().seal("lease", &lease), upload.state.clone()),
        (harness.key.seal("locator", &lease), upload.state.clone()),
        (harness.key.seal("lease", &traversal), Bytes::new()),
        (upload.state.clone(), upload.state.clone()),
        (upload.lease(&harness), upload.lease(&harness)),
        (upload.lease(&harness), flipped.into()),
    ] {
        let refused = ErrorReason::UploadInvalid;
        let finish = FinishRequest {
            lease: lease.clone(),
            state: state.clone(),
            digest: digest.clone(),
        };
        assert_reason(harness.writer().finish(finish).await, refused);
        let abort = AbortRequest {
            lease: lease.clone(),
            state: state.clone(),
        };
        assert_reason(harness.writer().abort(abort).await, refused);
        assert_reason(Append::open(&harness, lease, state).await, refused);
    }
    harness.finish(&upload, &Digest::sha256(b"bytes")).await.unwrap();
}

#[tokio::test]
async fn a_digest_is_parsed() {
    let harness = Harness::start().await;
    let upload = Upload::new();
    for digest in ["", "sha256", "sha256:..", "md5:d41d8cd98f00b204e9800998ecf8427e"] {
        let request = FinishRequest {
            lease: upload.lease(&harness),
            state: Bytes::new(),
            digest: digest.to_owned(),
        };
        assert_reason(harness.writer().finish(request).await, ErrorReason::DigestInvalid);
    }
}

/// An abort may not be a way to delete what was committed.
#[tokio::test]
async fn abort_does_not_reach_a_finished_object() {
    let harness = Harness::start().await;
    let mut upload = Upload::new();
    harness.append(&mut upload, b"kept").await.unwrap();
    let receipt = harness.finish(&upload, &Digest::sha256(b"kept")).await.unwrap();
    let abort = AbortRequest {
        lease: upload.acquired().lease(&harness),
        state: upload.state.clone(),
    };
    harness.writer().abort(abort).await.unwrap();
    assert_eq!(
        harness
            .read(harness.locator(&receipt.object_key, b"kept"), 0, 0)
            .await
            .unwrap(),
        b"kept"
    );
}

#[tokio::test]
async fn sessions_are_apart() {
    let harness = Harness::start().await;
    let (mut one, mut two) = (
        Upload::new(),
        Upload {
            id: UploadId::new(),
            ..Upload::new()
        },
    );
    harness.append(&mut one, b"one").await.unwrap();
    harness.append(&mut two, b"two").await.unwrap();
    assert_reason(
        harness.finish(&one, &Digest::sha256(b"two")).await,
        ErrorReason::DigestMismatch,
    );
    harness.finish(&two, &Digest::sha256(b"two")).await.unwrap();
    harness.finish(&one, &Digest::sha256(b"one")).await.unwrap();
}
