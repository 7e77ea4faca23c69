//! The log in an SQLite file. All SQL of this crate is here.

mod query;
mod schema;
mod writer;

use std::path::Path;

use roadstead_sqlite::{Database, Failure, OpenError, Options, names};
use roadstead_types::Clock;

pub(crate) use self::{
    query::{Entry, Page, Query, Sight},
    writer::{Batch, Rejected},
};

/// Pages that are read at the same time.
const READERS: usize = 4;

/// Writes that may wait.
const QUEUE: usize = 256;

/// The event log. Cheap to clone; closed when the last clone goes.
#[derive(Clone, Debug)]
pub(crate) struct EventLog {
    database: Database,
}

impl EventLog {
    /// Opens or creates the log in `directory`. Blocks.
    pub(crate) fn open(directory: &Path, clock: Clock) -> Result<Self, OpenError> {
        let options = Options {
            names: names!("events"),
            file: "events.db",
            migrations: schema::MIGRATIONS,
            take_over: Some(schema::take_over),
            // Every read is of a page.
            readers: 0,
            scanners: READERS,
            queue: QUEUE,
        };
        Ok(Self {
            database: Database::open(directory, options, clock)?,
        })
    }

    /// Stores events; durable when it returns. Returns how many were new.
    pub(crate) async fn append(&self, batch: Batch) -> Result<usize, Failure> {
        self.database
            .write("append", move |tx| Ok(writer::append(tx, &batch)?))
            .await
    }

    /// Deletes some of the events recorded before `cutoff`, and returns how many; 0 when none are left.
    pub(crate) async fn prune(&self, cutoff: i64) -> Result<usize, Failure> {
        self.database
            .write("prune", move |tx| Ok(writer::prune(tx, cutoff)?))
            .await
    }

    pub(crate) async fn list(&self, query: Query) -> Result<Page, Failure> {
        self.database
            .scan("list", move |connection| Ok(query.run(connection)?))
            .await
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn migrations_are_in_order() {
        assert!(roadstead_sqlite::Migration::are_in_order(schema::MIGRATIONS));
    }

    /// What a program of the first schema left.
    fn first_schema(directory: &Path) -> Connection {
        std::fs::create_dir_all(directory).unwrap();
        let connection = Connection::open(directory.join("events.db")).unwrap();
        connection.execute_batch(schema::MIGRATIONS[0].sql).unwrap();
        connection
            .execute_batch(
                "CREATE TABLE schema_migration (
                     version INTEGER PRIMARY KEY, name TEXT NOT NULL, min_compatible INTEGER NOT NULL,
                     program TEXT NOT NULL, applied_at INTEGER NOT NULL
                 );
                 INSERT INTO schema_migration VALUES (1, 'log', 1, '0.1.0', 7);
                 INSERT INTO event VALUES (1, 'a', 'pull', 'acme/web', 0, x'7b7d');",
            )
            .unwrap();
        connection
    }

    #[test]
    fn a_log_of_the_first_schema_keeps_its_events_and_refuses_its_program() {
        let directory = tempfile::tempdir().unwrap();
        let connection = first_schema(directory.path());
        for _ in 0..2 {
            drop(EventLog::open(directory.path(), Clock::system()).unwrap());
        }
        let kept: (String, Option<String>) = connection
            .query_row("SELECT id, path FROM event", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        assert_eq!(kept, ("a".to_owned(), None));
        let first: (String, i64) = connection
            .query_row(
                "SELECT release, applied_at FROM schema_migrations WHERE version = 1",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .unwrap();
        assert_eq!(first, ("0.1.0".to_owned(), 7));
        // What that program looks at before it opens the log.
        let needed: i64 = connection
            .query_row("SELECT max(min_compatible) FROM schema_migration", [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(needed, 2);
    }
}
