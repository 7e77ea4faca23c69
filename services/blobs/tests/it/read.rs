use std::time::Duration;

use roadstead_proto::blobs::v1::{Lease, Locator, ReadRequest, StatRequest};
use roadstead_rpc::{ErrorReason, SealKey};
use roadstead_types::{Digest, UploadId};

use crate::harness::{Harness, assert_reason, noise};

#[tokio::test]
async fn ranges() {
    let harness = Harness::start().await;
    let content = noise(2_000_000, 4);
    let key = harness.push(&content).await;
    for (offset, length) in [
        (0, 0),
        (0, 1),
        (1, 0),
        (1_999_999, 1),
        (1_999_999, 0),
        (524_287, 2),
        (500_000, 1_200_000),
        (10, 9_000_000),
    ] {
        let start = usize::try_from(offset).unwrap();
        let end = if length == 0 {
            content.len()
        } else {
            (start + usize::try_from(length).unwrap()).min(content.len())
        };
        let read = harness
            .read(harness.locator(&key, &content), offset, length)
            .await
            .unwrap();
        assert!(read == content[start..end], "{offset}+{length}");
    }
    for (offset, length) in [
        (2_000_000, 0),
        (2_000_000, 1),
        (u64::MAX, 1),
        (u64::MAX, u64::MAX),
    ] {
        let refused = harness
            .read(harness.locator(&key, &content), offset, length)
            .await;
        assert_reason(refused, ErrorReason::RangeNotSatisfiable);
    }
    let stat = StatRequest {
        locator: harness.locator(&key, &content),
    };
    assert_eq!(
        harness.reader().stat(stat).await.unwrap().into_inner().size,
        2_000_000
    );
}

#[tokio::test]
async fn an_empty_object_has_no_ranges() {
    let harness = Harness::start().await;
    let key = harness.push(b"").await;
    assert_eq!(harness.read(harness.locator(&key, b""), 0, 0).await.unwrap(), b"");
    assert_reason(
        harness.read(harness.locator(&key, b""), 0, 1).await,
        ErrorReason::RangeNotSatisfiable,
    );
}

#[tokio::test]
async fn what_is_no_locator_opens_nothing() {
    let harness = Harness::start().await;
    let key = harness.push(b"secret").await;
    let good = harness.locator(&key, b"secret");
    let plain = Locator {
        object_key: key.clone(),
        digest: String::new(),
        size: 6,
        expires_at: i64::MAX,
    };
    let outside = |object_key: &str| harness.seal_locator(object_key, 6, 60);
    let mut flipped = good.to_vec();
    flipped[20] ^= 1;
    for locator in [
        bytes::Bytes::new(),
        prost_bytes(&plain),
        SealKey::generate().seal("locator", &plain),
        harness.key.seal("lease", &plain),
        harness.key.seal("receipt", &plain),
        harness.key.seal("upload-state", &plain),
        flipped.into(),
        outside("../lock"),
        outside("lock"),
        outside(&format!("uploads/{}", UploadId::new())),
        outside(&key.replace("blobs/", "blobs/../blobs/")),
    ] {
        assert_reason(
            harness.read(locator.clone(), 0, 0).await,
            ErrorReason::TokenInvalid,
        );
        assert_reason(
            harness.reader().stat(StatRequest { locator }).await,
            ErrorReason::TokenInvalid,
        );
    }
    assert_eq!(harness.read(good, 0, 0).await.unwrap(), b"secret");
}

fn prost_bytes(locator: &Locator) -> bytes::Bytes {
    use prost::Message as _;
    locator.encode_to_vec().into()
}

#[tokio::test]
async fn a_locator_expires() {
    let harness = Harness::start().await;
    let key = harness.push(b"bytes").await;
    let locator = harness.locator(&key, b"bytes");
    harness.time.advance(Duration::from_secs(59));
    harness.read(locator.clone(), 0, 0).await.unwrap();
    harness.time.advance(Duration::from_secs(1));
    assert_reason(
        harness.read(locator.clone(), 0, 0).await,
        ErrorReason::TokenExpired,
    );
    assert_reason(
        harness.reader().stat(StatRequest { locator }).await,
        ErrorReason::TokenExpired,
    );
}

#[tokio::test]
async fn what_is_not_there_is_unknown() {
    let harness = Harness::start().await;
    let key = harness.push(b"bytes").await;
    let digest = Digest::sha256(b"nothing");
    let absent = format!(
        "blobs/sha256/{}/{}.{}",
        &digest.encoded()[..2],
        digest.encoded(),
        UploadId::new()
    );
    for locator in [
        harness.locator(&absent, b"nothing"),
        harness.locator(&key, b"bytes of another size"),
    ] {
        assert_reason(
            harness.read(locator.clone(), 0, 0).await,
            ErrorReason::BlobUnknown,
        );
        assert_reason(
            harness.reader().stat(StatRequest { locator }).await,
            ErrorReason::BlobUnknown,
        );
    }
}

/// A lease is sealed under the same key, and still is no permission to read.
#[tokio::test]
async fn a_lease_is_no_locator() {
    let harness = Harness::start().await;
    let lease = Lease {
        upload_id: harness.push(b"bytes").await,
        epoch: 5,
        digest_algorithm: String::new(),
    };
    let request = ReadRequest {
        locator: harness.key.seal("lease", &lease),
        offset: 0,
        length: 0,
    };
    assert_reason(harness.reader().read(request).await, ErrorReason::TokenInvalid);
}

/// A download that started goes on when the object is deleted meanwhile.
#[tokio::test]
async fn a_running_read_survives_the_delete() {
    let harness = Harness::start().await;
    let content = noise(8_000_000, 6);
    let key = harness.push(&content).await;
    let request = ReadRequest {
        locator: harness.locator(&key, &content),
        offset: 0,
        length: 0,
    };
    let mut stream = harness.reader().read(request).await.unwrap().into_inner();
    std::fs::remove_file(harness.root().join(&key)).unwrap();
    let mut read = Vec::new();
    while let Some(response) = stream.message().await.unwrap() {
        read.extend_from_slice(&response.chunk);
    }
    assert!(read == content);
}
