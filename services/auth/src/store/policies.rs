//! Where only workloads may push.

use rusqlite::{Row, params};

use super::{Result, Snapshot, Span, Tx, names, rows};
use crate::domain::Resource;

/// A mark, and who made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PolicyRow {
    pub(crate) resource: Resource,
    pub(crate) set_at: i64,
    pub(crate) set_by: String,
}

pub(super) const AT: &str = "SELECT resource_kind, path, set_at, set_by FROM push_policies WHERE path = ?1";
pub(super) const WITHIN: &str = concat!(
    "SELECT resource_kind, path, set_at, set_by FROM push_policies WHERE ",
    in_span!(),
    " AND (path, resource_kind) > (?6, ?7) ORDER BY path, resource_kind LIMIT ?8"
);

fn read(row: &Row<'_>) -> rusqlite::Result<PolicyRow> {
    Ok(PolicyRow {
        resource: names::resource(row, 0)?,
        set_at: row.get(2)?,
        set_by: row.get(3)?,
    })
}

impl Snapshot<'_> {
    /// The marks at a path: of a group, of a repository, or of both.
    pub(crate) fn policies_at(&self, path: &str) -> Result<Vec<PolicyRow>> {
        let mut select = self.prepare_cached(AT)?;
        let rows = select.query_map([path], read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Marks within a resource, ordered by path and kind, after the given ones.
    pub(crate) fn policies_within(
        &self,
        resource: &Resource,
        after: (&str, &str),
        limit: usize,
    ) -> Result<Vec<PolicyRow>> {
        let Span {
            begin,
            own,
            first,
            end,
            alone,
        } = Span::within(resource, after.0);
        let mut select = self.prepare_cached(WITHIN)?;
        let parameters = params![begin, own, first, end, alone, after.0, after.1, rows(limit)];
        let found = select.query_map(parameters, read)?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }
}

impl Tx<'_> {
    /// Marks a resource; false when it is marked already.
    pub(crate) fn set_policy(&self, resource: &Resource, set_by: &str) -> Result<bool> {
        let inserted = self
            .prepare_cached(
                "INSERT INTO push_policies (resource_kind, path, policy, set_at, set_by)
                 VALUES (?1, ?2, 'workload-only', ?3, ?4) ON CONFLICT DO NOTHING",
            )?
            .execute(params![resource.kind(), resource.path(), self.now, set_by])?;
        Ok(inserted > 0)
    }

    /// Lifts a mark; false when there is none.
    pub(crate) fn lift_policy(&self, resource: &Resource) -> Result<bool> {
        let deleted = self
            .prepare_cached("DELETE FROM push_policies WHERE resource_kind = ?1 AND path = ?2")?
            .execute(params![resource.kind(), resource.path()])?;
        Ok(deleted > 0)
    }
}
