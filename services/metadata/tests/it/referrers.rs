use roadstead_proto::metadata::v1::{DeleteManifestRequest, ListReferrersRequest};
use roadstead_rpc::ErrorReason;
use roadstead_types::{Digest, DigestAlgorithm};
use serde_json::{Value, json};

use crate::harness::*;

fn list(subject: &str) -> ListReferrersRequest {
    ListReferrersRequest {
        repository: "acme/web".to_owned(),
        digest: subject.to_owned(),
        access: granted(),
        ..ListReferrersRequest::default()
    }
}

/// All descriptors, and how many pages they took.
async fn collect(rig: &Rig, mut request: ListReferrersRequest) -> (Vec<Value>, usize) {
    let (mut descriptors, mut pages) = (Vec::new(), 0);
    loop {
        let page = rig
            .read()
            .list_referrers(request.clone())
            .await
            .unwrap()
            .into_inner();
        pages += 1;
        let bytes: usize = page.descriptors.iter().map(bytes::Bytes::len).sum();
        assert!(request.max_bytes == 0 || page.descriptors.len() == 1 || bytes <= request.max_bytes as usize);
        descriptors.extend(
            page.descriptors
                .iter()
                .map(|text| serde_json::from_slice::<Value>(text).unwrap()),
        );
        if page.next_page_token.is_empty() {
            return (descriptors, pages);
        }
        request.page_token = page.next_page_token;
    }
}

async fn push_referrer(rig: &Rig, subject: &str, artifact_type: &str, annotation: &str) -> String {
    let config = rig.push_blob("acme/web", b"{}").await;
    let mut manifest = image(&config, &[]);
    manifest["subject"] = descriptor(OCI_MANIFEST, subject);
    manifest["artifactType"] = json!(artifact_type);
    manifest["annotations"] = json!({"note": annotation});
    let digest = Digest::sha256(manifest.to_string().as_bytes()).to_string();
    rig.put("acme/web", &digest, &manifest).await.unwrap();
    digest
}

#[tokio::test]
async fn referrers_of_what_does_not_exist_are_none() {
    let rig = Rig::start().await;
    let subject = Digest::sha256(b"").to_string();
    assert_eq!(collect(&rig, list(&subject)).await, (Vec::new(), 1));
    refused(
        rig.read().list_referrers(list("sha256:xyz")).await,
        ErrorReason::DigestInvalid,
    );
    let mut denied = list(&subject);
    denied.access = access(roadstead_proto::metadata::v1::read_access::Ground::PublicOnly, "");
    refused(
        rig.read().list_referrers(denied).await,
        ErrorReason::PermissionMissing,
    );
}

#[tokio::test]
async fn descriptors_say_what_the_manifest_says() {
    let rig = Rig::start().await;
    for algorithm in [DigestAlgorithm::Sha256, DigestAlgorithm::Sha512] {
        let subject = Digest::of(algorithm, b"absent").to_string();
        let digest = push_referrer(&rig, &subject, "application/spdx+json", "x").await;
        let (descriptors, _) = collect(&rig, list(&subject)).await;
        assert_eq!(descriptors.len(), 1);
        assert_eq!(descriptors[0]["digest"], digest);
        assert_eq!(descriptors[0]["mediaType"], OCI_MANIFEST);
        assert_eq!(descriptors[0]["artifactType"], "application/spdx+json");
        assert_eq!(descriptors[0]["annotations"], json!({"note": "x"}));
        assert_eq!(
            descriptors[0]["size"],
            rig.get("acme/web", &digest).await.unwrap().size
        );
    }
}

#[tokio::test]
async fn filtering_and_paging_see_everything_once() {
    let rig = Rig::start().await;
    let subject = Digest::sha256(b"subject").to_string();
    let mut digests = Vec::new();
    for number in 0..25 {
        let artifact_type = ["a/a", "b/b"][number % 2];
        digests.push(push_referrer(&rig, &subject, artifact_type, &format!("{number:0100}")).await);
    }
    digests.sort();
    let of = |descriptors: &[Value]| -> Vec<String> {
        descriptors
            .iter()
            .map(|descriptor| descriptor["digest"].as_str().unwrap().to_owned())
            .collect()
    };
    let (all, pages) = collect(&rig, list(&subject)).await;
    assert_eq!((of(&all), pages), (digests.clone(), 1));
    let (all, pages) = collect(
        &rig,
        ListReferrersRequest {
            page_size: 4,
            ..list(&subject)
        },
    )
    .await;
    assert_eq!((of(&all), pages), (digests.clone(), 7));
    let (all, pages) = collect(
        &rig,
        ListReferrersRequest {
            max_bytes: 2000,
            ..list(&subject)
        },
    )
    .await;
    assert_eq!(of(&all), digests);
    assert!(pages > 3, "{pages}");
    let filtered = ListReferrersRequest {
        artifact_type: "b/b".to_owned(),
        page_size: 5,
        ..list(&subject)
    };
    let (some, _) = collect(&rig, filtered).await;
    assert_eq!(some.len(), 12);
    assert!(some.iter().all(|descriptor| descriptor["artifactType"] == "b/b"));
    let nonsense = ListReferrersRequest {
        page_token: "?".to_owned(),
        ..list(&subject)
    };
    refused(
        rig.read().list_referrers(nonsense).await,
        ErrorReason::PageTokenInvalid,
    );
}

#[tokio::test]
async fn a_page_is_as_large_as_a_manifest_may_be_and_a_large_descriptor_still_fits() {
    let rig = Rig::start().await;
    let subject = Digest::sha256(b"subject").to_string();
    for number in 0..3 {
        push_referrer(
            &rig,
            &subject,
            "a/a",
            &format!("{number}{}", "x".repeat(2_500_000)),
        )
        .await;
    }
    let (all, pages) = collect(&rig, list(&subject)).await;
    assert_eq!((all.len(), pages), (3, 3));
    let (all, pages) = collect(
        &rig,
        ListReferrersRequest {
            max_bytes: 10,
            ..list(&subject)
        },
    )
    .await;
    assert_eq!((all.len(), pages), (3, 3));
}

#[tokio::test]
async fn a_deleted_referrer_leaves_the_list_and_a_deleted_subject_keeps_it() {
    let rig = Rig::start().await;
    let subject = rig.push_image("acme/web", "v1", "a").await;
    let referrer = push_referrer(&rig, &subject, "a/a", "x").await;
    for (digest, left) in [(&subject, 1), (&referrer, 0)] {
        let request = DeleteManifestRequest {
            registry_token: rig.token(&["acme/web"]),
            context: Some(context()),
            repository: "acme/web".to_owned(),
            digest: digest.clone(),
        };
        rig.write().delete_manifest(request).await.unwrap();
        assert_eq!(collect(&rig, list(&subject)).await.0.len(), left);
    }
}
