//! Groups, with the tombstones of those that were deleted.

use roadstead_types::RepositoryPrefix;
use rusqlite::{OptionalExtension as _, Row, params};

use super::{Result, Snapshot, Tx, below, names, rows};

/// A group, or its tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupRow {
    pub(crate) path: RepositoryPrefix,
    pub(crate) display_name: String,
    pub(crate) created_at: i64,
    pub(crate) created_by: String,
    pub(crate) deleted: bool,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT path, display_name, created_at, created_by, deleted_at IS NOT NULL FROM groups ",
            $rest
        )
    };
}

pub(super) const BY_PATH: &str = select!("WHERE path = ?1");
pub(super) const WITHIN: &str = concat!(
    select!("WHERE path = ?1 AND path > ?2 AND deleted_at IS NULL UNION ALL SELECT * FROM ("),
    select!(
        "WHERE path >= ?3 AND path < ?4 AND path > ?2 AND path <> ?1 AND deleted_at IS NULL
         ORDER BY path LIMIT ?5)"
    )
);

fn read(row: &Row<'_>) -> rusqlite::Result<GroupRow> {
    Ok(GroupRow {
        path: names::prefix(row, 0)?,
        display_name: row.get(1)?,
        created_at: row.get(2)?,
        created_by: row.get(3)?,
        deleted: row.get(4)?,
    })
}

impl Snapshot<'_> {
    /// A group by its path; a tombstone too.
    pub(crate) fn group(&self, path: &str) -> Result<Option<GroupRow>> {
        Ok(self.prepare_cached(BY_PATH)?.query_row([path], read).optional()?)
    }

    /// Groups that are there: `path` itself when `after` does not pass it, and those below, ordered by path.
    pub(crate) fn groups_within(&self, path: &str, after: &str, limit: usize) -> Result<Vec<GroupRow>> {
        let (first, end) = below(path);
        let begin = first.as_str().max(after);
        let mut select = self.prepare_cached(WITHIN)?;
        let found = select.query_map(params![path, after, begin, end, rows(limit)], read)?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    /// Whether any group is below a path.
    pub(crate) fn has_groups_below(&self, path: &str) -> Result<bool> {
        let (first, end) = below(path);
        Ok(self
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM groups WHERE path >= ?1 AND path < ?2 AND deleted_at IS NULL)",
            )?
            .query_row(params![first, end], |row| row.get(0))?)
    }
}

impl Tx<'_> {
    /// Makes a group, or takes its tombstone into use again.
    pub(crate) fn put_group(&self, path: &str, display_name: &str, created_by: &str) -> Result<()> {
        self.prepare_cached(
            "INSERT INTO groups (path, display_name, created_at, created_by, deleted_at)
             VALUES (?1, ?2, ?3, ?4, NULL)
             ON CONFLICT (path) DO UPDATE SET display_name = excluded.display_name,
                 created_at = excluded.created_at, created_by = excluded.created_by, deleted_at = NULL",
        )?
        .execute(params![path, display_name, self.now, created_by])?;
        Ok(())
    }

    pub(crate) fn rename_group(&self, path: &str, display_name: &str) -> Result<()> {
        self.prepare_cached("UPDATE groups SET display_name = ?2 WHERE path = ?1")?
            .execute(params![path, display_name])?;
        Ok(())
    }

    /// Leaves a tombstone in a group's place. What is in it must be gone.
    pub(crate) fn bury_group(&self, path: &str) -> Result<()> {
        self.prepare_cached("UPDATE groups SET deleted_at = ?2 WHERE path = ?1")?
            .execute(params![path, self.now])?;
        Ok(())
    }
}
