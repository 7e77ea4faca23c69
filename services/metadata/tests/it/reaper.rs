use std::time::Duration;

use roadstead_proto::metadata::v1::acquire_upload_request::Purpose;
use roadstead_rpc::ErrorReason;
use roadstead_types::{Digest, DigestAlgorithm};

use crate::harness::*;

const HOUR: Duration = Duration::from_hours(1);

#[tokio::test]
async fn idle_sessions_are_aborted_and_busy_ones_are_not() {
    let rig = Rig::start().await;
    let idle = Upload::create(&rig, "acme/web", &rig.token(&["acme/web"])).await;
    let mut busy = Upload::create(&rig, "acme/web", &rig.token(&["acme/web"])).await;
    rig.control.advance(23 * HOUR);
    busy.token = rig.token(&["acme/web"]);
    let lease = busy.acquire(Purpose::Append, None, "").await.unwrap();
    rig.control.advance(2 * HOUR);
    eventually(|| !rig.blobs.aborted(&rig.seal).is_empty()).await;
    assert_eq!(rig.blobs.aborted(&rig.seal), [(idle.id.clone(), 1)]);
    busy.token = rig.token(&["acme/web"]);
    busy.save(lease.epoch, 1, b"s").await.unwrap();
    let gone = Upload {
        token: rig.token(&["acme/web"]),
        ..idle
    };
    refused(
        gone.acquire(Purpose::Finish, None, Digest::sha256(b"").as_str())
            .await,
        ErrorReason::UploadUnknown,
    );
}

#[tokio::test]
async fn a_cancelled_session_is_discarded_even_if_the_gateway_never_came_back() {
    let rig = Rig::start().await;
    rig.blobs.set_down(true);
    let upload = Upload::create(&rig, "acme/web", &rig.token(&["acme/web"])).await;
    upload.acquire(Purpose::Cancel, None, "").await.unwrap();
    rig.control.advance(Duration::from_secs(61));
    // The reaper fails as long as blobs is away, and tries again.
    rig.blobs.set_down(false);
    rig.control.advance(Duration::from_secs(61));
    eventually(|| !rig.blobs.aborted(&rig.seal).is_empty()).await;
    assert_eq!(rig.blobs.aborted(&rig.seal)[0].0, upload.id);
    let rows = || {
        let database = rusqlite::Connection::open(rig.database()).unwrap();
        database
            .query_row("SELECT count(*) FROM upload_sessions", [], |row| {
                row.get::<_, i64>(0)
            })
            .unwrap()
    };
    eventually(|| rows() == 0).await;
}

/// A finish may have left an object that only its digest tells the name of.
#[tokio::test]
async fn blobs_is_told_what_an_abandoned_finish_named() {
    let rig = Rig::start().await;
    let digest = Digest::of(DigestAlgorithm::Sha512, b"x");
    let upload = Upload::create(&rig, "acme/web", &rig.token(&["acme/web"])).await;
    upload
        .acquire(Purpose::Finish, None, digest.as_str())
        .await
        .unwrap();
    upload.acquire(Purpose::Append, None, "").await.unwrap();
    let lease = upload.acquire(Purpose::Cancel, None, "").await.unwrap();
    upload.cancel(lease.epoch).await.unwrap();
    eventually(|| !rig.blobs.named().is_empty()).await;
    assert_eq!(rig.blobs.named(), [digest.to_string()]);
}

#[tokio::test]
async fn many_ended_sessions_are_forgotten_in_one_round() {
    let mut patient = config();
    patient.reaper_interval = HOUR;
    let rig = Rig::with(patient).await;
    let upload = Upload::create(&rig, "acme/web", &rig.token(&["acme/web"])).await;
    let database = rusqlite::Connection::open(rig.database()).unwrap();
    database
        .execute_batch(
            "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 2500)
             INSERT INTO upload_sessions SELECT n, repository_id, actor_issuer, actor_subject, algorithm, 'finished',
                 epoch, received, state, digest, size, created_at, 0 FROM upload_sessions, number;
             WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 2500)
             INSERT INTO push_grants SELECT CAST(n AS BLOB), repository_id, actor_issuer, actor_subject, created_at, 0
                 FROM push_grants, number;",
        )
        .unwrap();
    let id = upload.id.clone();
    let rig = rig.reopen(|_| ()).await.unwrap();
    let left = |table: &str| {
        database
            .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
                row.get::<_, i64>(0)
            })
            .unwrap()
    };
    eventually(|| left("upload_sessions") == 1 && left("push_grants") == 1).await;
    assert_eq!(rig.blobs.aborted(&rig.seal), []);
    let kept: String = database
        .query_row("SELECT id FROM upload_sessions", [], |row| row.get(0))
        .unwrap();
    assert_eq!(kept, id);
}

#[tokio::test]
async fn old_grants_are_forgotten() {
    let rig = Rig::start().await;
    Upload::create(&rig, "acme/web", &rig.token(&["acme/web"])).await;
    let rows = || {
        let database = rusqlite::Connection::open(rig.database()).unwrap();
        database
            .query_row("SELECT count(*) FROM push_grants", [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    assert_eq!(rows(), 1);
    rig.control.advance(HOUR);
    eventually(|| rows() == 0).await;
}
