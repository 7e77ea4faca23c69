//! Tells the events service what the gateway alone sees.

use std::time::Duration;

use bytes::Bytes;
use roadstead_proto::events::v1::{PublishEventsRequest, ingest_service_client::IngestServiceClient};
use roadstead_rpc::{ErrorReason, RpcChannel};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio_util::sync::CancellationToken;

/// As many as the contract allows: each batch is a transaction of the log.
pub(crate) const BATCH: usize = 1000;
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// How long the last batch may take at the end.
const LAST_FLUSH: Duration = Duration::from_secs(2);

/// The counters of one kind of events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counters {
    pub(crate) published: &'static str,
    pub(crate) dropped: &'static str,
}

impl Counters {
    pub(crate) fn count_dropped(self, number: usize) {
        metrics::counter!(self.dropped).increment(number as u64);
    }
}

/// Delivers batches of events.
pub(crate) struct Publisher {
    client: IngestServiceClient<RpcChannel>,
    stop: CancellationToken,
    counters: Counters,
}

impl Publisher {
    /// Makes a publisher that hurries once `stop` is cancelled.
    pub(crate) fn new(events: &RpcChannel, stop: CancellationToken, counters: Counters) -> Self {
        Self {
            client: IngestServiceClient::new(events.clone()),
            stop,
            counters,
        }
    }

    /// Publishes a batch, however long events is away. When the gateway stops, there is one last attempt.
    pub(crate) async fn deliver(&mut self, cloudevents_json: Vec<Bytes>) {
        let number = cloudevents_json.len();
        let request = PublishEventsRequest { cloudevents_json };
        let mut wait = FIRST_RETRY;
        loop {
            let is_last = self.stop.is_cancelled();
            let publish = self.client.publish_events(request.clone());
            let outcome = if is_last {
                match tokio::time::timeout(LAST_FLUSH, publish).await {
                    Ok(outcome) => outcome,
                    Err(_) => return self.counters.count_dropped(number),
                }
            } else {
                publish.await
            };
            let Err(status) = outcome else {
                metrics::counter!(self.counters.published).increment(number as u64);
                return;
            };
            // Events finds fault with the batch itself: it will not like it better the next time.
            let is_hopeless = roadstead_rpc::reason(&status) == ErrorReason::ArgumentInvalid;
            if is_last || is_hopeless {
                tracing::warn!(events = number, cause = status.message(), "events were dropped");
                return self.counters.count_dropped(number);
            }
            tracing::debug!(cause = status.message(), "events wait for the events service");
            let _ = self.stop.run_until_cancelled(tokio::time::sleep(wait)).await;
            wait = (wait * 2).min(LAST_RETRY);
        }
    }
}

/// A time as CloudEvents write it.
pub(crate) fn rfc3339(unix_millis: i64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_millis) * 1_000_000)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_default()
}
