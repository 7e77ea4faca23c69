//! The transactional outbox.

use rusqlite::params;

use super::repositories::Repository;
use super::{Result, Store, Tx};
use crate::domain::author::Author;
use crate::domain::event::{Change, Event, EventKind, event};

/// Writes the event of a change with the transaction that makes it.
pub(super) fn announce(
    tx: &Tx<'_>,
    kind: EventKind,
    repository: &Repository,
    change: Change<'_>,
    author: &Author,
) -> Result<()> {
    let change = Change {
        repository: repository.name.as_str(),
        repository_id: &repository.public_id,
        ..change
    };
    let Event { id, json } = event(kind, &change, author, tx.now);
    tx.prepare_cached(
        "INSERT INTO outbox (id, event, created_at, leased_until, attempts) VALUES (?1, ?2, ?3, 0, 0)",
    )?
    .execute(params![id, json, tx.now])?;
    Ok(())
}

impl Store {
    /// Leases up to `limit` events that no other claim holds, oldest first.
    pub(crate) async fn claim_events(&self, limit: u32) -> Result<Vec<Event>> {
        self.write("claim_events", move |tx| {
            let mut statement = tx.prepare_cached(
                "UPDATE outbox SET leased_until = ?2, attempts = attempts + 1
                 WHERE sequence IN
                     (SELECT sequence FROM outbox WHERE leased_until <= ?1 ORDER BY sequence LIMIT ?3)
                 RETURNING sequence, id, event",
            )?;
            let mut claimed = statement
                .query_map(
                    params![tx.now, tx.now + tx.lifetimes.outbox_lease, limit],
                    |row| {
                        Ok((
                            row.get::<_, i64>(0)?,
                            Event {
                                id: row.get(1)?,
                                json: row.get(2)?,
                            },
                        ))
                    },
                )?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            // RETURNING promises no order.
            claimed.sort_by_key(|(sequence, _)| *sequence);
            Ok(claimed.into_iter().map(|(_, event)| event).collect())
        })
        .await
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
