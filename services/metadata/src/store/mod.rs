//! The only SQL. SQLite, owned by one process: one writer thread with group commit, a pool of readers.
//!
//! Each public method of [`Store`] in this directory's modules is one named transaction or one read.

mod blobs;
mod deletions;
mod grants;
mod manifests;
mod mounts;
mod outbox;
mod referrers;
mod removals;
mod repositories;
mod tags;
mod uploads;

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use roadstead_sqlite::{Database, Migration, OpenError, Options, names};
use roadstead_types::Clock;
use rusqlite::Connection;

pub(crate) use manifests::ManifestPut;
pub(crate) use repositories::Pushed;
pub(crate) use tags::TagChange;
pub(crate) use uploads::{AcquireRequest, FinishRequest, Purpose, UploadKey};

use crate::config::Config;
use crate::error::Error;

type Result<T, E = Error> = std::result::Result<T, E>;

const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "initial",
    min_compatible: 1,
    sql: include_str!("../../migrations/sqlite/0001_initial.sql"),
}];

/// Lifetimes that transactions apply, in milliseconds.
#[derive(Debug, Clone)]
pub(crate) struct Lifetimes {
    session_ttl: i64,
    finished_ttl: i64,
    grant_idle: i64,
    grant_lifetime: i64,
    delete_delay: i64,
    outbox_lease: i64,
}

impl Lifetimes {
    fn new(config: &Config) -> Self {
        Self {
            session_ttl: millis(config.upload_session_ttl),
            finished_ttl: millis(config.finished_upload_ttl),
            grant_idle: millis(config.push_grant_idle),
            grant_lifetime: millis(config.push_grant_lifetime),
            delete_delay: millis(config.object_delete_delay),
            outbox_lease: millis(config.outbox_lease),
        }
    }
}

/// What is too long counts as a fraction of the range, so that a time plus or minus it does not overflow.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

/// A transaction of the writer, with the database's time. One process owns the file, so its clock is the database's.
#[derive(Debug)]
pub(crate) struct Tx<'a> {
    connection: &'a Connection,
    /// Unix milliseconds; the same for the whole transaction.
    now: i64,
    lifetimes: &'a Lifetimes,
}

impl Deref for Tx<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

/// The database. Cheap to clone; closed when the last clone goes.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    database: Database,
    lifetimes: Arc<Lifetimes>,
}

impl Store {
    /// Opens the database in `directory`, making both when missing, and brings its schema up to date.
    ///
    /// # Errors
    /// When another process has it, when a newer release wrote it, or when the disk or SQLite refuses.
    pub(crate) fn open(directory: &Path, config: &Config, clock: Clock) -> Result<Self, OpenError> {
        let options = Options {
            names: names!("metadata"),
            file: "metadata.db",
            migrations: MIGRATIONS,
            take_over: None,
            readers: config.readers,
            scanners: config.readers.div_ceil(2),
            queue: config.write_queue,
        };
        Ok(Self {
            database: Database::open(directory, options, clock)?,
            lifetimes: Arc::new(Lifetimes::new(config)),
        })
    }

    /// Runs `work` as one transaction and answers once it is durable. An error rolls it back.
    async fn write<T, F>(&self, name: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T> + Send + 'static,
    {
        let lifetimes = self.lifetimes.clone();
        self.database
            .write(name, move |tx| {
                work(&Tx {
                    connection: tx,
                    now: tx.now,
                    lifetimes: &lifetimes,
                })
            })
            .await
    }

    /// Runs a read of a few rows by key. It takes microseconds, less than handing it to another thread would.
    async fn read<T>(&self, name: &'static str, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.database.read(name, work).await
    }

    /// Runs a read of many rows on a thread for blocking work, in one snapshot.
    async fn scan<T, F>(&self, name: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        self.database.scan(name, work).await
    }

    /// The database's time in Unix milliseconds.
    fn now(&self) -> i64 {
        self.database.now()
    }
}

#[cfg(test)]
mod tests;
