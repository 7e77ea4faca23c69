use roadstead_proto::metadata::v1::MountBlobRequest;
use roadstead_rpc::ErrorReason;
use roadstead_types::Digest;
use tonic::Status;

use crate::harness::*;

async fn mount(rig: &Rig, token: String, from: &str, digest: &Digest) -> Result<bool, Status> {
    let request = MountBlobRequest {
        registry_token: token,
        context: Some(context()),
        repository: "acme/target".to_owned(),
        digest: digest.to_string(),
        from: from.to_owned(),
    };
    Ok(rig.write().mount_blob(request).await?.into_inner().mounted)
}

fn push(rig: &Rig, further: &[&str], denied: &[&str]) -> String {
    let token = rig
        .keys
        .registry_token(&alice())
        .access("repository:acme/target:push");
    let token = further.iter().fold(token, |token, scope| token.access(scope));
    denied
        .iter()
        .fold(token, |token, scope| token.denied(scope))
        .sign()
}

#[tokio::test]
async fn mounting_from_a_repository_takes_pull_there() {
    let rig = Rig::start().await;
    let digest = rig.push_blob("secret/source", b"layer").await;
    let pull = "repository:secret/source:pull";
    refused(
        mount(&rig, push(&rig, &[], &[]), "secret/source", &digest).await,
        ErrorReason::ScopeInsufficient,
    );
    refused(
        mount(&rig, push(&rig, &[], &[]), "secret/never", &digest).await,
        ErrorReason::ScopeInsufficient,
    );
    assert!(
        !mount(&rig, push(&rig, &[], &[pull]), "secret/source", &digest)
            .await
            .unwrap()
    );
    refused(
        rig.resolve("acme/target", digest.as_str()).await,
        ErrorReason::RepositoryUnknown,
    );

    assert!(
        mount(&rig, push(&rig, &[pull], &[]), "secret/source", &digest)
            .await
            .unwrap()
    );
    assert!(
        mount(&rig, push(&rig, &[pull], &[]), "secret/source", &digest)
            .await
            .unwrap()
    );
    rig.resolve("acme/target", digest.as_str()).await.unwrap();
    let unknown = Digest::sha256(b"unknown");
    assert!(
        !mount(&rig, push(&rig, &[pull], &[]), "secret/source", &unknown)
            .await
            .unwrap()
    );
    assert!(
        !mount(&rig, push(&rig, &[pull], &[]), "Not A Name", &digest)
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn mounting_takes_push_on_the_target() {
    let rig = Rig::start().await;
    let digest = rig.push_blob("public/source", b"layer").await;
    let token = rig
        .keys
        .sign_registry_token(&alice(), &["repository:acme/target:pull"]);
    refused(
        mount(&rig, token, "public/source", &digest).await,
        ErrorReason::ScopeInsufficient,
    );
    assert!(
        mount(&rig, push(&rig, &[], &[]), "public/source", &digest)
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn mounting_from_anywhere_looks_only_where_the_caller_may_read() {
    let rig = Rig::start().await;
    let secret = rig.push_blob("secret/source", b"secret").await;
    let public = rig.push_blob("public/source", b"public").await;
    assert!(!mount(&rig, push(&rig, &[], &[]), "", &secret).await.unwrap());
    assert!(mount(&rig, push(&rig, &[], &[]), "", &public).await.unwrap());
    rig.authority.grant_read(&alice(), "secret");
    // Another token, so that the remembered answer does not count.
    let token = push(&rig, &["repository:acme/else:pull"], &[]);
    assert!(mount(&rig, token, "", &secret).await.unwrap());
}

#[tokio::test]
async fn without_auth_only_what_is_known_here_is_mounted() {
    let rig = Rig::start().await;
    let secret = rig.push_blob("secret/source", b"secret").await;
    let public = rig.push_blob("public/source", b"public").await;
    let own = rig.push_blob("acme/target", b"own").await;
    rig.authority.grant_read(&alice(), "");
    rig.authority.set_down(true);
    let pull = "repository:acme/target:pull";
    for digest in [&secret, &public] {
        assert!(!mount(&rig, push(&rig, &[pull], &[]), "", digest).await.unwrap());
    }
    assert!(mount(&rig, push(&rig, &[pull], &[]), "", &own).await.unwrap());
    refused(
        mount(&rig, push(&rig, &[], &[]), "public/source", &public).await,
        ErrorReason::ScopeInsufficient,
    );
    rig.authority.set_down(false);
    for digest in [&secret, &public] {
        assert!(mount(&rig, push(&rig, &[], &[]), "", digest).await.unwrap());
    }
    assert!(
        mount(&rig, push(&rig, &[], &[]), "public/source", &public)
            .await
            .unwrap()
    );
}
