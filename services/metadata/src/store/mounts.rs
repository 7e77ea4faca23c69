//! Links a blob from one repository into another.

use roadstead_types::{Digest, RepositoryName};
use rusqlite::params;

use super::repositories::{self, Pushed};
use super::{Result, Store, blobs, outbox};
use crate::domain::author::Author;
use crate::domain::event::{Change, EventKind};

/// Repositories that a search looks at. A base layer may be in very many of which the caller reads none; giving up costs
/// an upload, no more.
const MAX_SOURCES: i64 = 10_000;

pub(super) const SOURCES: &str =
    "SELECT r.name FROM blob_links l JOIN repositories r ON r.id = l.repository_id
     WHERE l.blob_id = ?1 ORDER BY l.repository_id LIMIT ?2";

impl Store {
    /// Finds a repository that holds the blob and that `may_read` admits.
    pub(crate) async fn find_blob_source<F>(
        &self,
        digest: Digest,
        may_read: F,
    ) -> Result<Option<RepositoryName>>
    where
        F: Fn(&RepositoryName) -> bool + Send + 'static,
    {
        self.scan("find_blob_source", move |connection| {
            let Some(blob_id) = blobs::live(connection, digest.as_str())? else {
                return Ok(None);
            };
            let mut statement = connection.prepare_cached(SOURCES)?;
            let mut rows = statement.query(params![blob_id, MAX_SOURCES])?;
            while let Some(row) = rows.next()? {
                let name: String = row.get(0)?;
                if let Ok(name) = RepositoryName::parse(&name)
                    && may_read(&name)
                {
                    return Ok(Some(name));
                }
            }
            Ok(None)
        })
        .await
    }

    /// Links the blob into `target` if `source` holds it now; tells whether it did.
    pub(crate) async fn mount_blob(
        &self,
        source: RepositoryName,
        target: RepositoryName,
        digest: Digest,
        author: Author,
    ) -> Result<Pushed<bool>> {
        self.write("mount_blob", move |tx| {
            const NOTHING: Pushed<bool> = Pushed {
                value: false,
                made_repository: false,
            };
            let Some(source) = repositories::find(tx, &source)? else {
                return Ok(NOTHING);
            };
            if !blobs::is_linked(tx, source.id, digest.as_str())? {
                return Ok(NOTHING);
            }
            let Some(blob_id) = blobs::live(tx, digest.as_str())? else {
                return Ok(NOTHING);
            };
            let target = repositories::for_push(tx, &author, &target)?;
            blobs::link(tx, &target, blob_id)?;
            let change = Change {
                digest: Some(digest.as_str()),
                ..Change::default()
            };
            outbox::announce(tx, EventKind::Push, &target, change, &author)?;
            Ok(target.pushed(true))
        })
        .await
    }
}
