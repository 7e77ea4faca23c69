//! Pull tokens: what they have beyond an identity and its bindings.

use rusqlite::{OptionalExtension as _, Row, params};

use super::{Result, Snapshot, Tx, below, names, rows};

/// A pull token, without its secret, of which there is only a hash.
#[derive(Clone, Debug)]
pub(crate) struct PullTokenRow {
    /// The identity's id.
    pub(crate) id: String,
    pub(crate) group: String,
    /// Its own name in the group.
    pub(crate) name: String,
    pub(crate) secrets: Secrets,
    /// CIDR networks; none for everywhere.
    pub(crate) networks: Vec<String>,
    /// Unix milliseconds, as all times here.
    pub(crate) created_at: i64,
    pub(crate) created_by: String,
    pub(crate) expires_at: i64,
    pub(crate) last_used_at: Option<i64>,
    pub(crate) last_used_from: Option<String>,
    pub(crate) revoked_at: Option<i64>,
}

/// SHA-256 hashes of what is good as the secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Secrets {
    pub(crate) current: Vec<u8>,
    /// That before the last rotation, and until when it is good.
    pub(crate) previous: Option<(Vec<u8>, i64)>,
}

/// When and from where a pull token was last used.
#[derive(Clone, Debug)]
pub(crate) struct LastUse {
    pub(crate) id: String,
    pub(crate) at: i64,
    pub(crate) from: String,
}

const COLUMNS: &str =
    "i.id, i.group_path, p.name, p.secret_hash, p.previous_hash, p.previous_until, p.networks,
     i.created_at, i.created_by, i.expires_at, i.last_used_at, p.last_used_from, p.revoked_at";
const TABLES: &str = "pull_tokens p JOIN identities i ON i.id = p.identity_id";

fn read(row: &Row<'_>) -> rusqlite::Result<PullTokenRow> {
    let previous: Option<Vec<u8>> = row.get(4)?;
    let until: Option<i64> = row.get(5)?;
    Ok(PullTokenRow {
        id: row.get(0)?,
        group: row.get(1)?,
        name: row.get(2)?,
        secrets: Secrets {
            current: row.get(3)?,
            previous: previous.zip(until),
        },
        networks: names::json(row, 6)?,
        created_at: row.get(7)?,
        created_by: row.get(8)?,
        expires_at: row.get::<_, Option<i64>>(9)?.unwrap_or_default(),
        last_used_at: row.get(10)?,
        last_used_from: row.get(11)?,
        revoked_at: row.get(12)?,
    })
}

impl Snapshot<'_> {
    pub(crate) fn pull_token(&self, id: &str) -> Result<Option<PullTokenRow>> {
        Ok(self
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM {TABLES} WHERE p.identity_id = ?1"
            ))?
            .query_row([id], read)
            .optional()?)
    }

    /// The pull token that has this full name now.
    pub(crate) fn pull_token_by_name(&self, full_name: &str) -> Result<Option<PullTokenRow>> {
        Ok(self
            .prepare_cached(&format!("SELECT {COLUMNS} FROM {TABLES} WHERE i.full_name = ?1"))?
            .query_row([full_name], read)
            .optional()?)
    }

    /// Pull tokens of a group and those below it, in the order of their ids, which is that of creation, after the given
    /// one. Unless `all`, only those that are good.
    pub(crate) fn pull_tokens_within(
        &self,
        group: &str,
        all: bool,
        after: &str,
        limit: usize,
    ) -> Result<Vec<PullTokenRow>> {
        let (first, end) = below(group);
        let mut select = self.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM {TABLES}
             WHERE p.identity_id > ?1 AND (i.group_path = ?2 OR i.group_path >= ?3 AND i.group_path < ?4)
                 AND (?5 OR p.revoked_at IS NULL AND i.expires_at > ?6)
             ORDER BY p.identity_id LIMIT ?7"
        ))?;
        let found = select.query_map(
            params![after, group, first, end, all, self.now, rows(limit)],
            read,
        )?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    /// The ids of some pull tokens that were over at a time in Unix milliseconds. A read of many rows.
    pub(crate) fn pull_tokens_over_at(&self, then: i64, limit: usize) -> Result<Vec<String>> {
        let mut select = self.prepare_cached(&format!(
            "SELECT p.identity_id FROM {TABLES} WHERE coalesce(p.revoked_at, i.expires_at) <= ?1 LIMIT ?2"
        ))?;
        let found = select.query_map(params![then, rows(limit)], |row| row.get(0))?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }
}

impl Tx<'_> {
    /// Adds what a pull token has beyond its identity, which is there already.
    pub(crate) fn insert_pull_token(
        &self,
        id: &str,
        name: &str,
        secret_hash: &[u8],
        networks: &[String],
    ) -> Result<()> {
        self.prepare_cached(
            "INSERT INTO pull_tokens (identity_id, name, secret_hash, networks) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![id, name, secret_hash, serde_json::to_string(networks)?])?;
        Ok(())
    }

    pub(crate) fn replace_secrets(&self, id: &str, secrets: &Secrets, expires_at: i64) -> Result<()> {
        let previous = secrets.previous.as_ref();
        self.prepare_cached(
            "UPDATE pull_tokens SET secret_hash = ?2, previous_hash = ?3, previous_until = ?4
             WHERE identity_id = ?1",
        )?
        .execute(params![
            id,
            secrets.current,
            previous.map(|(hash, _)| hash),
            previous.map(|(_, until)| until)
        ])?;
        self.prepare_cached("UPDATE identities SET expires_at = ?2 WHERE id = ?1")?
            .execute(params![id, expires_at])?;
        Ok(())
    }

    /// Ends a pull token. Its identity goes on to be listed, without a role and without its name.
    pub(crate) fn end_pull_token(&self, id: &str) -> Result<()> {
        self.prepare_cached("UPDATE pull_tokens SET revoked_at = ?2 WHERE identity_id = ?1")?
            .execute(params![id, self.now])?;
        self.prepare_cached(
            "UPDATE identities SET name = NULL,
                 full_name = CASE group_path WHEN '' THEN id ELSE group_path || '/' || id END
             WHERE id = ?1",
        )?
        .execute([id])?;
        self.delete_bindings_of(id)
    }

    /// Notes uses. An older one than is known changes nothing.
    pub(crate) fn note_pull_token_uses(&self, uses: &[LastUse]) -> Result<()> {
        let mut identity = self.prepare_cached(
            "UPDATE identities SET last_used_at = ?2 WHERE id = ?1 AND coalesce(last_used_at, 0) < ?2",
        )?;
        let mut token =
            self.prepare_cached("UPDATE pull_tokens SET last_used_from = ?2 WHERE identity_id = ?1")?;
        for usage in uses {
            if identity.execute(params![usage.id, usage.at])? > 0 {
                token.execute(params![usage.id, usage.from])?;
            }
        }
        Ok(())
    }
}
