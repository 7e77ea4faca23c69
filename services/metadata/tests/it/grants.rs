//! A push whose token expires under way.

use std::time::Duration;

use roadstead_proto::auth::v1::watermark::Subject;
use roadstead_proto::metadata::v1::acquire_upload_request::Purpose;
use roadstead_proto::metadata::v1::read_access::Ground;
use roadstead_proto::metadata::v1::{
    CreateUploadRequest, DeleteTagRequest, GetManifestRequest, ListReferrersRequest, ListTagsRequest,
    MountBlobRequest, PutManifestRequest, ResolveBlobRequest,
};
use roadstead_rpc::ErrorReason;
use roadstead_types::{Digest, Principal};
use tonic::Status;

use crate::harness::*;

const MINUTE: Duration = Duration::from_mins(1);

async fn head(rig: &Rig, token: &str, include_content: bool) -> Result<(), Status> {
    let request = GetManifestRequest {
        repository: "acme/web".to_owned(),
        reference: "v1".to_owned(),
        access: access(Ground::PushGrant, token),
        include_content,
    };
    rig.read().get_manifest(request).await.map(|_| ())
}

async fn put(rig: &Rig, repository: &str, token: &str) -> Result<(), Status> {
    let request = PutManifestRequest {
        registry_token: token.to_owned(),
        ..rig.put_request(repository, "v1", &index(&[]))
    };
    rig.write().put_manifest(request).await.map(|_| ())
}

#[tokio::test]
async fn an_expired_token_ends_its_push_and_does_nothing_else() {
    let rig = Rig::start().await;
    let token = rig.token(&["acme/web", "acme/other"]);
    let upload = Upload::create(&rig, "acme/web", &token).await;
    rig.control.advance(6 * MINUTE);

    let content = b"layer";
    let digest = Digest::sha256(content);
    let lease = upload.acquire(Purpose::Append, Some(0), "").await.unwrap();
    upload.save(lease.epoch, 5, b"state").await.unwrap();
    assert_eq!(upload.offset().await.unwrap(), 5);
    let lease = upload
        .acquire(Purpose::Finish, None, digest.as_str())
        .await
        .unwrap();
    upload
        .finish(
            lease.epoch,
            upload.receipt(lease.epoch, digest.as_str(), 5, "key"),
        )
        .await
        .unwrap();
    let request = ResolveBlobRequest {
        repository: "acme/web".to_owned(),
        digest: digest.to_string(),
        access: access(Ground::PushGrant, &token),
    };
    let blob = rig.read().resolve_blob(request).await.unwrap().into_inner();
    assert_eq!((blob.size, blob.locator.len()), (5, 0), "a head needs no locator");
    put(&rig, "acme/web", &token).await.unwrap();
    head(&rig, &token, false).await.unwrap();

    refused(head(&rig, &token, true).await, ErrorReason::TokenExpired);
    refused(put(&rig, "acme/other", &token).await, ErrorReason::TokenExpired);
    let create = CreateUploadRequest {
        registry_token: token.clone(),
        context: None,
        repository: "acme/web".to_owned(),
        digest_algorithm: String::new(),
    };
    refused(
        rig.upload().create_upload(create).await,
        ErrorReason::TokenExpired,
    );
    let mount = MountBlobRequest {
        registry_token: token.clone(),
        context: None,
        repository: "acme/web".to_owned(),
        digest: digest.to_string(),
        from: String::new(),
    };
    refused(rig.write().mount_blob(mount).await, ErrorReason::TokenExpired);
    let delete = DeleteTagRequest {
        registry_token: token.clone(),
        context: None,
        repository: "acme/web".to_owned(),
        tag: "v1".to_owned(),
    };
    refused(rig.write().delete_tag(delete).await, ErrorReason::TokenExpired);
    let tags = ListTagsRequest {
        repository: "acme/web".to_owned(),
        access: access(Ground::PushGrant, &token),
        page_size: 0,
        last: String::new(),
    };
    refused(rig.read().list_tags(tags).await, ErrorReason::TokenExpired);
    let referrers = ListReferrersRequest {
        repository: "acme/web".to_owned(),
        digest: digest.to_string(),
        access: access(Ground::PushGrant, &token),
        ..ListReferrersRequest::default()
    };
    refused(
        rig.read().list_referrers(referrers).await,
        ErrorReason::TokenExpired,
    );
}

#[tokio::test]
async fn a_grant_ends_when_its_token_is_revoked() {
    let rig = Rig::start().await;
    let token = rig.token(&["acme/web"]);
    let upload = Upload::create(&rig, "acme/web", &token).await;
    rig.control.advance(6 * MINUTE);
    put(&rig, "acme/web", &token).await.unwrap();
    rig.authority
        .revocations()
        .revoke(Subject::Prefix("acme".to_owned()));
    let revoked = async {
        while put(&rig, "acme/web", &token).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), revoked)
        .await
        .unwrap();
    refused(put(&rig, "acme/web", &token).await, ErrorReason::TokenInvalid);
    refused(head(&rig, &token, false).await, ErrorReason::TokenInvalid);
    refused(upload.offset().await, ErrorReason::TokenInvalid);
    refused(
        upload.acquire(Purpose::Append, None, "").await,
        ErrorReason::TokenInvalid,
    );
}

#[tokio::test]
async fn a_grant_ends_when_it_is_idle() {
    let rig = Rig::start().await;
    let token = rig.token(&["acme/web"]);
    let upload = Upload::create(&rig, "acme/web", &token).await;
    // Used every ten minutes it goes on for longer than it may be idle.
    for _ in 0..3 {
        rig.control.advance(10 * MINUTE);
        put(&rig, "acme/web", &token).await.unwrap();
    }
    rig.control.advance(16 * MINUTE);
    refused(put(&rig, "acme/web", &token).await, ErrorReason::TokenExpired);
    refused(upload.offset().await, ErrorReason::TokenExpired);
    refused(
        upload.acquire(Purpose::Append, None, "").await,
        ErrorReason::TokenExpired,
    );
    refused(head(&rig, &token, false).await, ErrorReason::TokenExpired);
}

#[tokio::test]
async fn a_grant_ends_after_six_hours_however_busy() {
    let rig = Rig::start().await;
    let token = rig.token(&["acme/web"]);
    Upload::create(&rig, "acme/web", &token).await;
    for _ in 0..35 {
        rig.control.advance(10 * MINUTE);
        put(&rig, "acme/web", &token).await.unwrap();
    }
    rig.control.advance(10 * MINUTE);
    refused(put(&rig, "acme/web", &token).await, ErrorReason::TokenExpired);
}

#[tokio::test]
async fn without_a_session_there_is_no_grant() {
    let rig = Rig::start().await;
    let token = rig.token(&["acme/web"]);
    put(&rig, "acme/web", &token).await.unwrap();
    rig.control.advance(6 * MINUTE);
    refused(put(&rig, "acme/web", &token).await, ErrorReason::TokenExpired);
    refused(head(&rig, &token, false).await, ErrorReason::TokenExpired);
}

#[tokio::test]
async fn a_token_that_took_over_a_session_may_be_outlived_too() {
    let rig = Rig::start().await;
    let mut upload = Upload::create(&rig, "acme/web", &rig.token(&["acme/web"])).await;
    rig.control.advance(6 * MINUTE);
    upload.token = rig.token(&["acme/web"]);
    let lease = upload.acquire(Purpose::Append, None, "").await.unwrap();
    rig.control.advance(6 * MINUTE);
    upload.save(lease.epoch, 1, b"s").await.unwrap();
}

#[tokio::test]
async fn a_session_belongs_to_who_opened_it() {
    let rig = Rig::start().await;
    let mut upload = Upload::create(&rig, "acme/web", &rig.token(&["acme/web"])).await;
    let mallory = Principal::new("https://issuer.example", "mallory");
    upload.token = rig
        .keys
        .sign_registry_token(&mallory, &["repository:acme/web:pull,push"]);
    refused(upload.offset().await, ErrorReason::UploadUnknown);
    refused(
        upload.acquire(Purpose::Cancel, None, "").await,
        ErrorReason::UploadUnknown,
    );
    upload.token = rig
        .keys
        .sign_registry_token(&alice(), &["repository:acme/web:pull"]);
    refused(
        upload.acquire(Purpose::Cancel, None, "").await,
        ErrorReason::ScopeInsufficient,
    );
}
