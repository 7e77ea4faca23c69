//! Custom roles. The built-in ones are in the program.

use rusqlite::{OptionalExtension as _, Row, params};

use super::{Result, Snapshot, Tx, below, names, rows};
use crate::domain::{
    CapabilitySet,
    role::{CustomRole, built_in},
};

pub(super) const BY_NAME: &str =
    "SELECT name, group_path, description, capabilities FROM roles WHERE name = ?1";
pub(super) const WITHIN: &str = "SELECT name, group_path, description, capabilities FROM roles
     WHERE name >= ?1 AND name < ?2 AND name > ?3 ORDER BY name LIMIT ?4";

fn read(row: &Row<'_>) -> rusqlite::Result<CustomRole> {
    Ok(CustomRole {
        name: row.get(0)?,
        group: names::prefix(row, 1)?,
        description: row.get(2)?,
        capabilities: names::json(row, 3)?,
    })
}

impl Snapshot<'_> {
    /// A custom role by its full name.
    pub(crate) fn custom_role(&self, name: &str) -> Result<Option<CustomRole>> {
        Ok(self.prepare_cached(BY_NAME)?.query_row([name], read).optional()?)
    }

    /// What a role gives, built-in or not. A role that is gone gives nothing.
    pub(crate) fn capabilities(&self, role: &str) -> Result<CapabilitySet> {
        if let Some(role) = built_in(role) {
            return Ok(role.capabilities);
        }
        Ok(self
            .custom_role(role)?
            .map_or(CapabilitySet::EMPTY, |role| role.capabilities))
    }

    /// Custom roles of a group and those below it, ordered by name.
    pub(crate) fn roles_within(&self, group: &str, after: &str, limit: usize) -> Result<Vec<CustomRole>> {
        // A role's name begins with its group's path and a slash; in the root group it has none.
        let (first, end) = below(group);
        let begin = first.as_str().max(after);
        let mut select = self.prepare_cached(WITHIN)?;
        let found = select.query_map(params![begin, end, after, rows(limit)], read)?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    /// Whether any identity has a role.
    pub(crate) fn is_bound(&self, role: &str) -> Result<bool> {
        Ok(self
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM bindings WHERE role = ?1)")?
            .query_row([role], |row| row.get(0))?)
    }
}

impl Tx<'_> {
    pub(crate) fn insert_role(&self, role: &CustomRole, created_by: &str) -> Result<()> {
        self.prepare_cached(
            "INSERT INTO roles (name, group_path, description, capabilities, created_at, created_by)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            role.name,
            role.group.as_str(),
            role.description,
            to_json(role.capabilities)?,
            self.now,
            created_by
        ])?;
        Ok(())
    }

    pub(crate) fn update_role(
        &self,
        name: &str,
        description: &str,
        capabilities: CapabilitySet,
    ) -> Result<()> {
        self.prepare_cached("UPDATE roles SET description = ?2, capabilities = ?3 WHERE name = ?1")?
            .execute(params![name, description, to_json(capabilities)?])?;
        Ok(())
    }

    pub(crate) fn delete_role(&self, name: &str) -> Result<()> {
        self.prepare_cached("DELETE FROM roles WHERE name = ?1")?
            .execute([name])?;
        Ok(())
    }

    pub(crate) fn delete_roles_of(&self, group: &str) -> Result<()> {
        self.prepare_cached("DELETE FROM roles WHERE group_path = ?1")?
            .execute([group])?;
        Ok(())
    }
}

fn to_json(capabilities: CapabilitySet) -> Result<String> {
    Ok(serde_json::to_string(&capabilities)?)
}
