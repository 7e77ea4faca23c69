//! The revision of the permissions.

use std::{cell::Cell, sync::Arc};

use rusqlite::params;
use tokio::sync::watch;

use super::{Result, Snapshot, Tx};

/// What a transaction does to the revision: it is raised at most once.
#[derive(Debug)]
pub(super) struct Change<'a> {
    raised_to: Cell<Option<u64>>,
    tell: &'a Arc<watch::Sender<u64>>,
}

impl<'a> Change<'a> {
    pub(super) fn new(tell: &'a Arc<watch::Sender<u64>>) -> Self {
        Self {
            raised_to: Cell::new(None),
            tell,
        }
    }
}

impl Snapshot<'_> {
    /// The revision of the permissions that this snapshot shows.
    pub(crate) fn revision(&self) -> Result<u64> {
        let revision = self
            .prepare_cached("SELECT revision FROM permissions WHERE only_row = 1")?
            .query_row([], |row| row.get::<_, i64>(0))?;
        Ok(revision.unsigned_abs())
    }

    /// Whether the grants of the configuration have become identities and bindings.
    pub(crate) fn grants_imported(&self) -> Result<bool> {
        Ok(self
            .prepare_cached("SELECT grants_imported_at IS NOT NULL FROM permissions WHERE only_row = 1")?
            .query_row([], |row| row.get(0))?)
    }
}

impl Tx<'_> {
    /// Adds one to the revision, once in a transaction, and gives it. Whoever listens to
    /// [`revisions`](super::Store::revisions) is told when it is durable.
    pub(crate) fn change(&self) -> Result<u64> {
        if let Some(revision) = self.permissions.raised_to.get() {
            return Ok(revision);
        }
        let revision = self
            .prepare_cached(
                "UPDATE permissions SET revision = revision + 1 WHERE only_row = 1 RETURNING revision",
            )?
            .query_row([], |row| row.get::<_, i64>(0))?
            .unsigned_abs();
        self.permissions.raised_to.set(Some(revision));
        let tell = self.permissions.tell.clone();
        self.inner.after_commit(move || {
            tell.send_replace(revision);
        });
        Ok(revision)
    }

    /// Records that the grants of the configuration were taken over.
    pub(crate) fn note_grants_imported(&self) -> Result<()> {
        self.prepare_cached("UPDATE permissions SET grants_imported_at = ?1 WHERE only_row = 1")?
            .execute(params![self.now])?;
        Ok(())
    }
}
