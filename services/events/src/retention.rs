//! Deletes what is old enough.

use std::time::Duration;

use roadstead_types::Clock;
use tokio_util::sync::CancellationToken;

use crate::store::EventLog;

/// Between two batches: whoever waits for the writer goes first.
const BREATH: Duration = Duration::from_millis(20);

pub(crate) struct Retention {
    pub(crate) log: EventLog,
    pub(crate) clock: Clock,
    pub(crate) keep: Duration,
    pub(crate) interval: Duration,
}

impl Retention {
    pub(crate) async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let keep = i64::try_from(self.keep.as_millis()).unwrap_or(i64::MAX);
            let cutoff = self.clock.unix_millis().saturating_sub(keep);
            let pause = match self.log.prune(cutoff).await {
                Ok(0) => self.interval,
                Ok(pruned) => {
                    metrics::counter!("events_pruned_total").increment(pruned as u64);
                    BREATH
                }
                Err(error) => {
                    tracing::warn!(%error, "old events were not deleted");
                    self.interval
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}
