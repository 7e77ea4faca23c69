//! Deletions of tags, manifests and links, each with its history and its events.

use roadstead_types::{Digest, RepositoryName, Tag};

use super::repositories::Repository;
use super::{Result, Store, Tx, blobs, manifests, outbox, repositories, tags};
use crate::config::ManifestValidation;
use crate::domain::author::Author;
use crate::domain::event::{Change, EventKind};
use crate::error::Error;

fn remove_tag(
    tx: &Tx<'_>,
    repository: &Repository,
    (tag, digest, media_type): (&str, &str, Option<&str>),
    author: &Author,
) -> Result<()> {
    let version = tags::remove(tx, repository, tag, digest, author)?;
    let change = Change {
        tag: Some(tag),
        previous_digest: Some(digest),
        media_type,
        tag_version: Some(version),
        ..Change::default()
    };
    outbox::announce(tx, EventKind::Delete, repository, change, author)
}

/// Where validation is strict, content stays while a manifest of the repository needs it.
fn refuse_referenced(
    tx: &Tx<'_>,
    repository: &Repository,
    digest: &Digest,
    validation: ManifestValidation,
) -> Result<()> {
    if validation == ManifestValidation::Lenient {
        return Ok(());
    }
    let parents = manifests::parents_of(tx, repository, digest.as_str())?;
    if parents.is_empty() {
        Ok(())
    } else {
        Err(Error::ContentReferenced { parents })
    }
}

impl Store {
    /// Removes a tag and nothing else.
    pub(crate) async fn delete_tag(&self, name: RepositoryName, tag: Tag, author: Author) -> Result<()> {
        self.write("delete_tag", move |tx| {
            let repository = repositories::find(tx, &name)?.ok_or(Error::ManifestUnknown)?;
            let pointer = tags::find(tx, &repository, tag.as_str())?.ok_or(Error::ManifestUnknown)?;
            remove_tag(tx, &repository, (tag.as_str(), &pointer.digest, None), &author)
        })
        .await
    }

    /// Removes a manifest and every tag that points at it. Its referrers stay.
    pub(crate) async fn delete_manifest(
        &self,
        name: RepositoryName,
        digest: Digest,
        validation: ManifestValidation,
        author: Author,
    ) -> Result<()> {
        self.write("delete_manifest", move |tx| {
            let repository = repositories::find(tx, &name)?.ok_or(Error::ManifestUnknown)?;
            let (id, media_type) =
                manifests::find(tx, &repository, digest.as_str())?.ok_or(Error::ManifestUnknown)?;
            refuse_referenced(tx, &repository, &digest, validation)?;
            for tag in tags::of_manifest(tx, id)? {
                remove_tag(
                    tx,
                    &repository,
                    (&tag, digest.as_str(), Some(&media_type)),
                    &author,
                )?;
            }
            blobs::review_children(tx, &repository, id)?;
            // Edges and the place among the referrers go with it.
            tx.prepare_cached("DELETE FROM manifests WHERE id = ?1")?
                .execute([id])?;
            let change = Change {
                digest: Some(digest.as_str()),
                media_type: Some(&media_type),
                ..Change::default()
            };
            outbox::announce(tx, EventKind::Delete, &repository, change, &author)
        })
        .await
    }

    /// Takes a blob from a repository.
    pub(crate) async fn unlink_blob(
        &self,
        name: RepositoryName,
        digest: Digest,
        validation: ManifestValidation,
        author: Author,
    ) -> Result<()> {
        self.write("unlink_blob", move |tx| {
            let repository = repositories::find(tx, &name)?.ok_or(Error::BlobUnknown)?;
            // Before the check, so that what is not held is unknown even where a manifest names it; a refusal rolls it
            // back.
            if !blobs::unlink(tx, &repository, digest.as_str())? {
                return Err(Error::BlobUnknown);
            }
            refuse_referenced(tx, &repository, &digest, validation)?;
            let change = Change {
                digest: Some(digest.as_str()),
                ..Change::default()
            };
            outbox::announce(tx, EventKind::Delete, &repository, change, &author)
        })
        .await
    }
}
