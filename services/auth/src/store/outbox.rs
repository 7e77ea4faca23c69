//! Audit events, written with the change that they tell of.

use std::time::Duration;

use rusqlite::params;

use super::{Result, Store, Tx};
use crate::{domain::event::AuditEvent, error::Error};

/// How long events stay with whoever claimed them.
const LEASE: Duration = Duration::from_mins(1);

/// The log takes no larger event.
const EVENT_LIMIT: usize = 64 * 1024;

/// A claim must fit a message, else it would fail again and again. One event always does.
const CLAIM_BYTES: usize = roadstead_rpc::MAX_MESSAGE_BYTES / 2;

/// An event on its way to the log.
#[derive(Debug)]
pub(crate) struct OutboxEvent {
    pub(crate) id: String,
    pub(crate) json: Vec<u8>,
}

impl Tx<'_> {
    /// Writes an event, to be told once the transaction is durable.
    pub(crate) fn announce(&self, event: &AuditEvent) -> Result<()> {
        let (id, json) = event.encode(self.now)?;
        if json.len() > EVENT_LIMIT {
            // Done without a trace is worse than not done.
            return Err(Error::argument(
                "what is asked for is too long to be told in one event",
            ));
        }
        self.prepare_cached(
            "INSERT INTO outbox (id, event, created_at, leased_until, attempts) VALUES (?1, ?2, ?3, 0, 0)",
        )?
        .execute(params![id, json, self.now])?;
        Ok(())
    }
}

impl Store {
    /// Leases up to `limit` events that no other claim holds, oldest first.
    pub(crate) async fn claim_events(&self, limit: u32) -> Result<Vec<OutboxEvent>> {
        self.write("claim_events", move |tx| claim(tx, limit)).await
    }

    /// Forgets events that the log holds.
    pub(crate) async fn ack_events(&self, ids: Vec<String>) -> Result<()> {
        self.write("ack_events", move |tx| {
            let mut delete = tx.prepare_cached("DELETE FROM outbox WHERE id = ?1")?;
            for id in &ids {
                delete.execute([id])?;
            }
            Ok(())
        })
        .await
    }
}

fn claim(tx: &Tx<'_>, limit: u32) -> Result<Vec<OutboxEvent>> {
    let until = tx.now + i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX / 4);
    // In the order of rows, of which only the first few are leased. A lease that ends later than any given now is from
    // before the clock was set back.
    let mut waiting = tx.prepare_cached(
        "SELECT sequence, id, event FROM outbox WHERE leased_until <= ?1 OR leased_until > ?2
         ORDER BY sequence LIMIT ?3",
    )?;
    let mut rows = waiting.query(params![tx.now, until, limit])?;
    let (mut claimed, mut sequences, mut bytes) = (Vec::new(), Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let event = OutboxEvent {
            id: row.get(1)?,
            json: row.get(2)?,
        };
        bytes += event.json.len();
        if bytes > CLAIM_BYTES && !claimed.is_empty() {
            break;
        }
        sequences.push(row.get::<_, i64>(0)?);
        claimed.push(event);
    }
    drop(rows);
    let mut lease = tx
        .prepare_cached("UPDATE outbox SET leased_until = ?2, attempts = attempts + 1 WHERE sequence = ?1")?;
    for sequence in sequences {
        lease.execute(params![sequence, until])?;
    }
    Ok(claimed)
}
