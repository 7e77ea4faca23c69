//! Deletes what is old enough.

use std::time::Duration;

use roadstead_runtime::Ages;
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
        let mut ages = Ages::new(self.clock.clone());
        while !stop.is_cancelled() {
            let pause = if let Some(now) = ages.believable_now() {
                self.prune(now).await
            } else {
                count_round("put_off");
                self.interval
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Deletes a batch of what is old by `now`, and returns how long to wait before the next.
    async fn prune(&self, now: i64) -> Duration {
        let keep = i64::try_from(self.keep.as_millis()).unwrap_or(i64::MAX);
        let cutoff = now.saturating_sub(keep);
        match self.log.prune(cutoff).await {
            Ok(0) => {
                count_round("done");
                self.interval
            }
            Ok(pruned) => {
                metrics::counter!("events_pruned_total").increment(pruned as u64);
                BREATH
            }
            Err(error) => {
                count_round("failed");
                tracing::warn!(%error, "old events were not deleted");
                self.interval
            }
        }
    }
}

fn count_round(outcome: &'static str) {
    metrics::counter!("events_prune_rounds_total", "outcome" => outcome).increment(1);
}
