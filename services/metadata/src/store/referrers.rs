//! Manifests by the subject that they refer to.

use roadstead_types::{Digest, RepositoryName};
use rusqlite::params;

use super::repositories::{self, Repository};
use super::{Result, Store, Tx};

/// A manifest with a subject.
pub(super) struct Row<'a> {
    pub(super) subject: &'a str,
    pub(super) digest: &'a str,
    pub(super) artifact_type: Option<&'a str>,
    pub(super) descriptor: &'a [u8],
}

/// A part of the list of referrers.
#[derive(Debug, Default)]
pub(crate) struct ReferrerPage {
    /// JSON objects.
    pub(crate) descriptors: Vec<Vec<u8>>,
    /// The digest of the last one, when there are more.
    pub(crate) next: Option<String>,
}

pub(super) const PAGE: &str = "SELECT digest, descriptor FROM referrers
     WHERE repository_id = ?1 AND subject_digest = ?2 AND digest > ?3 AND ?4 IS NULL ORDER BY digest";

pub(super) const PAGE_OF_TYPE: &str = "SELECT digest, descriptor FROM referrers
     WHERE repository_id = ?1 AND subject_digest = ?2 AND digest > ?3 AND artifact_type = ?4 ORDER BY digest";

pub(super) fn insert(tx: &Tx<'_>, repository: &Repository, manifest_id: i64, row: &Row<'_>) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO referrers (manifest_id, repository_id, subject_digest, digest, artifact_type, descriptor)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![manifest_id, repository.id, row.subject, row.digest, row.artifact_type, row.descriptor])?;
    Ok(())
}

impl Store {
    /// Lists referrers after the digest `last`, as many as fit `limit` and `max_bytes`, but one at least, so that a
    /// single descriptor larger than the bound cannot stop the list. None for a repository that does not exist.
    pub(crate) async fn list_referrers(
        &self,
        name: RepositoryName,
        subject: Digest,
        artifact_type: Option<String>,
        last: String,
        (limit, max_bytes): (usize, usize),
    ) -> Result<ReferrerPage> {
        self.scan("list_referrers", move |connection| {
            let Some(repository) = repositories::find(connection, &name)? else {
                return Ok(ReferrerPage::default());
            };
            let mut statement = connection.prepare_cached(match artifact_type {
                None => PAGE,
                Some(_) => PAGE_OF_TYPE,
            })?;
            let mut rows = statement.query(params![repository.id, subject.as_str(), last, artifact_type])?;
            let mut page = ReferrerPage::default();
            let (mut bytes, mut last) = (0, last);
            while let Some(row) = rows.next()? {
                let descriptor: Vec<u8> = row.get(1)?;
                let full = page.descriptors.len() == limit || bytes + descriptor.len() > max_bytes;
                if full && !page.descriptors.is_empty() {
                    page.next = Some(last);
                    break;
                }
                // The comma between descriptors counts, too.
                bytes += descriptor.len() + 1;
                last = row.get(0)?;
                page.descriptors.push(descriptor);
            }
            Ok(page)
        })
        .await
    }
}
