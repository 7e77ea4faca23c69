//! Repositories by name.

use roadstead_types::RepositoryName;
use rusqlite::{Connection, OptionalExtension as _, params};
use uuid::Uuid;

use super::{Result, Store, Tx, grants};
use crate::domain::author::Author;
use crate::domain::intervals::Interval;
use crate::error::Error;

/// A repository's keys.
#[derive(Debug, Clone)]
pub(super) struct Repository {
    pub(super) id: i64,
    pub(super) public_id: String,
    pub(super) name: RepositoryName,
}

pub(super) fn find(connection: &Connection, name: &RepositoryName) -> Result<Option<Repository>> {
    let mut statement =
        connection.prepare_cached("SELECT id, public_id FROM repositories WHERE name = ?1")?;
    let row = statement
        .query_row([name.as_str()], |row| {
            Ok(Repository {
                id: row.get(0)?,
                public_id: row.get(1)?,
                name: name.clone(),
            })
        })
        .optional()?;
    Ok(row)
}

fn find_or_create(tx: &Tx<'_>, name: &RepositoryName) -> Result<Repository> {
    if let Some(repository) = find(tx, name)? {
        return Ok(repository);
    }
    let public_id = Uuid::new_v4().to_string();
    tx.prepare_cached("INSERT INTO repositories (public_id, name, created_at) VALUES (?1, ?2, ?3)")?
        .execute(params![public_id, name.as_str(), tx.now])?;
    Ok(Repository {
        id: tx.last_insert_rowid(),
        public_id,
        name: name.clone(),
    })
}

/// The repository that `author` pushes to, made when it is new. An expired token needs a live push grant there, and so
/// makes nothing.
pub(super) fn for_push(tx: &Tx<'_>, author: &Author, name: &RepositoryName) -> Result<Repository> {
    if !author.expired {
        let repository = find_or_create(tx, name)?;
        grants::touch(tx, author, &repository)?;
        return Ok(repository);
    }
    let repository = find(tx, name)?.ok_or(Error::TokenExpired)?;
    grants::require(tx, author, &repository)?;
    Ok(repository)
}

impl Store {
    /// Lists up to `limit` names after `last` that lie in `intervals` (disjoint, in order), and whether there are more.
    pub(crate) async fn list_repositories(
        &self,
        intervals: Vec<Interval>,
        last: String,
        limit: usize,
    ) -> Result<(Vec<String>, bool)> {
        self.scan("list_repositories", move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT name FROM repositories WHERE name > ?1 AND name >= ?2 AND name < ?3 ORDER BY name LIMIT ?4",
            )?;
            let mut names: Vec<String> = Vec::new();
            for interval in intervals.iter().filter(|interval| interval.end > last) {
                // One more than asked for tells whether the page is the last.
                let missing = i64::try_from(limit + 1 - names.len()).unwrap_or(i64::MAX);
                let found =
                    statement.query_map(params![last, interval.start, interval.end, missing], |row| row.get(0))?;
                for name in found {
                    names.push(name?);
                }
                if names.len() > limit {
                    break;
                }
            }
            let has_more = names.len() > limit;
            names.truncate(limit);
            Ok((names, has_more))
        })
        .await
    }
}
