//! Push grants: a token that began a push may end it, though it expired meanwhile.

use roadstead_types::RepositoryName;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::repositories::{self, Repository};
use super::{Lifetimes, Result, Store, Tx};
use crate::domain::author::Author;
use crate::error::Error;

/// A use is written down only when the last one is this old: a push makes many requests a second.
const TOUCH_EVERY_MILLIS: i64 = 15_000;

/// Records that a valid token pushes here. An earlier grant of the same token keeps its age.
pub(super) fn record(tx: &Tx<'_>, author: &Author, repository: &Repository) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO push_grants (token_hash, repository_id, actor_issuer, actor_subject, created_at, used_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?5)
         ON CONFLICT (token_hash, repository_id) DO UPDATE SET used_at = excluded.used_at",
    )?
    .execute(params![
        author.token_hash,
        repository.id,
        author.principal.issuer,
        author.principal.subject,
        tx.now
    ])?;
    Ok(())
}

/// Notes a use of the grant, if there is one.
pub(super) fn touch(tx: &Tx<'_>, author: &Author, repository: &Repository) -> Result<()> {
    tx.prepare_cached(
        "UPDATE push_grants SET used_at = ?3 WHERE token_hash = ?1 AND repository_id = ?2 AND used_at < ?4",
    )?
    .execute(params![
        author.token_hash,
        repository.id,
        tx.now,
        tx.now - TOUCH_EVERY_MILLIS
    ])?;
    Ok(())
}

/// Demands a live grant, and notes its use.
pub(super) fn require(tx: &Tx<'_>, author: &Author, repository: &Repository) -> Result<()> {
    if !is_live(tx, &author.token_hash, repository.id, tx.now, tx.lifetimes)? {
        return Err(Error::TokenExpired);
    }
    touch(tx, author, repository)
}

pub(super) const FORGET: &str = "DELETE FROM push_grants WHERE (token_hash, repository_id) IN
         (SELECT token_hash, repository_id FROM push_grants WHERE used_at <= ?1 ORDER BY used_at LIMIT ?2)";

pub(super) const IS_LIVE: &str = "SELECT 1 FROM push_grants
         WHERE token_hash = ?1 AND repository_id = ?2 AND used_at > ?3 AND created_at > ?4";

fn is_live(
    connection: &Connection,
    token_hash: &[u8; 32],
    repository_id: i64,
    now: i64,
    lifetimes: &Lifetimes,
) -> Result<bool> {
    let mut statement = connection.prepare_cached(IS_LIVE)?;
    let oldest_use = now - lifetimes.grant_idle;
    let oldest = now - lifetimes.grant_lifetime;
    let found = statement
        .query_row(params![token_hash, repository_id, oldest_use, oldest], |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}

impl Store {
    /// Whether the token has a live push grant in the repository.
    pub(crate) async fn has_push_grant(&self, token_hash: &[u8; 32], name: &RepositoryName) -> Result<bool> {
        let now = self.now();
        self.read("has_push_grant", |connection| {
            match repositories::find(connection, name)? {
                Some(repository) => is_live(connection, token_hash, repository.id, now, &self.lifetimes),
                None => Ok(false),
            }
        })
        .await
    }

    /// Forgets up to `limit` grants that by `now` were not used for too long, and tells how many. One that is too old is used by a
    /// valid token only, and goes when that ends.
    pub(crate) async fn forget_expired_grants(&self, now: i64, limit: u32) -> Result<u32> {
        self.write("forget_expired_grants", move |tx| {
            let removed = tx
                .prepare_cached(FORGET)?
                .execute(params![now - tx.lifetimes.grant_idle, limit])?;
            Ok(u32::try_from(removed).unwrap_or(u32::MAX))
        })
        .await
    }
}
