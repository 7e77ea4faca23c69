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
    /// Whether this transaction made it.
    pub(super) is_new: bool,
}

/// What a push gave, and whether it made its repository.
#[derive(Debug)]
pub(crate) struct Pushed<T> {
    pub(crate) value: T,
    pub(crate) made_repository: bool,
}

impl Repository {
    /// What a push to it gave.
    pub(super) fn pushed<T>(&self, value: T) -> Pushed<T> {
        Pushed {
            value,
            made_repository: self.is_new,
        }
    }
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
                is_new: false,
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
        is_new: true,
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

/// Bounded on one side by one value: of two lower bounds SQLite searches for one and reads all up to the other.
pub(super) const PAGE: &str =
    "SELECT name FROM repositories WHERE name >= ?1 AND name < ?2 ORDER BY name LIMIT ?3";

pub(super) fn page(
    connection: &Connection,
    intervals: &[Interval],
    last: &str,
    limit: usize,
) -> Result<(Vec<String>, bool)> {
    let mut statement = connection.prepare_cached(PAGE)?;
    // The least text that comes after `last`.
    let after = if last.is_empty() {
        String::new()
    } else {
        format!("{last}\0")
    };
    let mut names: Vec<String> = Vec::new();
    for interval in intervals.iter().filter(|interval| interval.end > after) {
        let start = after.as_str().max(&interval.start);
        // One more than asked for tells whether the page is the last.
        let missing = i64::try_from(limit + 1 - names.len()).unwrap_or(i64::MAX);
        let found = statement.query_map(params![start, interval.end, missing], |row| row.get(0))?;
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
            page(connection, &intervals, &last, limit)
        })
        .await
    }
}
