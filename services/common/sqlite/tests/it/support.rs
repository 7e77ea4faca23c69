use std::path::Path;

use roadstead_sqlite::{Database, Failure, Migration, OpenError, Options, Tx, names};
use roadstead_types::Clock;

/// What goes wrong in these tests: what the database says, or what a test decided.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("refused")]
    Refused,
    #[error(transparent)]
    Failure(#[from] Failure),
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failure(error.into())
    }
}

pub(crate) const FIRST: Migration = Migration {
    version: 1,
    name: "things",
    min_compatible: 1,
    sql: "CREATE TABLE things (name TEXT PRIMARY KEY, content BLOB NOT NULL) STRICT",
};

pub(crate) const OPTIONS: Options = Options {
    names: names!("test"),
    file: "test.db",
    migrations: &[FIRST],
    take_over: None,
    readers: 2,
    scanners: 1,
    queue: 64,
};

pub(crate) fn open(directory: &Path) -> Database {
    open_with(directory, OPTIONS).unwrap()
}

pub(crate) fn open_with(directory: &Path, options: Options) -> Result<Database, OpenError> {
    Database::open(directory, options, Clock::system())
}

pub(crate) fn insert(tx: &Tx<'_>, name: &str, bytes: u32) -> Result<(), Error> {
    tx.prepare_cached("INSERT INTO things VALUES (?1, zeroblob(?2))")?
        .execute(rusqlite::params![name, bytes])?;
    Ok(())
}

pub(crate) async fn count(database: &Database) -> i64 {
    let counted: Result<i64, Error> = database
        .read("count", |connection| {
            Ok(connection.query_row("SELECT count(*) FROM things", [], |row| row.get(0))?)
        })
        .await;
    counted.unwrap()
}
