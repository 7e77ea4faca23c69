//! Identities, and finding those that an upstream token is of.

use rusqlite::{OptionalExtension as _, Row, params};

use super::{Result, Snapshot, Tx, below, names, rows};
use crate::domain::{Identity, Rule, Text};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, group_path, name, description, rule, created_at, created_by, expires_at, last_used_at
             FROM identities ",
            $rest
        )
    };
}

pub(super) const BY_ID: &str = select!("WHERE id = ?1");
pub(super) const BY_NAME: &str = select!("WHERE full_name = ?1");
pub(super) const BY_SUBJECT: &str = select!("WHERE issuer = ?1 AND subject = ?2");
pub(super) const OF_ISSUER: &str = select!("WHERE kind = 'claim_match' AND issuer = ?1 AND subject IS NULL");
pub(super) const OF_ISSUERS: &str = select!("WHERE kind = 'claim_match' AND issuer IS NULL");
pub(super) const WITH_KEYS: &str = select!("WHERE issuer = ?1 AND subject = ?2 AND kind = 'static'");
pub(super) const WITHIN: &str = select!(
    "WHERE full_name >= ?1 AND full_name < ?2 AND full_name > ?3 AND (?4 IS NULL OR kind = ?4)
     ORDER BY full_name LIMIT ?5"
);
pub(super) const BY_AUDIENCE: &str = "SELECT rule FROM identities WHERE issuer = ?3 AND audience IN (?1, ?2)";
pub(super) const BY_AUDIENCE_OF_ISSUERS: &str =
    "SELECT rule FROM identities WHERE issuer IS NULL AND audience IN (?1, ?2)";

/// Stands in the column of exact audiences where the rule has a pattern. No token has an empty audience.
const PATTERN: &str = "";

fn read(row: &Row<'_>) -> rusqlite::Result<Identity> {
    Ok(Identity {
        id: row.get(0)?,
        group: names::prefix(row, 1)?,
        name: row.get(2)?,
        description: row.get(3)?,
        rule: names::json(row, 4)?,
        created_at: row.get(5)?,
        created_by: row.get(6)?,
        expires_at: row.get(7)?,
        last_used_at: row.get(8)?,
    })
}

impl Snapshot<'_> {
    pub(crate) fn identity(&self, id: &str) -> Result<Option<Identity>> {
        Ok(self.prepare_cached(BY_ID)?.query_row([id], read).optional()?)
    }

    pub(crate) fn identity_by_name(&self, full_name: &str) -> Result<Option<Identity>> {
        Ok(self
            .prepare_cached(BY_NAME)?
            .query_row([full_name], read)
            .optional()?)
    }

    /// Identities that might be those of an upstream token: by exact issuer and subject, and all that have a pattern
    /// and are of this issuer or of issuers that match one.
    pub(crate) fn candidates(
        &self,
        issuer: &str,
        subject: &str,
        mut each: impl FnMut(Identity) -> Result<bool>,
    ) -> Result<()> {
        let statements: [(&str, &[&str]); 3] = [
            (BY_SUBJECT, &[issuer, subject]),
            (OF_ISSUER, &[issuer]),
            (OF_ISSUERS, &[]),
        ];
        for (statement, parameters) in statements {
            let mut select = self.prepare_cached(statement)?;
            let mut cursor = select.query(rusqlite::params_from_iter(parameters))?;
            while let Some(row) = cursor.next()? {
                if !each(read(row)?)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The identity of registered keys with exactly this issuer and subject.
    pub(crate) fn static_identity(&self, issuer: &str, subject: &str) -> Result<Option<Identity>> {
        Ok(self
            .prepare_cached(WITH_KEYS)?
            .query_row([issuer, subject], read)
            .optional()?)
    }

    /// Rules that name an audience of their own and might be about this issuer.
    pub(crate) fn rules_with_audience(&self, issuer: &str, audience: &str) -> Result<Vec<Rule>> {
        let mut found = Vec::new();
        for (statement, parameters) in [
            (BY_AUDIENCE, vec![audience, PATTERN, issuer]),
            (BY_AUDIENCE_OF_ISSUERS, vec![audience, PATTERN]),
        ] {
            let mut select = self.prepare_cached(statement)?;
            let rules =
                select.query_map(rusqlite::params_from_iter(parameters), |row| names::json(row, 0))?;
            for rule in rules {
                found.push(rule?);
            }
        }
        Ok(found)
    }

    /// Identities of a group and those below it, perhaps of one kind only, ordered by full name, after the given one.
    pub(crate) fn identities_within(
        &self,
        group: &str,
        kind: Option<&str>,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Identity>> {
        let (first, end) = below(group);
        let begin = first.as_str().max(after);
        let mut select = self.prepare_cached(WITHIN)?;
        let found = select.query_map(params![begin, end, after, kind, rows(limit)], read)?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    /// The ids of a group's identities.
    pub(crate) fn identity_ids_in(&self, group: &str) -> Result<Vec<String>> {
        let mut select = self.prepare_cached("SELECT id FROM identities WHERE group_path = ?1")?;
        let found = select.query_map([group], |row| row.get(0))?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }
}

/// The column of exact audiences.
fn audience(rule: &Rule) -> Option<&str> {
    rule.own_audience().map(|audience| match audience {
        Text::Exact(audience) => audience.as_str(),
        Text::Pattern(_) => PATTERN,
    })
}

impl Tx<'_> {
    pub(crate) fn insert_identity(&self, identity: &Identity) -> Result<()> {
        self.prepare_cached(
            "INSERT INTO identities
                 (id, group_path, name, full_name, kind, description, issuer, subject, audience, rule, created_at,
                  created_by, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute(params![
            identity.id,
            identity.group.as_str(),
            identity.name,
            identity.full_name(),
            identity.rule.kind(),
            identity.description,
            identity.rule.issuer(),
            identity.rule.subject(),
            audience(&identity.rule),
            serde_json::to_string(&identity.rule)?,
            identity.created_at,
            identity.created_by,
            identity.expires_at
        ])?;
        Ok(())
    }

    /// Replaces description, rule and end of an identity.
    pub(crate) fn update_identity(&self, identity: &Identity) -> Result<()> {
        self.prepare_cached(
            "UPDATE identities SET description = ?2, issuer = ?3, subject = ?4, audience = ?5, rule = ?6,
                 expires_at = ?7
             WHERE id = ?1",
        )?
        .execute(params![
            identity.id,
            identity.description,
            identity.rule.issuer(),
            identity.rule.subject(),
            audience(&identity.rule),
            serde_json::to_string(&identity.rule)?,
            identity.expires_at
        ])?;
        Ok(())
    }

    /// Deletes an identity with its bindings, and what a pull token has beyond them.
    pub(crate) fn delete_identity(&self, id: &str) -> Result<()> {
        self.delete_bindings_of(id)?;
        self.prepare_cached("DELETE FROM pull_tokens WHERE identity_id = ?1")?
            .execute([id])?;
        self.prepare_cached("DELETE FROM identities WHERE id = ?1")?
            .execute([id])?;
        Ok(())
    }

    /// Notes that identities were used just now.
    pub(crate) fn note_use<'i>(&self, ids: impl IntoIterator<Item = &'i str>) -> Result<()> {
        let mut update = self.prepare_cached("UPDATE identities SET last_used_at = ?2 WHERE id = ?1")?;
        for id in ids {
            update.execute(params![id, self.now])?;
        }
        Ok(())
    }
}
