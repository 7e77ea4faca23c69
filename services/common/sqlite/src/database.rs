use std::{path::Path, sync::Arc, time::Instant};

use roadstead_runtime::OwnedDirectory;
use roadstead_types::Clock;
use rusqlite::Connection;

use crate::{
    Failure, Migration, Names, OpenError, TakeOver, Tx, connection, migrate,
    readers::{Readers, in_snapshot},
    writer::Writer,
};

/// How a database is opened.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Of its thread, metrics and fail points.
    pub names: Names,
    /// The file in the directory.
    pub file: &'static str,
    /// The schema.
    pub migrations: &'static [Migration],
    /// Where an older release kept account of its migrations, if that was elsewhere.
    pub take_over: Option<TakeOver>,
    /// Connections for short reads.
    pub readers: usize,
    /// Connections for long reads; apart from the others, so that no number of listings makes a short read wait.
    pub scanners: usize,
    /// Writes that may wait.
    pub queue: usize,
}

/// One SQLite file. Cheap to clone; closed when the last clone goes.
#[derive(Debug, Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    names: Names,
    clock: Clock,
    writer: Writer,
    readers: Readers,
    scanners: Readers,
    // Declared last: the lock goes after the connections are closed.
    _directory: OwnedDirectory,
}

impl Database {
    /// Opens the database in `directory`, making both when missing, and brings its schema up to date. Blocks.
    ///
    /// # Errors
    /// When another process has it, when a newer release wrote it, or when the disk or SQLite refuses.
    pub fn open(directory: &Path, options: Options, clock: Clock) -> Result<Self, OpenError> {
        let Options { names, file, .. } = options;
        let sqlite = |source| OpenError::Sqlite {
            service: names.service,
            source,
        };
        let owned = OwnedDirectory::acquire(directory)?;
        let file = directory.join(file);
        let mut connection = connection::for_writing(&file).map_err(sqlite)?;
        migrate::run(&mut connection, &file, &options, &clock)?;
        let readers = Readers::open(&file, options.readers).map_err(sqlite)?;
        let scanners = Readers::open(&file, options.scanners).map_err(sqlite)?;
        let writer = Writer::start(connection, names, clock.clone(), options.queue).map_err(|source| {
            OpenError::Writer {
                service: names.service,
                source,
            }
        })?;
        Ok(Self {
            inner: Arc::new(Inner {
                names,
                clock,
                writer,
                readers,
                scanners,
                _directory: owned,
            }),
        })
    }

    /// Runs `work` as one transaction and answers once it is durable. An error rolls it back.
    ///
    /// # Errors
    /// The work's own, or a [`Failure`].
    pub async fn write<T, E, F>(&self, name: &'static str, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Failure> + Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        self.inner.writer.run(name, work).await
    }

    /// Runs one read of a few rows by key. It takes microseconds, less than handing it to another thread would.
    ///
    /// # Errors
    /// The work's own, or a [`Failure`].
    pub async fn read<T, E: From<Failure>>(
        &self,
        name: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let started = Instant::now();
        let result = self.inner.readers.run(work).await;
        self.observe(name, started);
        result
    }

    /// Runs several reads of a few rows by key, all of one moment.
    ///
    /// # Errors
    /// The work's own, or a [`Failure`].
    pub async fn snapshot<T, E: From<Failure>>(
        &self,
        name: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        self.read(name, |connection| in_snapshot(connection, work)).await
    }

    /// Runs a read of many rows on a thread for blocking work, in one snapshot.
    ///
    /// # Errors
    /// The work's own, or a [`Failure`].
    pub async fn scan<T, E, F>(&self, name: &'static str, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Failure> + Send + 'static,
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        let started = Instant::now();
        let result = self.inner.scanners.run_blocking(work).await;
        self.observe(name, started);
        result
    }

    /// The database's time in Unix milliseconds. One process owns the file, so its clock is the database's.
    pub fn now(&self) -> i64 {
        self.inner.clock.unix_millis()
    }

    fn observe(&self, name: &'static str, started: Instant) {
        metrics::histogram!(self.inner.names.read_seconds, "name" => name)
            .record(started.elapsed().as_secs_f64());
    }
}
