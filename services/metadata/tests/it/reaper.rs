use std::time::Duration;

use roadstead_proto::metadata::v1::acquire_upload_request::Purpose;
use roadstead_rpc::ErrorReason;
use roadstead_types::Digest;

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
