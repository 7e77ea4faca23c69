use roadstead_rpc::{ErrorReason, detail};
use roadstead_types::{Digest, DigestAlgorithm, MANIFEST_SIZE_LIMIT};
use serde_json::json;

use crate::harness::*;

#[tokio::test]
async fn a_manifest_comes_back_byte_for_byte_by_tag_and_digest() {
    let rig = Rig::start().await;
    let config = rig.push_blob("acme/web", b"config").await;
    let layer = rig.push_blob("acme/web", b"layer").await;
    let manifest = image(&config, &[&layer]);
    let digest = rig.put("acme/web", "v1", &manifest).await.unwrap().digest;
    for reference in ["v1", &digest] {
        let found = rig.get("acme/web", reference).await.unwrap();
        assert_eq!(found.content, manifest.to_string().as_bytes());
        assert_eq!(
            (found.digest.as_str(), found.media_type.as_str()),
            (digest.as_str(), OCI_MANIFEST)
        );
        assert_eq!(found.size, manifest.to_string().len() as u64);
        assert!(!found.repository_id.is_empty());
    }
    let request = roadstead_proto::metadata::v1::GetManifestRequest {
        repository: "acme/web".to_owned(),
        reference: "v1".to_owned(),
        access: granted(),
        include_content: false,
    };
    let head = rig.read().get_manifest(request).await.unwrap().into_inner();
    assert!(head.content.is_empty());
    assert_eq!(head.size, manifest.to_string().len() as u64);
}

#[tokio::test]
async fn a_sha512_manifest_is_tagged_beside_its_digest() {
    let rig = Rig::start().await;
    let manifest = index(&[]);
    let content = manifest.to_string();
    let digest = Digest::of(DigestAlgorithm::Sha512, content.as_bytes()).to_string();
    let mut request = rig.put_request("acme/web", &digest, &manifest);
    request.tags = (0..10)
        .map(|number| format!("t{number}"))
        .chain(["t0".to_owned()])
        .collect();
    let response = rig.write().put_manifest(request).await.unwrap().into_inner();
    assert_eq!(response.tags.len(), 10);
    assert_eq!(response.digest, digest);
    assert_eq!(rig.get("acme/web", "t7").await.unwrap().digest, digest);
    let sha256 = Digest::sha256(content.as_bytes());
    refused(
        rig.get("acme/web", sha256.as_str()).await,
        ErrorReason::ManifestUnknown,
    );
}

#[tokio::test]
async fn strict_validation_names_what_is_missing() {
    let rig = Rig::start().await;
    let config = rig.push_blob("acme/web", b"config").await;
    // Content of another repository does not count.
    let layer = rig.push_blob("acme/other", b"layer").await;
    let status = refused(
        rig.put("acme/web", "v1", &image(&config, &[&layer])).await,
        ErrorReason::ManifestBlobUnknown,
    );
    assert_eq!(detail(&status, "missing").unwrap(), layer.to_string());
    refused(rig.get("acme/web", "v1").await, ErrorReason::ManifestUnknown);

    let child = Digest::sha256(b"child");
    refused(
        rig.put("acme/web", "v1", &index(&[child.as_str()])).await,
        ErrorReason::ManifestBlobUnknown,
    );
    rig.put("lenient/web", "v1", &image(&child, &[&layer]))
        .await
        .unwrap();
    rig.put("lenient/web", "v2", &index(&[child.as_str()]))
        .await
        .unwrap();
}

#[tokio::test]
async fn strict_validation_needs_neither_subject_nor_foreign_layers_and_takes_blobs_as_children() {
    let rig = Rig::start().await;
    let config = rig.push_blob("acme/web", b"config").await;
    let absent = Digest::sha256(b"absent");
    let mut manifest = image(&config, &[]);
    manifest["subject"] = descriptor(OCI_MANIFEST, absent.as_str());
    manifest["layers"] = json!([
        descriptor(
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            absent.as_str()
        ),
        descriptor(
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            absent.as_str()
        ),
    ]);
    let response = rig.put("acme/web", "v1", &manifest).await.unwrap();
    assert_eq!(response.subject, absent.to_string());
    rig.put("acme/web", "cache", &index(&[config.as_str(), &response.digest]))
        .await
        .unwrap();
}

#[tokio::test]
async fn what_is_wrong_with_a_push_is_said() {
    let rig = Rig::start().await;
    let good = index(&[]);
    let digest = Digest::sha256(good.to_string().as_bytes()).to_string();
    let other = Digest::sha256(b"other").to_string();
    refused(
        rig.put("acme/web", &other, &good).await,
        ErrorReason::DigestMismatch,
    );
    refused(
        rig.put("acme/web", "sha256:baddigeststring", &good).await,
        ErrorReason::DigestInvalid,
    );
    refused(rig.put("acme/web", "-bad", &good).await, ErrorReason::TagInvalid);
    let mut upper = rig.put_request("acme/web", "v1", &good);
    upper.repository = "Acme/web".to_owned();
    refused(rig.write().put_manifest(upper).await, ErrorReason::NameInvalid);

    let mut mistyped = rig.put_request("acme/web", "v1", &good);
    mistyped.media_type = OCI_MANIFEST.to_owned();
    refused(
        rig.write().put_manifest(mistyped).await,
        ErrorReason::ManifestInvalid,
    );
    let schema1 = json!({"schemaVersion": 1, "fsLayers": []});
    refused(
        rig.put("acme/web", "v1", &schema1).await,
        ErrorReason::ManifestInvalid,
    );

    let mut many = rig.put_request("acme/web", &digest, &good);
    many.tags = (0..65).map(|number| format!("t{number}")).collect();
    refused(rig.write().put_manifest(many).await, ErrorReason::TooManyTags);
    let mut beside_tag = rig.put_request("acme/web", "v1", &good);
    beside_tag.tags = vec!["v2".to_owned()];
    refused(
        rig.write().put_manifest(beside_tag).await,
        ErrorReason::TagInvalid,
    );
    assert!(rig.drain().await.is_empty(), "what is refused is not announced");
}

#[tokio::test]
async fn the_size_limit_is_exact() {
    let rig = Rig::start().await;
    let mut manifest = index(&[]);
    manifest["annotations"] = json!({"pad": ""});
    let missing = MANIFEST_SIZE_LIMIT - manifest.to_string().len();
    manifest["annotations"]["pad"] = json!("x".repeat(missing));
    assert_eq!(manifest.to_string().len(), MANIFEST_SIZE_LIMIT);
    rig.put("acme/web", "large", &manifest).await.unwrap();
    assert_eq!(
        rig.get("acme/web", "large").await.unwrap().content.len(),
        MANIFEST_SIZE_LIMIT
    );
    manifest["annotations"]["pad"] = json!("x".repeat(missing + 1));
    refused(
        rig.put("acme/web", "large", &manifest).await,
        ErrorReason::ManifestTooLarge,
    );
}

#[tokio::test]
async fn the_same_bytes_pushed_as_another_type_are_that_type() {
    let rig = Rig::start().await;
    let subject = Digest::sha256(b"subject");
    let manifest =
        json!({"schemaVersion": 2, "manifests": [], "subject": descriptor(OCI_MANIFEST, subject.as_str())});
    for media_type in [
        OCI_INDEX,
        "application/vnd.docker.distribution.manifest.list.v2+json",
    ] {
        let mut request = rig.put_request("acme/web", "v1", &manifest);
        request.media_type = format!("{media_type}; charset=utf-8");
        rig.write().put_manifest(request).await.unwrap();
        assert_eq!(rig.get("acme/web", "v1").await.unwrap().media_type, media_type);
    }
    assert_eq!(rig.history("acme/web", "v1").await.len(), 1);
}
