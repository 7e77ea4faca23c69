//! Objects whose bytes may go.

use rusqlite::{OptionalExtension as _, params};

use super::{Result, Store, Tx};

/// Queues an object whose bytes nothing may use after `not_before`.
pub(super) fn queue(tx: &Tx<'_>, object_key: &str, not_before: i64) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO object_deletions (object_key, not_before, attempts) VALUES (?1, ?2, 0)
         ON CONFLICT (object_key) DO NOTHING",
    )?
    .execute(params![object_key, not_before])?;
    Ok(())
}

/// Whether the object waits for its deletion: no blob may name it again.
pub(super) fn is_queued(tx: &Tx<'_>, object_key: &str) -> Result<bool> {
    let mut statement = tx.prepare_cached("SELECT 1 FROM object_deletions WHERE object_key = ?1")?;
    Ok(statement
        .query_row([object_key], |_| Ok(()))
        .optional()?
        .is_some())
}

/// A key that a blob names must never be here; should it be, the bytes are worth more than the space.
pub(super) const CLAIM: &str =
    "UPDATE object_deletions SET not_before = ?2, attempts = attempts + 1 WHERE object_key IN
         (SELECT object_key FROM object_deletions d WHERE d.not_before <= ?1
              AND NOT EXISTS (SELECT 1 FROM blobs b WHERE b.object_key = d.object_key)
          ORDER BY d.not_before LIMIT ?3)
     RETURNING object_key";

impl Store {
    /// Gives up to `limit` objects that are due by `now`, and puts each off so that a failed deletion is tried again later.
    pub(crate) async fn claim_object_deletions(&self, now: i64, limit: u32) -> Result<Vec<String>> {
        /// After this long a deletion whose outcome is unknown is repeated; unknown keys count as deleted.
        const RETRY_MILLIS: i64 = 5 * 60_000;
        self.write("claim_object_deletions", move |tx| {
            let mut statement = tx.prepare_cached(CLAIM)?;
            let keys = statement
                .query_map(params![now, tx.now + RETRY_MILLIS, limit], |row| row.get(0))?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            Ok(keys)
        })
        .await
    }

    /// Forgets objects that are deleted.
    pub(crate) async fn forget_object_deletions(&self, keys: Vec<String>) -> Result<()> {
        self.write("forget_object_deletions", move |tx| {
            let mut statement = tx.prepare_cached("DELETE FROM object_deletions WHERE object_key = ?1")?;
            for key in &keys {
                statement.execute([key])?;
            }
            Ok(())
        })
        .await
    }
}
