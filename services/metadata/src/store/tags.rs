//! Tags and their history.

use roadstead_types::{RepositoryName, Tag};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::repositories::{self, Repository};
use super::{Result, Store, Tx};
use crate::domain::author::Author;
use crate::error::Error;

/// One change of a tag.
#[derive(Debug)]
pub(crate) struct TagChange {
    pub(crate) version: i64,
    /// `None` when the tag was deleted.
    pub(crate) digest: Option<String>,
    pub(crate) previous_digest: Option<String>,
    /// Unix milliseconds.
    pub(crate) changed_at: i64,
    pub(crate) actor_issuer: String,
    pub(crate) actor_subject: String,
    pub(crate) request_id: String,
}

/// Where a tag points, and how often it changed.
pub(super) struct Pointer {
    pub(super) digest: String,
    pub(super) version: i64,
}

/// How a push moved a tag.
pub(super) struct Moved {
    pub(super) previous_digest: Option<String>,
    pub(super) version: i64,
}

pub(super) const PAGE: &str =
    "SELECT name FROM tags WHERE repository_id = ?1 AND name > ?2 ORDER BY name LIMIT ?3";

pub(super) const HISTORY: &str =
    "SELECT version, digest, previous_digest, changed_at, actor_issuer, actor_subject, request_id
     FROM tag_history WHERE repository_id = ?1 AND tag = ?2 AND version < ?3 ORDER BY version DESC LIMIT ?4";

pub(super) const NEXT_VERSION: &str =
    "SELECT coalesce(max(version), 0) + 1 FROM tag_history WHERE repository_id = ?1 AND tag = ?2";

pub(super) const OF_MANIFEST: &str =
    "SELECT name FROM tags WHERE manifest_id = ?1 ORDER BY repository_id, name";

pub(super) fn find(connection: &Connection, repository: &Repository, tag: &str) -> Result<Option<Pointer>> {
    let mut statement = connection.prepare_cached(
        "SELECT m.digest, t.version FROM tags t JOIN manifests m ON m.id = t.manifest_id
         WHERE t.repository_id = ?1 AND t.name = ?2",
    )?;
    let pointer = statement
        .query_row(params![repository.id, tag], |row| {
            Ok(Pointer {
                digest: row.get(0)?,
                version: row.get(1)?,
            })
        })
        .optional()?;
    Ok(pointer)
}

/// Points a tag at a manifest. Where it points there already, nothing changes and nothing enters the history.
pub(super) fn point(
    tx: &Tx<'_>,
    repository: &Repository,
    tag: &Tag,
    (manifest_id, digest): (i64, &str),
    author: &Author,
) -> Result<Moved> {
    let current = find(tx, repository, tag.as_str())?;
    if let Some(pointer) = current.as_ref().filter(|pointer| pointer.digest == digest) {
        return Ok(Moved {
            previous_digest: Some(digest.to_owned()),
            version: pointer.version,
        });
    }
    let previous_digest = current.map(|pointer| pointer.digest);
    let version = record(
        tx,
        repository,
        tag.as_str(),
        (Some(digest), previous_digest.as_deref()),
        author,
    )?;
    tx.prepare_cached(
        "INSERT INTO tags (repository_id, name, manifest_id, version, changed_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (repository_id, name) DO UPDATE SET manifest_id = excluded.manifest_id,
             version = excluded.version, changed_at = excluded.changed_at",
    )?
    .execute(params![repository.id, tag.as_str(), manifest_id, version, tx.now])?;
    Ok(Moved {
        previous_digest,
        version,
    })
}

/// Removes a tag that points at `digest`; gives the version of that change.
pub(super) fn remove(
    tx: &Tx<'_>,
    repository: &Repository,
    tag: &str,
    digest: &str,
    author: &Author,
) -> Result<i64> {
    let version = record(tx, repository, tag, (None, Some(digest)), author)?;
    tx.prepare_cached("DELETE FROM tags WHERE repository_id = ?1 AND name = ?2")?
        .execute(params![repository.id, tag])?;
    Ok(version)
}

/// The names of the tags that point at a manifest.
pub(super) fn of_manifest(tx: &Tx<'_>, manifest_id: i64) -> Result<Vec<String>> {
    let mut statement = tx.prepare_cached(OF_MANIFEST)?;
    let names = statement
        .query_map([manifest_id], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(names)
}

/// Writes a line of history under the next version. Versions go on where they stopped when a deleted tag returns, since
/// consumers order events by them.
fn record(
    tx: &Tx<'_>,
    repository: &Repository,
    tag: &str,
    (digest, previous_digest): (Option<&str>, Option<&str>),
    author: &Author,
) -> Result<i64> {
    let version: i64 = tx
        .prepare_cached(NEXT_VERSION)?
        .query_row(params![repository.id, tag], |row| row.get(0))?;
    tx.prepare_cached(
        "INSERT INTO tag_history (repository_id, tag, version, digest, previous_digest, changed_at,
             actor_issuer, actor_subject, request_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        repository.id,
        tag,
        version,
        digest,
        previous_digest,
        tx.now,
        author.principal.issuer,
        author.principal.subject,
        author.request.request_id
    ])?;
    Ok(version)
}

impl Store {
    /// Lists up to `limit` tags after `last` in byte order, and whether there are more.
    pub(crate) async fn list_tags(
        &self,
        name: RepositoryName,
        last: String,
        limit: usize,
    ) -> Result<(Vec<String>, bool)> {
        self.scan("list_tags", move |connection| {
            let repository = repositories::find(connection, &name)?.ok_or(Error::RepositoryUnknown)?;
            let mut statement = connection.prepare_cached(PAGE)?;
            let rows = i64::try_from(limit + 1).unwrap_or(i64::MAX);
            let mut tags = statement
                .query_map(params![repository.id, last, rows], |row| row.get(0))?
                .collect::<rusqlite::Result<Vec<String>>>()?;
            let has_more = tags.len() > limit;
            tags.truncate(limit);
            Ok((tags, has_more))
        })
        .await
    }

    /// Lists up to `limit` changes of a tag older than version `before`, newest first. Unknown ones have none.
    pub(crate) async fn tag_history(
        &self,
        name: RepositoryName,
        tag: Tag,
        before: i64,
        limit: usize,
    ) -> Result<Vec<TagChange>> {
        self.scan("tag_history", move |connection| {
            let Some(repository) = repositories::find(connection, &name)? else {
                return Ok(Vec::new());
            };
            let mut statement = connection.prepare_cached(HISTORY)?;
            let rows = i64::try_from(limit).unwrap_or(i64::MAX);
            let changes = statement
                .query_map(params![repository.id, tag.as_str(), before, rows], |row| {
                    Ok(TagChange {
                        version: row.get(0)?,
                        digest: row.get(1)?,
                        previous_digest: row.get(2)?,
                        changed_at: row.get(3)?,
                        actor_issuer: row.get(4)?,
                        actor_subject: row.get(5)?,
                        request_id: row.get(6)?,
                    })
                })?
                .collect::<rusqlite::Result<_>>()?;
            Ok(changes)
        })
        .await
    }
}
