//! The log in an SQLite file. All SQL of this crate is here.

mod query;
mod schema;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use roadstead_runtime::{DirectoryError, OwnedDirectory};
use rusqlite::{Connection, OpenFlags, config::DbConfig};
use tokio::{sync::Semaphore, task::spawn_blocking};

pub use self::schema::SchemaError;
pub(crate) use self::{
    query::{Entry, Page, Query},
    writer::{Batch, Rejected, Writer},
};

/// Pages that are read at the same time.
const READERS: usize = 4;

/// Why the log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the directory, or it cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The database is not one that this binary may use.
    #[error("cannot use {path}: {source}")]
    Schema {
        /// Of the database.
        path: PathBuf,
        /// Why.
        source: SchemaError,
    },
}

/// Why the log did not answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum StoreError {
    #[error(transparent)]
    Sqlite(Arc<rusqlite::Error>),
    #[error("the writer has ended")]
    WriterGone,
    #[error("a reader panicked")]
    ReaderPanicked,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(Arc::new(error))
    }
}

/// The event log. Cheap to clone.
#[derive(Clone)]
pub(crate) struct EventLog {
    writer: Writer,
    readers: Arc<Readers>,
}

struct Readers {
    path: PathBuf,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl EventLog {
    /// Opens or creates the log in `directory`.
    pub(crate) fn open(directory: &Path, now_millis: i64) -> Result<Self, OpenError> {
        let owned = OwnedDirectory::acquire(directory)?;
        let path = directory.join("events.db");
        let schema = |source: SchemaError| OpenError::Schema {
            path: path.clone(),
            source,
        };
        let mut connection = connect(&path, OpenFlags::default()).map_err(|error| schema(error.into()))?;
        schema::migrate(&mut connection, now_millis).map_err(schema)?;
        let writer = Writer::start(connection, owned).map_err(|source| DirectoryError::Io {
            path: path.clone(),
            source,
        })?;
        let readers = Readers {
            path,
            permits: Arc::new(Semaphore::new(READERS)),
            idle: Mutex::default(),
        };
        Ok(Self {
            writer,
            readers: Arc::new(readers),
        })
    }

    /// Stores events; durable when it returns. Returns how many were new.
    pub(crate) async fn append(&self, batch: Batch) -> Result<usize, StoreError> {
        self.writer.append(batch).await
    }

    /// Deletes some of the events recorded before `cutoff`, and returns how many; 0 when none are left.
    pub(crate) async fn prune(&self, cutoff: i64) -> Result<usize, StoreError> {
        self.writer.prune(cutoff).await
    }

    pub(crate) async fn list(&self, query: Query) -> Result<Page, StoreError> {
        let readers = Arc::clone(&self.readers);
        let permit = Arc::clone(&self.readers.permits)
            .acquire_owned()
            .await
            .map_err(|_| StoreError::WriterGone)?;
        spawn_blocking(move || {
            // Held until the read ends, also when its caller is gone: connections are as many as permits.
            let _permit = permit;
            readers.with(|connection| query.run(connection))
        })
        .await
        .map_err(|_| StoreError::ReaderPanicked)?
    }
}

impl Readers {
    fn with<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let idle = self.idle.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect(
                &self.path,
                OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
            )?,
        };
        let result = read(&connection)?;
        // A connection that failed is not used again.
        self.idle.lock().push(connection);
        Ok(result)
    }
}

fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags)?;
    if !flags.contains(OpenFlags::SQLITE_OPEN_READ_ONLY) {
        connection.pragma_update(None, "journal_mode", "WAL")?;
    }
    // Without it a plan may depend on what is bound, and SQLite compiles such a statement again each time it is bound.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // A commit that was answered survives a power failure.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writer_syncs_every_commit_of_a_write_ahead_log() {
        const FULL: i64 = 2;
        let directory = tempfile::tempdir().unwrap();
        let connection = connect(&directory.path().join("events.db"), OpenFlags::default()).unwrap();
        let mode: String = connection
            .query_row("PRAGMA journal_mode", [], |row| row.get(0))
            .unwrap();
        let synchronous: i64 = connection
            .query_row("PRAGMA synchronous", [], |row| row.get(0))
            .unwrap();
        assert_eq!((mode.as_str(), synchronous), ("wal", FULL));
    }
}
