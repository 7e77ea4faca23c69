use std::sync::Arc;
use std::time::Duration;

use roadstead_proto::blobs::v1::{Lease, Locator};
use roadstead_proto::metadata::v1::CreateUploadRequest;
use roadstead_proto::metadata::v1::acquire_upload_request::Purpose;
use roadstead_rpc::{ErrorReason, SealKey, detail};
use roadstead_types::Digest;

use crate::harness::*;

const NAME: &str = "acme/web";

async fn session(rig: &Rig) -> Upload<'_> {
    Upload::create(rig, NAME, &rig.token(&[NAME])).await
}

#[tokio::test]
async fn a_blob_is_uploaded_in_chunks_and_resolved() {
    let rig = Rig::start().await;
    let upload = session(&rig).await;
    let digest = Digest::sha256(b"0123456789");
    let first = upload.acquire(Purpose::Append, Some(0), "").await.unwrap();
    assert!(first.state.is_empty());
    let lease: Lease = rig.seal.open("lease", &first.lease).unwrap();
    assert_eq!(
        (lease.upload_id, lease.epoch, lease.digest_algorithm.as_str()),
        (upload.id.clone(), 1, "sha256")
    );
    upload.save(first.epoch, 4, b"after 4").await.unwrap();
    upload.save(first.epoch, 4, b"after 4").await.unwrap();
    assert_eq!(upload.offset().await.unwrap(), 4);

    let second = upload
        .acquire(Purpose::Finish, Some(4), digest.as_str())
        .await
        .unwrap();
    assert_eq!(
        (second.epoch, second.offset, &second.state[..]),
        (2, 4, &b"after 4"[..])
    );
    let receipt = upload.receipt(2, digest.as_str(), 10, "object-1");
    let done = upload.finish(2, receipt).await.unwrap();
    assert_eq!((done.digest, done.size), (digest.to_string(), 10));

    let blob = rig.resolve(NAME, digest.as_str()).await.unwrap();
    let locator: Locator = rig.seal.open("locator", &blob.locator).unwrap();
    assert_eq!((locator.object_key.as_str(), locator.size), ("object-1", 10));
    assert_eq!(locator.digest, digest.to_string());
    assert_eq!(locator.expires_at, rig.clock.unix_seconds() + 300);
    refused(
        rig.resolve("acme/other", digest.as_str()).await,
        ErrorReason::RepositoryUnknown,
    );
}

#[tokio::test]
async fn a_chunk_out_of_order_leaves_the_session_as_it_is() {
    let rig = Rig::start().await;
    let upload = session(&rig).await;
    let lease = upload.acquire(Purpose::Append, None, "").await.unwrap();
    upload.save(lease.epoch, 4, b"s").await.unwrap();
    let digest = Digest::sha256(b"x");
    for purpose in [Purpose::Append, Purpose::Finish] {
        let status = refused(
            upload.acquire(purpose, Some(2), digest.as_str()).await,
            ErrorReason::UploadOutOfOrder,
        );
        assert_eq!(detail(&status, "offset").unwrap(), "4");
    }
    upload
        .save(lease.epoch, 5, b"the lease is still held")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_new_lease_ends_the_old_one() {
    let rig = Rig::start().await;
    let upload = session(&rig).await;
    let old = upload.acquire(Purpose::Append, None, "").await.unwrap();
    let new = upload.acquire(Purpose::Append, None, "").await.unwrap();
    refused(
        upload.save(old.epoch, 9, b"late").await,
        ErrorReason::UploadConflict,
    );
    upload.save(new.epoch, 3, b"s").await.unwrap();
    refused(
        upload.save(new.epoch, 2, b"back").await,
        ErrorReason::UploadInvalid,
    );
    assert_eq!(upload.offset().await.unwrap(), 3);

    let digest = Digest::sha256(b"abc");
    let lease = upload
        .acquire(Purpose::Finish, None, digest.as_str())
        .await
        .unwrap();
    let stale = upload.receipt(lease.epoch, digest.as_str(), 3, "k");
    // A finish that died is taken over, and its receipt is worth nothing then.
    upload.acquire(Purpose::Append, None, "").await.unwrap();
    refused(
        upload.finish(lease.epoch, stale).await,
        ErrorReason::UploadConflict,
    );
    let lease = upload
        .acquire(Purpose::Finish, None, digest.as_str())
        .await
        .unwrap();
    upload
        .finish(lease.epoch, upload.receipt(lease.epoch, digest.as_str(), 3, "k"))
        .await
        .unwrap();
}

#[tokio::test]
async fn only_the_receipt_of_this_finish_commits() {
    let rig = Rig::start().await;
    let upload = session(&rig).await;
    let (digest, other) = (Digest::sha256(b"abc"), Digest::sha256(b"xyz"));
    let lease = upload
        .acquire(Purpose::Finish, None, digest.as_str())
        .await
        .unwrap();
    let epoch = lease.epoch;
    let stranger = session(&rig).await;
    let theirs = stranger.receipt(epoch, digest.as_str(), 3, "k");
    refused(upload.finish(epoch, theirs).await, ErrorReason::UploadInvalid);
    let wrong_digest = upload.receipt(epoch, other.as_str(), 3, "k");
    refused(
        upload.finish(epoch, wrong_digest).await,
        ErrorReason::UploadInvalid,
    );
    let wrong_epoch = upload.receipt(epoch + 1, digest.as_str(), 3, "k");
    refused(
        upload.finish(epoch, wrong_epoch).await,
        ErrorReason::UploadConflict,
    );
    let forged = SealKey::generate().seal("receipt", &roadstead_proto::blobs::v1::Receipt::default());
    refused(upload.finish(epoch, forged).await, ErrorReason::UploadInvalid);
    let lease_as_receipt = lease.lease.clone();
    refused(
        upload.finish(epoch, lease_as_receipt).await,
        ErrorReason::UploadInvalid,
    );
    refused(rig.resolve(NAME, digest.as_str()).await, ErrorReason::BlobUnknown);
    upload
        .finish(epoch, upload.receipt(epoch, digest.as_str(), 3, "k"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_finished_session_answers_again_for_a_day() {
    let rig = Rig::start().await;
    let mut upload = session(&rig).await;
    let digest = Digest::sha256(b"abc");
    let lease = upload
        .acquire(Purpose::Finish, None, digest.as_str())
        .await
        .unwrap();
    let receipt = upload.receipt(lease.epoch, digest.as_str(), 3, "k");
    upload.finish(lease.epoch, receipt.clone()).await.unwrap();
    upload.finish(lease.epoch, receipt).await.unwrap();
    rig.control.advance(Duration::from_hours(23));
    upload.token = rig.token(&[NAME]);
    assert!(
        upload
            .acquire(Purpose::Finish, None, digest.as_str())
            .await
            .unwrap()
            .already_finished
    );
    let other = Digest::sha256(b"other");
    refused(
        upload.acquire(Purpose::Finish, None, other.as_str()).await,
        ErrorReason::UploadUnknown,
    );
    refused(
        upload.acquire(Purpose::Append, None, "").await,
        ErrorReason::UploadUnknown,
    );
    refused(upload.offset().await, ErrorReason::UploadUnknown);
    assert_eq!(rig.drain().await.len(), 1, "one commit, one event");

    rig.control.advance(Duration::from_hours(2));
    upload.token = rig.token(&[NAME]);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while upload
        .acquire(Purpose::Finish, None, digest.as_str())
        .await
        .is_ok()
    {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_live_object_stays_and_the_newcomer_is_discarded() {
    let rig = Rig::start().await;
    let digest = Digest::sha256(b"shared");
    for (name, key) in [("acme/a", "first"), ("acme/b", "second"), ("acme/b", "third")] {
        let upload = Upload::create(&rig, name, &rig.token(&[name])).await;
        let lease = upload
            .acquire(Purpose::Finish, None, digest.as_str())
            .await
            .unwrap();
        upload
            .finish(lease.epoch, upload.receipt(lease.epoch, digest.as_str(), 6, key))
            .await
            .unwrap();
    }
    for name in ["acme/a", "acme/b"] {
        let blob = rig.resolve(name, digest.as_str()).await.unwrap();
        let locator: Locator = rig.seal.open("locator", &blob.locator).unwrap();
        assert_eq!(locator.object_key, "first");
    }
    eventually(|| rig.blobs.deleted().len() == 2).await;
    assert_eq!(rig.blobs.deleted(), ["second", "third"]);
}

#[tokio::test]
async fn a_condemned_object_is_replaced_and_its_key_never_returns() {
    let rig = Rig::start().await;
    let digest = Digest::sha256(b"again");
    rig.push_blob(NAME, b"again").await;
    let condemn = "UPDATE blobs SET state = 'condemned', condemned_at = 1";
    let database = rusqlite::Connection::open(rig.database()).unwrap();
    let old_key: String = database
        .query_row("SELECT object_key FROM blobs", [], |row| row.get(0))
        .unwrap();
    database.execute(condemn, []).unwrap();
    refused(rig.resolve(NAME, digest.as_str()).await, ErrorReason::BlobUnknown);
    let manifest = image(&digest, &[]);
    refused(
        rig.put(NAME, "v1", &manifest).await,
        ErrorReason::ManifestBlobUnknown,
    );

    let upload = session(&rig).await;
    let lease = upload
        .acquire(Purpose::Finish, None, digest.as_str())
        .await
        .unwrap();
    let same = upload.receipt(lease.epoch, digest.as_str(), 5, &old_key);
    refused(upload.finish(lease.epoch, same).await, ErrorReason::UploadInvalid);
    upload
        .finish(
            lease.epoch,
            upload.receipt(lease.epoch, digest.as_str(), 5, "new"),
        )
        .await
        .unwrap();
    let blob = rig.resolve(NAME, digest.as_str()).await.unwrap();
    let locator: Locator = rig.seal.open("locator", &blob.locator).unwrap();
    assert_eq!(locator.object_key, "new");
    rig.put(NAME, "v1", &manifest).await.unwrap();

    let not_before: i64 = database
        .query_row(
            "SELECT not_before FROM object_deletions WHERE object_key = ?1",
            [&old_key],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(not_before, rig.clock.unix_millis() + 24 * 3_600_000);
    rig.control.advance(Duration::from_hours(25));
    eventually(|| rig.blobs.deleted() == [old_key.clone()]).await;
}

#[tokio::test]
async fn a_cancelled_session_is_gone() {
    let rig = Rig::start().await;
    let upload = session(&rig).await;
    let lease = upload.acquire(Purpose::Cancel, None, "").await.unwrap();
    refused(upload.offset().await, ErrorReason::UploadUnknown);
    refused(
        upload.acquire(Purpose::Append, None, "").await,
        ErrorReason::UploadUnknown,
    );
    upload.cancel(lease.epoch).await.unwrap();
    upload.cancel(lease.epoch).await.unwrap();
    refused(
        upload.acquire(Purpose::Cancel, None, "").await,
        ErrorReason::UploadUnknown,
    );

    let open = session(&rig).await;
    refused(open.cancel(0).await, ErrorReason::UploadConflict);
    open.offset().await.unwrap();
}

#[tokio::test]
async fn sessions_are_asked_for_by_good_names_only() {
    let rig = Rig::start().await;
    let mut request = CreateUploadRequest {
        registry_token: rig.token(&[NAME]),
        context: None,
        repository: "Bad".to_owned(),
        digest_algorithm: "sha512".to_owned(),
    };
    refused(
        rig.upload().create_upload(request.clone()).await,
        ErrorReason::NameInvalid,
    );
    request.repository = NAME.to_owned();
    rig.upload().create_upload(request.clone()).await.unwrap();
    request.digest_algorithm = "md5".to_owned();
    refused(
        rig.upload().create_upload(request).await,
        ErrorReason::DigestInvalid,
    );

    let mut upload = session(&rig).await;
    refused(
        upload.acquire(Purpose::Finish, None, "sha256:xyz").await,
        ErrorReason::DigestInvalid,
    );
    refused(
        upload.acquire(Purpose::Unspecified, None, "").await,
        ErrorReason::ArgumentInvalid,
    );
    upload.id = "../../etc/passwd".to_owned();
    refused(upload.offset().await, ErrorReason::UploadUnknown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_leases_taken_at_once_only_the_last_writes() {
    let rig = Arc::new(Rig::start().await);
    let id = session(&rig).await.id;
    let mut takers = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let (rig, id) = (rig.clone(), id.clone());
        takers.spawn(async move {
            let upload = Upload {
                id,
                ..Upload::create(&rig, NAME, &rig.token(&[NAME])).await
            };
            let lease = upload.acquire(Purpose::Append, None, "").await.unwrap();
            (
                lease.epoch,
                upload
                    .save(lease.epoch, 1, &lease.epoch.to_be_bytes())
                    .await
                    .is_ok(),
            )
        });
    }
    let mut outcomes = takers.join_all().await;
    outcomes.sort_unstable();
    let epochs: Vec<_> = outcomes.iter().map(|(epoch, _)| *epoch).collect();
    assert_eq!(epochs, (1..=32).collect::<Vec<_>>(), "no epoch is given twice");
    assert!(outcomes[31].1, "the newest lease writes");
}
