//! From an outbox into the log.
//!
//! An event is claimed, stored, and only then acknowledged: a crash between any two steps repeats some of them, and the
//! log's unique event ids make the repetition invisible.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use fail::fail_point;
use roadstead_sqlite::Failure;
use roadstead_types::Clock;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    cloudevent::CloudEvent,
    outbox::{Handed, Outbox},
    store::{Batch, EventLog, Rejected},
};

/// The longest pause between two attempts while an outbox or the log fails.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
enum DrainError {
    #[error("the outbox did not answer: {0}")]
    Outbox(#[from] Status),
    #[error("the log did not take the events: {0}")]
    Log(#[from] Failure),
}

/// Moves the events of one outbox for as long as the process runs.
pub(crate) struct Drain {
    outbox: Outbox,
    log: EventLog,
    clock: Clock,
    interval: Duration,
    batch: u32,
}

impl Drain {
    pub(crate) fn new(outbox: Outbox, log: EventLog, clock: Clock, interval: Duration, batch: u32) -> Self {
        Self {
            outbox,
            log,
            clock,
            interval,
            batch,
        }
    }

    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(self.interval.min(LONGEST_PAUSE))
            .with_max_delay(LONGEST_PAUSE)
            .with_jitter()
            .without_max_times();
        let mut pauses = backoff.build();
        let mut failing = false;
        let keeper = self.outbox.keeper();
        while !stop.is_cancelled() {
            let pause = match self.step(&stop).await {
                Ok(moved) => {
                    if failing {
                        tracing::info!(keeper, "the outbox is drained again");
                        failing = false;
                    }
                    pauses = backoff.build();
                    // Not only after a full batch: bytes bound a claim as well, so a short one may leave some behind.
                    if moved > 0 { Duration::ZERO } else { self.interval }
                }
                Err(error) => {
                    metrics::counter!("events_drain_failures_total", "outbox" => keeper).increment(1);
                    if !failing {
                        // Once, not with every attempt: the outbox keeps the events meanwhile.
                        tracing::warn!(%error, keeper, "the outbox is not drained");
                        failing = true;
                    }
                    pauses.next().unwrap_or(LONGEST_PAUSE)
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Moves one batch. What was claimed is also stored and acknowledged when the process ends meanwhile.
    async fn step(&mut self, stop: &CancellationToken) -> Result<usize, DrainError> {
        let events = tokio::select! {
            () = stop.cancelled() => return Ok(0),
            claimed = self.outbox.claim(self.batch) => claimed?,
        };
        if events.is_empty() {
            return Ok(0);
        }
        fail_point!("events::drain::after_claim");
        let ids: Vec<String> = events.iter().map(|event| event.id.clone()).collect();
        let moved = ids.len();
        let new = self.log.append(self.sort(events)).await?;
        self.outbox.acknowledge(ids).await?;
        fail_point!("events::drain::after_ack");
        metrics::counter!("events_logged_total").increment(new as u64);
        Ok(moved)
    }

    /// Tells events from what is none, which must neither block the log nor be lost.
    fn sort(&self, events: Vec<Handed>) -> Batch {
        let mut batch = Batch {
            now: self.clock.unix_millis(),
            ..Batch::default()
        };
        for event in events {
            match CloudEvent::parse(event.cloudevent_json.clone()) {
                Ok(parsed) if parsed.id != event.id => {
                    batch.set_aside(event, "the event's id is not the outbox's");
                }
                Ok(parsed) => match self.outbox.objection(&parsed) {
                    None => batch.events.push(parsed),
                    Some(problem) => batch.set_aside(event, problem),
                },
                Err(problem) => batch.set_aside(event, &problem),
            }
        }
        batch
    }
}

impl Batch {
    fn set_aside(&mut self, event: Handed, problem: &str) {
        tracing::error!(
            id = event.id,
            problem,
            "the outbox holds what is no event; it is set aside"
        );
        metrics::counter!("events_rejected_total").increment(1);
        self.rejected.push(Rejected {
            id: event.id,
            problem: problem.to_owned(),
            content: event.cloudevent_json,
        });
    }
}
