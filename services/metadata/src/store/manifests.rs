//! Manifests: one transaction puts a manifest with its edges, its place among the referrers, its tags and its events.

use bytes::Bytes;
use roadstead_types::{Digest, Reference, RepositoryName, Tag};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::repositories::{self, Pushed, Repository};
use super::{Result, Store, Tx, blobs, outbox, referrers, tags};
use crate::config::ManifestValidation;
use crate::domain::author::Author;
use crate::domain::event::{Change, EventKind};
use crate::domain::manifest::{EdgeKind, Manifest};
use crate::error::Error;

/// As many missing digests as an error names; the rest would not fit its headers.
const MAX_NAMED: usize = 16;

/// A manifest as reads give it.
#[derive(Debug)]
pub(crate) struct StoredManifest {
    pub(crate) digest: String,
    pub(crate) media_type: String,
    pub(crate) size: i64,
    /// Empty when it was not asked for.
    pub(crate) content: Vec<u8>,
    pub(crate) repository_id: String,
}

/// A checked manifest about to be put.
#[derive(Debug)]
pub(crate) struct ManifestPut {
    pub(crate) repository: RepositoryName,
    pub(crate) digest: Digest,
    pub(crate) manifest: Manifest,
    pub(crate) content: Bytes,
    pub(crate) tags: Vec<Tag>,
    pub(crate) validation: ManifestValidation,
    pub(crate) author: Author,
}

/// The id and the media type of a manifest.
pub(super) fn find(
    connection: &Connection,
    repository: &Repository,
    digest: &str,
) -> Result<Option<(i64, String)>> {
    let mut statement = connection
        .prepare_cached("SELECT id, media_type FROM manifests WHERE repository_id = ?1 AND digest = ?2")?;
    let row = statement
        .query_row(params![repository.id, digest], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    Ok(row)
}

fn put(tx: &Tx<'_>, put: &ManifestPut) -> Result<Pushed<()>> {
    let repository = repositories::for_push(tx, &put.author, &put.repository)?;
    if put.validation == ManifestValidation::Strict {
        require_references(tx, &repository, &put.manifest)?;
    }
    let id = upsert(tx, &repository, put)?;
    let digest = put.digest.as_str();
    let change = Change {
        digest: Some(digest),
        media_type: Some(&put.manifest.media_type),
        ..Change::default()
    };
    if put.tags.is_empty() {
        outbox::announce(tx, EventKind::Push, &repository, change, &put.author)?;
    }
    for tag in &put.tags {
        let moved = tags::point(tx, &repository, tag, (id, digest), &put.author)?;
        let change = Change {
            tag: Some(tag.as_str()),
            previous_digest: moved.previous_digest.as_deref(),
            tag_version: Some(moved.version),
            ..change
        };
        outbox::announce(tx, EventKind::Push, &repository, change, &put.author)?;
    }
    Ok(repository.pushed(()))
}

/// Demands that the repository holds what the manifest names: existence elsewhere counts for nothing, else a manifest
/// could open another repository's content.
fn require_references(tx: &Tx<'_>, repository: &Repository, manifest: &Manifest) -> Result<()> {
    let mut missing = Vec::new();
    for edge in &manifest.edges {
        let digest = edge.digest.as_str();
        let held = match edge.kind {
            EdgeKind::Foreign => true,
            EdgeKind::Config | EdgeKind::Layer => blobs::is_linked(tx, repository.id, digest)?,
            EdgeKind::Child => {
                find(tx, repository, digest)?.is_some() || blobs::is_linked(tx, repository.id, digest)?
            }
        };
        if !held && missing.len() < MAX_NAMED {
            missing.push(digest.to_owned());
        }
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(Error::ManifestBlobUnknown { missing })
    }
}

/// Stores the manifest unless it is there. Bytes without a mediaType of their own may be pushed again as another type:
/// then the newest type counts, and what was derived from the old one is derived again.
fn upsert(tx: &Tx<'_>, repository: &Repository, put: &ManifestPut) -> Result<i64> {
    let digest = put.digest.as_str();
    let media_type = &put.manifest.media_type;
    let id = match find(tx, repository, digest)? {
        Some((id, stored_type)) if stored_type == *media_type => return Ok(id),
        Some((id, _)) => {
            tx.prepare_cached("UPDATE manifests SET media_type = ?2 WHERE id = ?1")?
                .execute(params![id, media_type])?;
            blobs::review_children(tx, repository, id)?;
            tx.prepare_cached("DELETE FROM manifest_edges WHERE parent_id = ?1")?
                .execute([id])?;
            tx.prepare_cached("DELETE FROM referrers WHERE manifest_id = ?1")?
                .execute([id])?;
            id
        }
        None => {
            let size = i64::try_from(put.content.len()).unwrap_or(i64::MAX);
            tx.prepare_cached(
                "INSERT INTO manifests (repository_id, digest, media_type, size, created_at, content)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                repository.id,
                digest,
                media_type,
                size,
                tx.now,
                &put.content[..]
            ])?;
            tx.last_insert_rowid()
        }
    };
    let mut statement = tx.prepare_cached(
        "INSERT INTO manifest_edges (parent_id, child_digest, kind, repository_id) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for edge in &put.manifest.edges {
        statement.execute(params![
            id,
            edge.digest.as_str(),
            edge.kind.as_str(),
            repository.id
        ])?;
    }
    if let Some(subject) = &put.manifest.subject {
        let descriptor = put.manifest.referrer_descriptor(&put.digest, put.content.len());
        let row = referrers::Row {
            subject: subject.as_str(),
            digest,
            artifact_type: put.manifest.artifact_type.as_deref(),
            descriptor: &descriptor,
        };
        referrers::insert(tx, repository, id, &row)?;
    }
    Ok(id)
}

/// Not in order of digests: a base layer has so many parents that only some may be looked at.
pub(super) const PARENTS: &str =
    "SELECT DISTINCT m.digest FROM manifest_edges e JOIN manifests m ON m.id = e.parent_id
         WHERE e.repository_id = ?1 AND e.child_digest = ?2 AND e.kind <> 'foreign' LIMIT ?3";

/// The digests of live manifests of the repository that need this content, as many as an error can name.
pub(super) fn parents_of(tx: &Tx<'_>, repository: &Repository, digest: &str) -> Result<Vec<String>> {
    let mut statement = tx.prepare_cached(PARENTS)?;
    let limit = i64::try_from(MAX_NAMED).unwrap_or(i64::MAX);
    let mut parents = statement
        .query_map(params![repository.id, digest, limit], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    parents.sort();
    Ok(parents)
}

/// Point reads: without the content, a head touches no overflow page.
pub(super) mod sql {
    pub(in crate::store) const HEAD_BY_TAG: &str = "SELECT r.public_id, m.digest, m.media_type, m.size, x''
        FROM repositories r LEFT JOIN tags t ON t.repository_id = r.id AND t.name = ?2
        LEFT JOIN manifests m ON m.id = t.manifest_id WHERE r.name = ?1";
    pub(in crate::store) const GET_BY_TAG: &str =
        "SELECT r.public_id, m.digest, m.media_type, m.size, m.content
        FROM repositories r LEFT JOIN tags t ON t.repository_id = r.id AND t.name = ?2
        LEFT JOIN manifests m ON m.id = t.manifest_id WHERE r.name = ?1";
    pub(in crate::store) const HEAD_BY_DIGEST: &str = "SELECT r.public_id, m.digest, m.media_type, m.size, x''
        FROM repositories r LEFT JOIN manifests m ON m.repository_id = r.id AND m.digest = ?2 WHERE r.name = ?1";
    pub(in crate::store) const GET_BY_DIGEST: &str = "SELECT r.public_id, m.digest, m.media_type, m.size, m.content
        FROM repositories r LEFT JOIN manifests m ON m.repository_id = r.id AND m.digest = ?2 WHERE r.name = ?1";
}

fn stored(row: &Row<'_>) -> rusqlite::Result<Option<StoredManifest>> {
    let Some(digest) = row.get(1)? else {
        return Ok(None);
    };
    Ok(Some(StoredManifest {
        repository_id: row.get(0)?,
        digest,
        media_type: row.get(2)?,
        size: row.get(3)?,
        content: row.get(4)?,
    }))
}

impl Store {
    /// Gives a manifest, with its content or without.
    pub(crate) async fn manifest(
        &self,
        name: &RepositoryName,
        reference: &Reference,
        with_content: bool,
    ) -> Result<StoredManifest> {
        let statement = match (reference, with_content) {
            (Reference::Tag(_), false) => sql::HEAD_BY_TAG,
            (Reference::Tag(_), true) => sql::GET_BY_TAG,
            (Reference::Digest(_), false) => sql::HEAD_BY_DIGEST,
            (Reference::Digest(_), true) => sql::GET_BY_DIGEST,
        };
        self.read("manifest", |connection| {
            let mut statement = connection.prepare_cached(statement)?;
            let row = statement
                .query_row(params![name.as_str(), reference.as_str()], stored)
                .optional()?;
            row.ok_or(Error::RepositoryUnknown)?.ok_or(Error::ManifestUnknown)
        })
        .await
    }

    /// Puts a manifest and points its tags at it. Idempotent: what is so already stays, though another operation is
    /// announced again.
    pub(crate) async fn put_manifest(&self, request: ManifestPut) -> Result<Pushed<()>> {
        self.write("put_manifest", move |tx| put(tx, &request)).await
    }
}
