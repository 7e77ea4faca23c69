//! The only SQL. SQLite, owned by one process: one writer thread with group commit, a pool of readers.
//!
//! Each public method of [`Store`] in this directory's modules is one named transaction or one read.

mod blobs;
mod deletions;
mod grants;
mod manifests;
mod migrate;
mod mounts;
mod outbox;
mod readers;
mod referrers;
mod removals;
mod repositories;
mod tags;
mod uploads;
mod writer;

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roadstead_runtime::{DirectoryError, OwnedDirectory};
use roadstead_types::Clock;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

pub(crate) use manifests::ManifestPut;
pub(crate) use tags::TagChange;
pub(crate) use uploads::{AcquireRequest, FinishRequest, Purpose, UploadKey};

use self::readers::Readers;
use self::writer::Writer;
use crate::config::Config;
use crate::error::{BuildError, Error};

type Result<T, E = Error> = std::result::Result<T, E>;

/// Distinct statements of the service, with room to spare: none is ever compiled twice on a connection.
const STATEMENT_CACHE: usize = 256;

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
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    writer: Writer,
    readers: Readers,
    /// Apart from `readers`, so that no number of listings makes a pull wait.
    scanners: Readers,
    lifetimes: Lifetimes,
    clock: Clock,
    // Declared last: the lock goes after the connections are closed.
    _directory: OwnedDirectory,
}

impl Store {
    /// Opens the database in `directory`, making both when missing, and brings its schema up to date.
    ///
    /// # Errors
    /// When another process has it, when a newer release wrote it, or when the disk or SQLite refuses.
    pub(crate) fn open(directory: &Path, config: &Config, clock: Clock) -> Result<Self, BuildError> {
        let owned = OwnedDirectory::acquire(directory)?;
        let file = directory.join("metadata.db");
        let mut connection = Connection::open_with_flags(
            &file,
            OpenFlags::SQLITE_OPEN_READ_WRITE
                | OpenFlags::SQLITE_OPEN_CREATE
                | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        prepare(&connection)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // After a burst the log file shrinks again.
        connection.pragma_update(None, "journal_size_limit", writer::LOG_LIMIT)?;
        migrate::run(&mut connection, &file, &clock)?;
        let lifetimes = Lifetimes::new(config);
        let readers = Readers::open(&file, config.readers)?;
        let scanners = Readers::open(&file, config.readers.div_ceil(2))?;
        let writer = Writer::start(connection, clock.clone(), lifetimes.clone(), config.write_queue)
            .map_err(|source| DirectoryError::Io { path: file, source })?;
        Ok(Self {
            inner: Arc::new(Inner {
                writer,
                readers,
                scanners,
                lifetimes,
                clock,
                _directory: owned,
            }),
        })
    }

    /// Runs `work` as one transaction and answers once it is durable. An error rolls it back.
    async fn write<T, F>(&self, name: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T> + Send + 'static,
    {
        self.inner.writer.run(name, work).await
    }

    /// Runs a read of a few rows by key. It takes microseconds, less than handing it to another thread would.
    async fn read<T>(&self, name: &'static str, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let started = Instant::now();
        let result = self.inner.readers.run(work).await;
        observe(name, started);
        result
    }

    /// Runs a read of many rows on a thread for blocking work, in one snapshot.
    async fn scan<T, F>(&self, name: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let started = Instant::now();
        let result = self.inner.scanners.run_blocking(work).await;
        observe(name, started);
        result
    }

    /// The database's time in Unix milliseconds.
    fn now(&self) -> i64 {
        self.inner.clock.unix_millis()
    }
}

fn observe(name: &'static str, started: Instant) {
    metrics::histogram!("metadata_read_seconds", "name" => name).record(started.elapsed().as_secs_f64());
}

/// What every connection needs.
fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    // Without it a plan may depend on what is bound, and SQLite compiles such a statement again each time it is bound.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")
}

#[cfg(test)]
mod tests;
