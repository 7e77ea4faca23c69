//! What was revoked: tokens of a subject that were signed under an earlier revision are good no longer.

use std::time::Duration;

use roadstead_authn::{Provenance, RegistryClaims};
use roadstead_types::RepositoryPrefix;
use rusqlite::{OptionalExtension as _, params};

use super::{Result, Snapshot, Tx, rows};
use crate::domain::Resource;

/// The longest that something can be good for whose revocation only a watermark tells: a client's refresh token, half a
/// day; and an hour for clocks. A push that outlives its token is good for less.
const LONGEST_LIFE: Duration = Duration::from_hours(13);

/// Whose tokens are meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// Every token there is.
    EveryToken,
    /// One token, by its `jti`.
    Token(String),
    /// What tokens came of: `pull-token:<id>`, `session:<id>`, or the rule of an identity, `identity:<id>`.
    Credential(String),
    /// Registry tokens of an identity, by its id.
    Identity(String),
    /// Registry tokens that grant something on repositories, by the start of their names.
    Prefix(RepositoryPrefix),
}

impl Subject {
    /// What comes of an identity's rule: access tokens too.
    pub(crate) fn rule_of(identity: &str) -> Self {
        Self::Credential(format!("identity:{identity}"))
    }

    fn columns(&self) -> (&'static str, &str) {
        match self {
            Self::EveryToken => ("token", ""),
            Self::Token(id) => ("token", id),
            Self::Credential(credential) => ("credential", credential),
            Self::Identity(id) => ("identity", id),
            Self::Prefix(prefix) => ("prefix", prefix.as_str()),
        }
    }

    /// Reads columns. What a newer release may have written counts for every token.
    fn from_columns(kind: &str, subject: String) -> Self {
        match kind {
            "token" if !subject.is_empty() => Self::Token(subject),
            "credential" => Self::Credential(subject),
            "identity" => Self::Identity(subject),
            "prefix" => RepositoryPrefix::parse(&subject).map_or(Self::EveryToken, Self::Prefix),
            _ => Self::EveryToken,
        }
    }
}

impl Tx<'_> {
    /// Revokes every token of a subject that was signed before this transaction.
    pub(crate) fn revoke(&self, subject: &Subject) -> Result<()> {
        let revision = i64::try_from(self.change()?).unwrap_or(i64::MAX);
        let (kind, text) = subject.columns();
        let life = i64::try_from(LONGEST_LIFE.as_millis()).unwrap_or(i64::MAX / 4);
        self.prepare_cached(
            "INSERT INTO watermarks (subject_kind, subject, revision, expires_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (subject_kind, subject)
             DO UPDATE SET revision = excluded.revision, expires_at = excluded.expires_at",
        )?
        .execute(params![kind, text, revision, self.now + life])?;
        Ok(())
    }

    /// Forgets what no token can be older than at `believable_now` (Unix milliseconds).
    pub(crate) fn forget_watermarks(&self, believable_now: i64) -> Result<()> {
        self.prepare_cached("DELETE FROM watermarks WHERE expires_at <= ?1")?
            .execute([believable_now])?;
        Ok(())
    }

    /// Revokes every token instead of those of many subjects, when these are more than `limit`. Returns whether it did.
    pub(crate) fn coalesce_watermarks(&self, limit: usize) -> Result<bool> {
        let count: i64 = self
            .prepare_cached("SELECT count(*) FROM watermarks")?
            .query_row([], |row| row.get(0))?;
        if count <= rows(limit) {
            return Ok(false);
        }
        self.prepare_cached("DELETE FROM watermarks")?.execute([])?;
        self.revoke(&Subject::EveryToken)?;
        Ok(true)
    }
}

impl Snapshot<'_> {
    /// Watermarks above a revision, from the lowest, each with its own.
    pub(crate) fn watermarks_above(&self, revision: u64) -> Result<Vec<(Subject, u64)>> {
        let mut select = self.prepare_cached(
            "SELECT subject_kind, subject, revision FROM watermarks WHERE revision > ?1 ORDER BY revision",
        )?;
        let found = select.query_map([i64::try_from(revision).unwrap_or(i64::MAX)], |row| {
            let subject = Subject::from_columns(row.get_ref(0)?.as_str()?, row.get(1)?);
            Ok((subject, row.get::<_, i64>(2)?.unsigned_abs()))
        })?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    /// Whether what a token came of was revoked: the token, its credential, or the rule of one of its identities.
    pub(crate) fn is_origin_revoked(&self, token: &Provenance) -> Result<bool> {
        let rules = token.identities.iter().map(|id| Subject::rule_of(id));
        let credential = token.credential.iter().cloned().map(Subject::Credential);
        let own = [Subject::EveryToken, Subject::Token(token.token_id.clone())];
        self.is_revoked(token.revision, own.into_iter().chain(credential).chain(rules))
    }

    /// Whether a registry token was revoked: also for what its identities may do, and for each repository that it grants
    /// something on.
    pub(crate) fn is_registry_token_revoked(&self, claims: &RegistryClaims) -> Result<bool> {
        let token = &claims.provenance;
        let identities = token.identities.iter().cloned().map(Subject::Identity);
        if self.is_origin_revoked(token)? || self.is_revoked(token.revision, identities)? {
            return Ok(true);
        }
        for access in claims
            .access
            .iter()
            .filter(|access| access.resource_type == "repository")
        {
            let Ok(resource) = Resource::parse(&format!("repository:{}", access.name)) else {
                continue;
            };
            let prefixes = resource
                .groups_above()
                .filter_map(|path| RepositoryPrefix::parse(path).ok());
            if self.is_revoked(token.revision, prefixes.map(Subject::Prefix))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_revoked(&self, revision: u64, subjects: impl IntoIterator<Item = Subject>) -> Result<bool> {
        let mut select =
            self.prepare_cached("SELECT revision FROM watermarks WHERE subject_kind = ?1 AND subject = ?2")?;
        for subject in subjects {
            let found: Option<i64> = select.query_row(subject.columns(), |row| row.get(0)).optional()?;
            if found.is_some_and(|found| found.unsigned_abs() > revision) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
#[path = "watermarks_tests.rs"]
mod tests;
