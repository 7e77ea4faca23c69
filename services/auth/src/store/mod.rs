//! The only SQL. SQLite, owned by one process: one writer thread with group commit, a pool of readers.
//!
//! Functions that read take a [`Snapshot`], so that a decision is made of one moment; functions that write take a [`Tx`],
//! so that a change, its revocations and its event are one transaction.

/// The condition of a [`Span`], whose texts are bound as `?1` to `?5`.
macro_rules! in_span {
    () => {
        "path >= ?1 AND path < ?4 AND (path = ?2 OR path >= ?3)
         AND (NOT ?5 OR path = ?2 AND resource_kind = 'repository')"
    };
}

mod bindings;
mod groups;
mod identities;
mod names;
mod outbox;
mod permissions;
mod policies;
mod pull_tokens;
mod roles;
mod sessions;
mod watermarks;

use std::{ops::Deref, path::Path, sync::Arc};

use roadstead_sqlite::{Database, Migration, OpenError, Options, names};
use roadstead_types::Clock;
use rusqlite::Connection;
use tokio::sync::watch;

use crate::{domain::Resource, error::Error};

pub(crate) use groups::GroupRow;
pub(crate) use policies::PolicyRow;
pub(crate) use pull_tokens::{LastUse, PullTokenRow, Secrets};
pub(crate) use sessions::{Session, SessionKind};
pub(crate) use watermarks::Subject;

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "iam",
    min_compatible: 1,
    sql: include_str!("../../migrations/sqlite/0001_iam.sql"),
}];

/// Reads of a few rows run at once up to this many; each takes tens of microseconds.
const READERS: usize = 8;
/// Lists run at once up to this many.
const SCANNERS: usize = 2;
/// Writes that may wait.
const QUEUE: usize = 1024;

/// The database. Cheap to clone; closed when the last clone goes.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    database: Database,
    /// The newest revision of the permissions that is durable.
    revision: Arc<watch::Sender<u64>>,
}

/// What was committed at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot<'a> {
    connection: &'a Connection,
    /// Unix milliseconds.
    pub(crate) now: i64,
}

impl Deref for Snapshot<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

/// A transaction of the writer. It reads what it has written.
#[derive(Debug)]
pub(crate) struct Tx<'a> {
    snapshot: Snapshot<'a>,
    inner: &'a roadstead_sqlite::Tx<'a>,
    permissions: permissions::Change<'a>,
}

impl<'a> Deref for Tx<'a> {
    type Target = Snapshot<'a>;

    fn deref(&self) -> &Snapshot<'a> {
        &self.snapshot
    }
}

impl Store {
    /// Opens the database in `directory`, making both when missing, and brings its schema up to date. Blocks.
    pub(crate) fn open(directory: &Path, clock: Clock) -> Result<Self, OpenError> {
        let options = Options {
            names: names!("auth"),
            file: "auth.db",
            migrations: MIGRATIONS,
            take_over: None,
            readers: READERS,
            scanners: SCANNERS,
            queue: QUEUE,
        };
        Ok(Self {
            database: Database::open(directory, options, clock)?,
            revision: Arc::new(watch::Sender::new(0)),
        })
    }

    /// Runs `work` as one transaction and answers once it is durable. An error rolls it back.
    pub(crate) async fn write<T, F>(&self, name: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T> + Send + 'static,
    {
        let revision = self.revision.clone();
        self.database
            .write(name, move |inner| {
                work(&Tx {
                    snapshot: Snapshot {
                        connection: inner,
                        now: inner.now,
                    },
                    inner,
                    permissions: permissions::Change::new(&revision),
                })
            })
            .await
    }

    /// Runs reads of a few rows by key, all of one moment, on the caller's own thread.
    pub(crate) async fn snapshot<T>(
        &self,
        name: &'static str,
        work: impl FnOnce(&Snapshot<'_>) -> Result<T>,
    ) -> Result<T> {
        let now = self.database.now();
        self.database
            .snapshot(name, |connection| work(&Snapshot { connection, now }))
            .await
    }

    /// Runs a read of many rows, in one snapshot, on a thread for blocking work.
    pub(crate) async fn scan<T, F>(&self, name: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Snapshot<'_>) -> Result<T> + Send + 'static,
    {
        let now = self.database.now();
        self.database
            .scan(name, move |connection| work(&Snapshot { connection, now }))
            .await
    }

    /// Tells of each revision of the permissions once it is durable. Begins with 0 in a new process.
    pub(crate) fn revisions(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }
}

/// The names below a path: from `path/` up to, but not including, `path0`.
fn below(path: &str) -> (String, String) {
    if path.is_empty() {
        // No path begins with a byte above `z`.
        return (String::new(), "\u{7f}".to_owned());
    }
    (format!("{path}/"), format!("{path}0"))
}

/// A part of a list that is ordered by path: what lies within a resource, after what was given before.
#[derive(Debug)]
struct Span {
    /// Where reading begins in the index: between `own` and `first` lie only names that share letters, such as `acme-x`.
    begin: String,
    own: String,
    first: String,
    end: String,
    /// Only what is at the single repository itself.
    alone: bool,
}

impl Span {
    fn within(resource: &Resource, after: &str) -> Self {
        let own = resource.path().to_owned();
        let (first, end) = below(&own);
        Self {
            begin: after.max(own.as_str()).to_owned(),
            own,
            first,
            end,
            alone: matches!(resource, Resource::Repository(_)),
        }
    }
}

/// SQLite counts in 64 bits with a sign.
fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
