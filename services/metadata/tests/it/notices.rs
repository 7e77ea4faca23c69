//! What auth hears of repositories.

use roadstead_proto::metadata::v1::MountBlobRequest;
use roadstead_rpc::ErrorReason;

use crate::harness::*;

#[tokio::test]
async fn auth_hears_once_of_each_repository_that_a_push_makes() {
    let rig = Rig::start().await;
    // By an upload, by a manifest, and by a mount.
    let layer = rig.push_blob("acme/web", b"layer").await;
    rig.put("acme/index", "v1", &index(&[])).await.unwrap();
    let mount = MountBlobRequest {
        registry_token: rig.token(&["acme/web", "acme/mounted"]),
        context: Some(context()),
        repository: "acme/mounted".to_owned(),
        digest: layer.to_string(),
        from: "acme/web".to_owned(),
    };
    assert!(rig.write().mount_blob(mount).await.unwrap().into_inner().mounted);
    // Again: nothing is new.
    rig.push_blob("acme/web", b"another").await;
    rig.put("acme/index", "v2", &index(&[])).await.unwrap();
    // A push that fails makes nothing.
    let lacking = image(&layer, &[&layer]);
    refused(
        rig.put("acme/never", "v1", &lacking).await,
        ErrorReason::ManifestBlobUnknown,
    );
    rig.put("acme/last", "v1", &index(&[])).await.unwrap();
    eventually(|| rig.authority.noted().iter().any(|name| name == "acme/last")).await;
    assert_eq!(
        rig.authority.noted(),
        ["acme/web", "acme/index", "acme/mounted", "acme/last"]
    );
}

#[tokio::test]
async fn no_push_waits_for_auth_and_auth_hears_of_it_later() {
    let rig = Rig::start().await;
    rig.authority.set_down(true);
    for number in 0..5 {
        rig.put(&format!("acme/r{number}"), "v1", &index(&[]))
            .await
            .unwrap();
    }
    assert!(rig.authority.noted().is_empty());
    rig.authority.set_down(false);
    eventually(|| rig.authority.noted().len() == 5).await;
}
