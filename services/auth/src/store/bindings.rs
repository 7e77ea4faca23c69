//! Bindings: which identity has which role where.

use rusqlite::{OptionalExtension as _, Row, Rows, params};

use super::{Result, Snapshot, Span, Tx, below, names, rows};
use crate::domain::{Binding, CapabilitySet, Condition, Resource};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, identity_id, role, resource_kind, path, conditions, created_at, created_by FROM bindings ",
            $rest
        )
    };
}

const BY_ID: &str = select!("WHERE id = ?1");
pub(super) const AT: &str = select!("WHERE identity_id = ?1 AND path = ?2");
pub(super) const HERE: &str = select!("WHERE path = ?1 ORDER BY path, id LIMIT ?2");
pub(super) const OF: &str = select!("WHERE identity_id = ?1 ORDER BY path LIMIT ?2");
/// Another statement for each of the two, so that each finds its index.
pub(super) const WITHIN: &str = concat!(
    select!("WHERE "),
    in_span!(),
    " AND (path, id) > (?6, ?7) ORDER BY path, id LIMIT ?8"
);
pub(super) const WITHIN_OF: &str = concat!(
    select!("WHERE "),
    in_span!(),
    " AND (path, id) > (?6, ?7) AND identity_id = ?9 ORDER BY path, id LIMIT ?8"
);
pub(super) const CONDITIONS_OF: &str =
    "SELECT DISTINCT conditions FROM bindings WHERE identity_id = ?1 AND conditions <> '[]' LIMIT 64";

/// What the role gives is looked up afterwards.
fn read(row: &Row<'_>) -> rusqlite::Result<Binding> {
    Ok(Binding {
        id: row.get(0)?,
        identity: row.get(1)?,
        role: row.get(2)?,
        capabilities: CapabilitySet::EMPTY,
        resource: names::resource(row, 3)?,
        conditions: names::json(row, 5)?,
        created_at: row.get(6)?,
        created_by: row.get(7)?,
    })
}

impl Snapshot<'_> {
    pub(crate) fn binding(&self, id: &str) -> Result<Option<Binding>> {
        let found = self.prepare_cached(BY_ID)?.query_row([id], read).optional()?;
        found.map(|binding| self.resolve(binding)).transpose()
    }

    /// Adds an identity's bindings at exactly this path: of the group, and of the repository.
    pub(crate) fn bindings_at(&self, identity: &str, path: &str, found: &mut Vec<Binding>) -> Result<()> {
        let mut select = self.prepare_cached(AT)?;
        let mut cursor = select.query([identity, path])?;
        while let Some(row) = cursor.next()? {
            found.push(self.resolve(read(row)?)?);
        }
        Ok(())
    }

    /// Bindings at exactly this path, of whichever identity, at most `limit`.
    pub(crate) fn bindings_here(&self, path: &str, limit: usize) -> Result<Vec<Binding>> {
        let mut select = self.prepare_cached(HERE)?;
        let mut found = Vec::new();
        let mut cursor = select.query(params![path, rows(limit)])?;
        while let Some(row) = cursor.next()? {
            found.push(self.resolve(read(row)?)?);
        }
        Ok(found)
    }

    /// All bindings of an identity, at most `limit`.
    pub(crate) fn bindings_of(&self, identity: &str, limit: usize) -> Result<Vec<Binding>> {
        let mut select = self.prepare_cached(OF)?;
        let mut found = Vec::new();
        let mut cursor = select.query(params![identity, rows(limit)])?;
        while let Some(row) = cursor.next()? {
            found.push(self.resolve(read(row)?)?);
        }
        Ok(found)
    }

    /// The claims that conditions of an identity's bindings look at.
    pub(crate) fn conditions_of(&self, identity: &str) -> Result<Vec<Vec<Condition>>> {
        let mut select = self.prepare_cached(CONDITIONS_OF)?;
        let rows = select.query_map([identity], |row| names::json(row, 0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Bindings within a resource, perhaps of one identity only, ordered by path and id, after the given ones.
    pub(crate) fn bindings_within(
        &self,
        resource: &Resource,
        identity: Option<&str>,
        after: (&str, &str),
        limit: usize,
    ) -> Result<Vec<Binding>> {
        let Span {
            begin,
            own,
            first,
            end,
            alone,
        } = Span::within(resource, after.0);
        let (after_path, after_id) = after;
        let limit = rows(limit);
        let mut found = Vec::new();
        let mut keep = |mut cursor: Rows<'_>| -> Result<()> {
            while let Some(row) = cursor.next()? {
                found.push(self.resolve(read(row)?)?);
            }
            Ok(())
        };
        match identity {
            None => {
                let parameters = params![begin, own, first, end, alone, after_path, after_id, limit];
                keep(self.prepare_cached(WITHIN)?.query(parameters)?)?;
            }
            Some(identity) => {
                let parameters = params![
                    begin, own, first, end, alone, after_path, after_id, limit, identity
                ];
                keep(self.prepare_cached(WITHIN_OF)?.query(parameters)?)?;
            }
        }
        Ok(found)
    }

    fn resolve(&self, mut binding: Binding) -> Result<Binding> {
        binding.capabilities = self.capabilities(&binding.role)?;
        Ok(binding)
    }
}

impl Tx<'_> {
    /// Adds a binding; false when the identity has this role there under these conditions already.
    pub(crate) fn insert_binding(&self, binding: &Binding) -> Result<bool> {
        let inserted = self
            .prepare_cached(
                "INSERT INTO bindings
                     (id, identity_id, role, resource_kind, path, conditions, created_at, created_by)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT (identity_id, path, resource_kind, role, conditions) DO NOTHING",
            )?
            .execute(params![
                binding.id,
                binding.identity,
                binding.role,
                binding.resource.kind(),
                binding.resource.path(),
                serde_json::to_string(&binding.conditions)?,
                binding.created_at,
                binding.created_by
            ])?;
        Ok(inserted > 0)
    }

    pub(crate) fn delete_binding(&self, id: &str) -> Result<()> {
        self.prepare_cached("DELETE FROM bindings WHERE id = ?1")?
            .execute([id])?;
        Ok(())
    }

    /// Takes all roles from an identity.
    pub(crate) fn delete_bindings_of(&self, identity: &str) -> Result<()> {
        self.prepare_cached("DELETE FROM bindings WHERE identity_id = ?1")?
            .execute([identity])?;
        Ok(())
    }

    /// Takes away all roles that are given at a path or below it.
    pub(crate) fn delete_bindings_within(&self, path: &str) -> Result<()> {
        let (first, end) = below(path);
        self.prepare_cached("DELETE FROM bindings WHERE path = ?1 OR path >= ?2 AND path < ?3")?
            .execute(params![path, first, end])?;
        Ok(())
    }
}
