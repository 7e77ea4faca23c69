//! What is written.

use rusqlite::{Connection, params};

use crate::cloudevent::CloudEvent;

/// Rows that one transaction deletes at most, so that an insert never waits long behind a prune.
const PRUNE_BATCH: i64 = 1_000;

/// What an outbox gave and is no event.
#[derive(Debug)]
pub(crate) struct Rejected {
    pub(crate) id: String,
    pub(crate) problem: String,
    pub(crate) content: bytes::Bytes,
}

/// What is written at once.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) events: Vec<CloudEvent>,
    pub(crate) rejected: Vec<Rejected>,
    /// Unix milliseconds.
    pub(crate) now: i64,
}

/// Stores events, each once, and returns how many were new.
pub(super) fn append(connection: &Connection, batch: &Batch) -> rusqlite::Result<usize> {
    let first: i64 = connection
        .prepare_cached("SELECT next_offset FROM log_partition WHERE partition_id = 0")?
        .query_row([], |row| row.get(0))?;
    let mut next = first;
    let mut insert = connection.prepare_cached(
        "INSERT INTO event (log_offset, id, type, repository, path, recorded_at, cloudevent)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (id) DO NOTHING",
    )?;
    for event in &batch.events {
        let inserted = insert.execute(params![
            next,
            event.id,
            event.r#type,
            event.repository,
            event.path,
            batch.now,
            &event.json[..]
        ])?;
        next += i64::try_from(inserted).unwrap_or(0);
    }
    connection
        .prepare_cached("UPDATE log_partition SET next_offset = ?1 WHERE partition_id = 0")?
        .execute([next])?;
    let mut set_aside = connection.prepare_cached(
        "INSERT INTO rejected_event (id, problem, recorded_at, content)
         VALUES (?1, ?2, ?3, ?4) ON CONFLICT (id) DO NOTHING",
    )?;
    for rejected in &batch.rejected {
        set_aside.execute(params![
            rejected.id,
            rejected.problem,
            batch.now,
            &rejected.content[..]
        ])?;
    }
    Ok(usize::try_from(next - first).unwrap_or(0))
}

/// Deletes from the old end only, so that the log stays without gaps even if the clock once went backwards.
pub(super) fn prune(connection: &Connection, cutoff: i64) -> rusqlite::Result<usize> {
    let mut oldest = connection
        .prepare_cached("SELECT log_offset, recorded_at FROM event ORDER BY log_offset LIMIT ?1")?;
    let rows = oldest.query_map([PRUNE_BATCH], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
    })?;
    let mut last = None;
    for row in rows {
        let (log_offset, recorded_at) = row?;
        if recorded_at >= cutoff {
            break;
        }
        last = Some(log_offset);
    }
    let events = match last {
        Some(last) => connection
            .prepare_cached("DELETE FROM event WHERE log_offset <= ?1")?
            .execute([last])?,
        None => 0,
    };
    let rejected = connection
        .prepare_cached(
            "DELETE FROM rejected_event WHERE id IN
                 (SELECT id FROM rejected_event WHERE recorded_at < ?1 LIMIT ?2)",
        )?
        .execute([cutoff, PRUNE_BATCH])?;
    Ok(events + rejected)
}
