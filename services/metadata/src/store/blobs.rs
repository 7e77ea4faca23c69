//! Blobs and their links to repositories.

use roadstead_types::{Digest, RepositoryName};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::repositories::Repository;
use super::{Result, Store, Tx, deletions};
use crate::error::Error;

/// Where a blob's bytes are.
#[derive(Debug)]
pub(crate) struct BlobLocation {
    pub(crate) object_key: String,
    pub(crate) size: i64,
    pub(crate) repository_id: String,
}

/// An object that blobs vouches for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Object<'a> {
    pub(super) key: &'a str,
    pub(super) digest: &'a str,
    pub(super) size: i64,
}

/// The id of a live blob.
pub(super) fn live(connection: &Connection, digest: &str) -> Result<Option<i64>> {
    let mut statement =
        connection.prepare_cached("SELECT id FROM blobs WHERE digest = ?1 AND state = 'live'")?;
    Ok(statement.query_row([digest], |row| row.get(0)).optional()?)
}

/// Whether the repository holds a live blob.
pub(super) fn is_linked(connection: &Connection, repository_id: i64, digest: &str) -> Result<bool> {
    let mut statement = connection.prepare_cached(
        "SELECT 1 FROM blobs b JOIN blob_links l ON l.blob_id = b.id AND l.repository_id = ?1
         WHERE b.digest = ?2 AND b.state = 'live'",
    )?;
    Ok(statement
        .query_row(params![repository_id, digest], |_| Ok(()))
        .optional()?
        .is_some())
}

/// Makes the repository hold the blob. No manifest names it yet, as far as this knows: that is due for review.
pub(super) fn link(tx: &Tx<'_>, repository: &Repository, blob_id: i64) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO blob_links (repository_id, blob_id, created_at, review_since) VALUES (?1, ?2, ?3, ?3)
         ON CONFLICT (repository_id, blob_id) DO UPDATE SET review_since = excluded.review_since",
    )?
    .execute(params![repository.id, blob_id, tx.now])?;
    tx.prepare_cached("UPDATE blobs SET review_since = NULL WHERE id = ?1 AND review_since IS NOT NULL")?
        .execute([blob_id])?;
    Ok(())
}

/// Takes the blob from the repository; false when it did not hold it. A blob without links stays for garbage collection.
pub(super) fn unlink(tx: &Tx<'_>, repository: &Repository, digest: &str) -> Result<bool> {
    let Some(blob_id) = live(tx, digest)? else {
        return Ok(false);
    };
    let removed = tx
        .prepare_cached("DELETE FROM blob_links WHERE repository_id = ?1 AND blob_id = ?2")?
        .execute(params![repository.id, blob_id])?;
    tx.prepare_cached(
        "UPDATE blobs SET review_since = ?2
         WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM blob_links WHERE blob_id = ?1)",
    )?
    .execute(params![blob_id, tx.now])?;
    Ok(removed > 0)
}

/// Marks what a removed manifest named, for garbage collection to look at.
pub(super) fn review_children(tx: &Tx<'_>, repository: &Repository, manifest_id: i64) -> Result<()> {
    tx.prepare_cached(
        "UPDATE blob_links SET review_since = ?3 WHERE repository_id = ?1 AND blob_id IN
             (SELECT b.id FROM manifest_edges e JOIN blobs b ON b.digest = e.child_digest WHERE e.parent_id = ?2)",
    )?
    .execute(params![repository.id, manifest_id, tx.now])?;
    Ok(())
}

/// Makes an object the bytes of its digest, and gives the blob's id.
///
/// A live object stays, and the newcomer's bytes may go: nothing ever resolved to them. A condemned one is replaced, and
/// its bytes go when the last reader must be gone.
pub(super) fn publish(tx: &Tx<'_>, object: Object<'_>) -> Result<i64> {
    let existing = tx
        .prepare_cached("SELECT id, object_key, state = 'live' FROM blobs WHERE digest = ?1")?
        .query_row([object.digest], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, bool>(2)?,
            ))
        })
        .optional()?;
    // Also a condemned object of this key must not come back: its deletion may be under way.
    let reused = existing
        .as_ref()
        .is_some_and(|(_, key, live)| key == object.key && !live);
    if reused || deletions::is_queued(tx, object.key)? {
        return Err(Error::UploadInvalid("its object was discarded"));
    }
    match existing {
        Some((id, key, true)) => {
            if key != object.key {
                deletions::queue(tx, object.key, tx.now)?;
            }
            Ok(id)
        }
        Some((id, key, false)) => {
            tx.prepare_cached(
                "UPDATE blobs SET object_key = ?2, size = ?3, state = 'live', created_at = ?4, condemned_at = NULL,
                     review_since = NULL WHERE id = ?1",
            )?
            .execute(params![id, object.key, object.size, tx.now])?;
            deletions::queue(tx, &key, tx.now + tx.lifetimes.delete_delay)?;
            Ok(id)
        }
        None => {
            tx.prepare_cached(
                "INSERT INTO blobs (digest, size, object_key, state, created_at) VALUES (?1, ?2, ?3, 'live', ?4)",
            )?
            .execute(params![object.digest, object.size, object.key, tx.now])?;
            Ok(tx.last_insert_rowid())
        }
    }
}

pub(super) const RESOLVE: &str = "SELECT r.public_id, b.object_key, b.size
                 FROM repositories r
                 LEFT JOIN blobs b ON b.digest = ?2 AND b.state = 'live' AND EXISTS
                     (SELECT 1 FROM blob_links l WHERE l.repository_id = r.id AND l.blob_id = b.id)
                 WHERE r.name = ?1";

impl Store {
    /// Finds a live blob that the repository holds.
    pub(crate) async fn resolve_blob(&self, name: &RepositoryName, digest: &Digest) -> Result<BlobLocation> {
        self.read("resolve_blob", |connection| {
            let mut statement = connection.prepare_cached(RESOLVE)?;
            let row = statement
                .query_row(params![name.as_str(), digest.as_str()], |row| {
                    let repository_id: String = row.get(0)?;
                    let object_key: Option<String> = row.get(1)?;
                    let size: Option<i64> = row.get(2)?;
                    Ok((repository_id, object_key.zip(size)))
                })
                .optional()?;
            let (repository_id, found) = row.ok_or(Error::RepositoryUnknown)?;
            let (object_key, size) = found.ok_or(Error::BlobUnknown)?;
            Ok(BlobLocation {
                object_key,
                size,
                repository_id,
            })
        })
        .await
    }
}
