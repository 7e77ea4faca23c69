//! From an outbox into the log.
//!
//! An event is claimed, stored, and only then acknowledged: a crash between any two steps repeats some of them, and the
//! log's unique event ids make the repetition invisible.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use fail::fail_point;
use roadstead_proto::metadata::v1::{
    AckEventsRequest, ClaimEventsRequest, OutboxEvent, outbox_service_client::OutboxServiceClient,
};
use roadstead_rpc::{MAX_MESSAGE_BYTES, RpcChannel};
use roadstead_types::Clock;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    cloudevent::CloudEvent,
    store::{Batch, EventLog, Rejected, StoreError},
};

/// The longest pause between two attempts while an outbox or the log fails.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
enum DrainError {
    #[error("the outbox did not answer: {0}")]
    Outbox(#[from] Status),
    #[error("the log did not take the events: {0}")]
    Log(#[from] StoreError),
}

/// Moves events for as long as the process runs.
pub(crate) struct Drain {
    outbox: OutboxServiceClient<RpcChannel>,
    log: EventLog,
    clock: Clock,
    interval: Duration,
    batch: u32,
}

impl Drain {
    pub(crate) fn new(
        channel: RpcChannel,
        log: EventLog,
        clock: Clock,
        interval: Duration,
        batch: u32,
    ) -> Self {
        let outbox = OutboxServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
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
        while !stop.is_cancelled() {
            let pause = match self.step(&stop).await {
                Ok(moved) => {
                    if failing {
                        tracing::info!("the outbox is drained again");
                        failing = false;
                    }
                    pauses = backoff.build();
                    // Not only after a full batch: bytes bound a claim as well, so a short one may leave some behind.
                    if moved > 0 { Duration::ZERO } else { self.interval }
                }
                Err(error) => {
                    metrics::counter!("events_drain_failures_total").increment(1);
                    if !failing {
                        // Once, not with every attempt: the outbox keeps the events meanwhile.
                        tracing::warn!(%error, "the outbox is not drained");
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
        let claim = self.outbox.claim_events(ClaimEventsRequest {
            max_events: self.batch,
        });
        let events = tokio::select! {
            () = stop.cancelled() => return Ok(0),
            claimed = claim => claimed?.into_inner().events,
        };
        if events.is_empty() {
            return Ok(0);
        }
        fail_point!("events::drain::after_claim");
        let ids: Vec<String> = events.iter().map(|event| event.id.clone()).collect();
        let moved = ids.len();
        let new = self.log.append(sort(events, self.clock.unix_millis())).await?;
        self.outbox.ack_events(AckEventsRequest { ids }).await?;
        fail_point!("events::drain::after_ack");
        metrics::counter!("events_logged_total").increment(new as u64);
        Ok(moved)
    }
}

/// Tells events from what is none, which must neither block the log nor be lost.
fn sort(events: Vec<OutboxEvent>, now: i64) -> Batch {
    let mut batch = Batch {
        now,
        ..Batch::default()
    };
    for event in events {
        match CloudEvent::parse(event.cloudevent_json.clone()) {
            Ok(parsed) if parsed.id == event.id => batch.events.push(parsed),
            Ok(_) => batch.set_aside(event, "the event's id is not the outbox's"),
            Err(problem) => batch.set_aside(event, &problem),
        }
    }
    batch
}

impl Batch {
    fn set_aside(&mut self, event: OutboxEvent, problem: &str) {
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
