use roadstead_proto::metadata::v1::{DeleteManifestRequest, DeleteTagRequest, UnlinkBlobRequest};
use roadstead_rpc::{ErrorReason, detail};
use roadstead_types::Digest;
use tonic::Status;

use crate::harness::*;

async fn delete_manifest(rig: &Rig, repository: &str, digest: &str) -> Result<(), Status> {
    let request = DeleteManifestRequest {
        registry_token: rig.token(&[repository]),
        context: Some(context()),
        repository: repository.to_owned(),
        digest: digest.to_owned(),
    };
    rig.write().delete_manifest(request).await.map(|_| ())
}

async fn delete_tag(rig: &Rig, repository: &str, tag: &str) -> Result<(), Status> {
    let request = DeleteTagRequest {
        registry_token: rig.token(&[repository]),
        context: Some(context()),
        repository: repository.to_owned(),
        tag: tag.to_owned(),
    };
    rig.write().delete_tag(request).await.map(|_| ())
}

async fn unlink(rig: &Rig, repository: &str, digest: &str) -> Result<(), Status> {
    let request = UnlinkBlobRequest {
        registry_token: rig.token(&[repository]),
        context: Some(context()),
        repository: repository.to_owned(),
        digest: digest.to_owned(),
    };
    rig.write().unlink_blob(request).await.map(|_| ())
}

#[tokio::test]
async fn a_tag_goes_alone() {
    let rig = Rig::start().await;
    let digest = rig.push_image("acme/web", "v1", "a").await;
    delete_tag(&rig, "acme/web", "v1").await.unwrap();
    refused(rig.get("acme/web", "v1").await, ErrorReason::ManifestUnknown);
    rig.get("acme/web", &digest).await.unwrap();
    refused(
        delete_tag(&rig, "acme/web", "v1").await,
        ErrorReason::ManifestUnknown,
    );
    refused(
        delete_tag(&rig, "acme/never", "v1").await,
        ErrorReason::ManifestUnknown,
    );
}

#[tokio::test]
async fn a_manifest_goes_with_its_tags_and_their_history_says_so() {
    let rig = Rig::start().await;
    let digest = rig.push_image("acme/web", "v1", "a").await;
    let content: serde_json::Value =
        serde_json::from_slice(&rig.get("acme/web", "v1").await.unwrap().content).unwrap();
    rig.put("acme/web", "latest", &content).await.unwrap();
    rig.drain().await;
    delete_manifest(&rig, "acme/web", &digest).await.unwrap();
    for reference in ["v1", "latest", &digest] {
        refused(rig.get("acme/web", reference).await, ErrorReason::ManifestUnknown);
    }
    for tag in ["v1", "latest"] {
        let newest = &rig.history("acme/web", tag).await[0];
        assert_eq!(
            (newest.digest.as_str(), newest.previous_digest.as_str()),
            ("", digest.as_str())
        );
    }
    let events = rig.drain().await;
    let subjects: Vec<_> = events
        .iter()
        .map(|event| event["subject"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        subjects,
        ["acme/web:latest", "acme/web:v1", &format!("acme/web@{digest}")]
    );
    assert!(
        events
            .iter()
            .all(|event| event["type"] == "dev.roadstead.registry.delete.v1")
    );
    refused(
        delete_manifest(&rig, "acme/web", &digest).await,
        ErrorReason::ManifestUnknown,
    );
}

#[tokio::test]
async fn strict_repositories_keep_what_a_manifest_names() {
    let rig = Rig::start().await;
    let child = rig.push_image("acme/web", "v1", "a").await;
    let parent = rig
        .put("acme/web", "list", &index(&[&child]))
        .await
        .unwrap()
        .digest;
    let status = refused(
        delete_manifest(&rig, "acme/web", &child).await,
        ErrorReason::ContentReferenced,
    );
    assert_eq!(detail(&status, "parents").unwrap(), parent);
    let layer = Digest::sha256(b"layer a").to_string();
    let status = refused(
        unlink(&rig, "acme/web", &layer).await,
        ErrorReason::ContentReferenced,
    );
    assert_eq!(detail(&status, "parents").unwrap(), child);
    rig.resolve("acme/web", &layer).await.unwrap();

    delete_manifest(&rig, "acme/web", &parent).await.unwrap();
    delete_manifest(&rig, "acme/web", &child).await.unwrap();
    unlink(&rig, "acme/web", &layer).await.unwrap();
    refused(rig.resolve("acme/web", &layer).await, ErrorReason::BlobUnknown);
    refused(unlink(&rig, "acme/web", &layer).await, ErrorReason::BlobUnknown);
}

#[tokio::test]
async fn lenient_repositories_give_up_anything() {
    let rig = Rig::start().await;
    let child = rig.push_image("lenient/web", "v1", "a").await;
    rig.put("lenient/web", "list", &index(&[&child])).await.unwrap();
    delete_manifest(&rig, "lenient/web", &child).await.unwrap();
    unlink(&rig, "lenient/web", Digest::sha256(b"layer a").as_str())
        .await
        .unwrap();
    rig.get("lenient/web", "list").await.unwrap();
}

#[tokio::test]
async fn unlinking_in_one_repository_leaves_the_others() {
    let rig = Rig::start().await;
    let digest = rig.push_blob("acme/a", b"shared").await.to_string();
    rig.push_blob("acme/b", b"shared").await;
    unlink(&rig, "acme/a", &digest).await.unwrap();
    refused(rig.resolve("acme/a", &digest).await, ErrorReason::BlobUnknown);
    rig.resolve("acme/b", &digest).await.unwrap();
    unlink(&rig, "acme/b", &digest).await.unwrap();
    // The blob without links waits for garbage collection, and a push of the same content takes it up again.
    rig.push_blob("acme/a", b"shared").await;
    rig.resolve("acme/a", &digest).await.unwrap();
}
