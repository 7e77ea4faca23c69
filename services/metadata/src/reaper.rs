//! Looks after what ends by time: idle and cancelled upload sessions, discarded objects, old push grants.
//!
//! Each round claims a batch in one transaction, asks blobs outside of any, and forgets the batch in another. A crash in
//! between repeats the request, which blobs answers alike. Online garbage collection will be a task beside this one.

use std::time::Duration;

use roadstead_proto::blobs::v1::blob_admin_service_client::BlobAdminServiceClient;
use roadstead_proto::blobs::v1::{AbandonedUpload, AbortUploadsRequest, DeleteObjectsRequest, Lease};
use roadstead_rpc::{MAX_MESSAGE_BYTES, RpcChannel, SealKey};
use roadstead_runtime::Ages;
use roadstead_types::Clock;
use tokio_util::sync::CancellationToken;
use tonic::Request;

use crate::error::Error;
use crate::purpose;
use crate::store::Store;

const BATCH: u32 = 100;

/// Rows that one transaction forgets: whoever waits for the writer goes in between.
const FORGOTTEN: u32 = 1000;

/// What the contract gives both calls.
const BLOBS_DEADLINE: Duration = Duration::from_mins(1);

pub(crate) struct Reaper {
    store: Store,
    seal: SealKey,
    blobs: BlobAdminServiceClient<RpcChannel>,
    ages: Ages,
}

#[derive(Debug, thiserror::Error)]
enum ReapError {
    #[error("{0}")]
    Store(#[from] Error),
    #[error("blobs: {0}")]
    Blobs(#[from] tonic::Status),
}

impl Reaper {
    pub(crate) fn new(store: Store, seal: SealKey, blobs: RpcChannel, clock: Clock) -> Self {
        let blobs = BlobAdminServiceClient::new(blobs)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self {
            store,
            seal,
            blobs,
            ages: Ages::new(clock),
        }
    }

    pub(crate) async fn run(mut self, interval: Duration, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let Some(now) = self.ages.believable_now() else {
                count_round("put_off");
                continue;
            };
            // What was claimed and not done is claimed again later, so stopping in the middle loses nothing.
            match stop.run_until_cancelled(self.round(now)).await {
                None => return,
                Some(Ok(())) => count_round("done"),
                Some(Err(error)) => {
                    count_round("failed");
                    tracing::warn!(%error, "cannot clean up; trying again later");
                }
            }
        }
    }

    /// What is due by `now`, in Unix milliseconds.
    async fn round(&mut self, now: i64) -> Result<(), ReapError> {
        while self.store.forget_expired_grants(now, FORGOTTEN).await? == FORGOTTEN {}
        while self.store.forget_finished_uploads(now, FORGOTTEN).await? == FORGOTTEN {}
        while self.abort_uploads(now).await? {}
        while self.delete_objects(now).await? {}
        Ok(())
    }

    /// True when there may be more.
    async fn abort_uploads(&mut self, now: i64) -> Result<bool, ReapError> {
        let abandoned = self.store.claim_abandoned_uploads(now, BATCH).await?;
        let count = abandoned.len();
        if abandoned.is_empty() {
            return Ok(false);
        }
        let mut uploads = Vec::with_capacity(count);
        let mut done = Vec::with_capacity(count);
        for upload in abandoned {
            let lease = Lease {
                upload_id: upload.id.clone(),
                epoch: u64::try_from(upload.epoch).unwrap_or_default(),
                digest_algorithm: upload.algorithm,
            };
            uploads.push(AbandonedUpload {
                lease: self.seal.seal(purpose::LEASE, &lease),
                state: upload.state.into(),
                digest: upload.digest.unwrap_or_default(),
            });
            done.push((upload.id, upload.epoch));
        }
        let mut request = Request::new(AbortUploadsRequest { uploads });
        request.set_timeout(BLOBS_DEADLINE);
        self.blobs.abort_uploads(request).await?;
        self.store.forget_uploads(done).await?;
        tracing::info!(count, "discarded abandoned uploads");
        Ok(count == BATCH as usize)
    }

    /// True when there may be more.
    async fn delete_objects(&mut self, now: i64) -> Result<bool, ReapError> {
        let keys = self.store.claim_object_deletions(now, BATCH).await?;
        let count = keys.len();
        if keys.is_empty() {
            return Ok(false);
        }
        let mut request = Request::new(DeleteObjectsRequest {
            object_keys: keys.clone(),
        });
        request.set_timeout(BLOBS_DEADLINE);
        self.blobs.delete_objects(request).await?;
        self.store.forget_object_deletions(keys).await?;
        tracing::info!(count, "deleted objects");
        Ok(count == BATCH as usize)
    }
}

fn count_round(outcome: &'static str) {
    metrics::counter!("metadata_reaper_rounds_total", "outcome" => outcome).increment(1);
}
