//! The transactional outbox.

use rusqlite::params;

use super::repositories::Repository;
use super::{Result, Store, Tx};
use crate::domain::author::Author;
use crate::domain::event::{Change, Event, EventKind, event};

/// A claim must fit a message, else it would fail again and again. One event always does.
const CLAIM_BYTES: usize = roadstead_rpc::MAX_MESSAGE_BYTES / 2;

/// Writes the event of a change with the transaction that makes it. An operation that is repeated has announced it
/// already; if that is in the log by now, the log drops it for its id.
pub(super) fn announce(
    tx: &Tx<'_>,
    kind: EventKind,
    repository: &Repository,
    change: Change<'_>,
    author: &Author,
) -> Result<()> {
    let place = (repository.name.as_str(), repository.public_id.as_str());
    let Event { id, json } = event(kind, place, &change, author, tx.now);
    tx.prepare_cached(
        "INSERT INTO outbox (id, event, created_at, leased_until, attempts) VALUES (?1, ?2, ?3, 0, 0)
         ON CONFLICT (id) DO NOTHING",
    )?
    .execute(params![id, json, tx.now])?;
    Ok(())
}

fn claim(tx: &Tx<'_>, limit: u32) -> Result<Vec<Event>> {
    let until = tx.now + tx.lifetimes.outbox_lease;
    // In the order of rows, of which only the first few are leased. A lease that ends later than any given now is from
    // before the clock was set back.
    let mut waiting = tx.prepare_cached(
        "SELECT sequence, id, event FROM outbox WHERE leased_until <= ?1 OR leased_until > ?2
         ORDER BY sequence LIMIT ?3",
    )?;
    let mut rows = waiting.query(params![tx.now, until, limit])?;
    let (mut claimed, mut sequences, mut bytes) = (Vec::new(), Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let event = Event {
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

impl Store {
    /// Leases up to `limit` events that no other claim holds, oldest first.
    pub(crate) async fn claim_events(&self, limit: u32) -> Result<Vec<Event>> {
        self.write("claim_events", move |tx| claim(tx, limit)).await
    }

    /// Forgets events that the log holds.
    pub(crate) async fn ack_events(&self, ids: Vec<String>) -> Result<()> {
        self.write("ack_events", move |tx| {
            let mut statement = tx.prepare_cached("DELETE FROM outbox WHERE id = ?1")?;
            for id in &ids {
                statement.execute([id])?;
            }
            Ok(())
        })
        .await
    }
}
