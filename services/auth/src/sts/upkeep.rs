//! What is done from time to time: writing down uses and refusals, and forgetting what is over.

use std::{sync::Arc, time::Duration};

use roadstead_rpc::TaskSet;
use roadstead_runtime::Ages;
use roadstead_types::Clock;

use super::{LastUses, Refusals, millis};
use crate::{error::Error, store::Store};

/// A use is written this long after it at most.
const WRITE_USES: Duration = Duration::from_secs(10);
/// Every so many times, which is once a minute, refusals are told and what is over is forgotten.
const MINUTELY: u32 = 6;
/// Every so many times, which is once an hour, pull tokens that are long over are forgotten.
const HOURLY: u32 = 360;
/// What is deleted in one transaction; more would make others wait.
const AT_ONCE: usize = 500;
/// A pull token that is over is listed for as long as somebody may ask what it was.
const LISTED: Duration = Duration::from_hours(90 * 24);

/// What the upkeep works with.
#[derive(Debug)]
pub(crate) struct Upkeep {
    pub(crate) store: Store,
    pub(crate) uses: Arc<LastUses>,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) clock: Clock,
    /// How many revocations are held apart.
    pub(crate) revocations_limit: usize,
}

/// Keeps up until `tasks` end; what is not written down then is.
pub(crate) fn keep_up(upkeep: Upkeep, tasks: &TaskSet) {
    let stop = tasks.token().clone();
    tasks.spawn("upkeep", async move {
        let mut ages = Ages::new(upkeep.clock.clone());
        let mut round = 0_u32;
        loop {
            let stopped = tokio::select! {
                () = stop.cancelled() => true,
                () = tokio::time::sleep(WRITE_USES) => false,
            };
            report("write_uses", upkeep.write_uses().await);
            round = round.wrapping_add(1);
            let believable_now = ages.believable_now();
            if stopped || round % MINUTELY == 1 {
                report("tell_refusals", upkeep.tell_refusals().await);
            }
            if stopped {
                return;
            }
            if round % MINUTELY == 1 {
                report("forget", upkeep.forget(believable_now).await);
            }
            if round % HOURLY == 1
                && let Some(now) = believable_now
            {
                report("forget_pull_tokens", upkeep.forget_pull_tokens(now).await);
            }
        }
    });
}

/// What is not done now is done the next time.
fn report(what: &str, outcome: Result<(), Error>) {
    if let Err(error) = outcome {
        tracing::warn!(what, error = %error, "upkeep failed");
    }
}

impl Upkeep {
    async fn write_uses(&self) -> Result<(), Error> {
        let uses = self.uses.take();
        if uses.is_empty() {
            return Ok(());
        }
        self.store
            .write("write_uses", move |tx| tx.note_pull_token_uses(&uses))
            .await
    }

    async fn tell_refusals(&self) -> Result<(), Error> {
        let events = self.refusals.take();
        if events.is_empty() {
            return Ok(());
        }
        self.store
            .write("tell_refusals", move |tx| {
                events.iter().try_for_each(|event| tx.announce(event))
            })
            .await
    }

    async fn forget(&self, believable_now: Option<i64>) -> Result<(), Error> {
        let limit = self.revocations_limit;
        let coalesced = self
            .store
            .write("forget_watermarks", move |tx| {
                if let Some(now) = believable_now {
                    tx.forget_watermarks(now)?;
                }
                tx.coalesce_watermarks(limit)
            })
            .await?;
        if coalesced {
            tracing::warn!(
                limit,
                "more was revoked than auth.revocations_limit; every token has to be got anew"
            );
        }
        while let Some(now) = believable_now {
            let forgotten = self
                .store
                .write("forget_sessions", move |tx| tx.forget_sessions(now, AT_ONCE))
                .await?;
            if forgotten < AT_ONCE {
                break;
            }
        }
        Ok(())
    }

    async fn forget_pull_tokens(&self, now: i64) -> Result<(), Error> {
        loop {
            let over = self
                .store
                .scan("pull_tokens_over", move |snapshot| {
                    snapshot.pull_tokens_over_at(now - millis(LISTED), AT_ONCE)
                })
                .await?;
            let all = over.len() < AT_ONCE;
            self.store
                .write("forget_pull_tokens", move |tx| {
                    over.iter().try_for_each(|id| tx.delete_identity(id))
                })
                .await?;
            if all {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
#[path = "upkeep_tests.rs"]
mod tests;
