//! Opening connections.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

/// Distinct statements of a service, with room to spare: none is ever compiled twice on a connection.
const STATEMENT_CACHE: usize = 256;

/// Beyond this size the log is merged into the database and begun anew.
pub(crate) const LOG_LIMIT: u32 = 64 * 1024 * 1024;

/// Opens the file for the one that writes, making it when it is missing.
pub(crate) fn for_writing(file: &Path) -> rusqlite::Result<Connection> {
    let connection = open(
        file,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
    )?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A commit that was answered survives a power failure.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // After a burst the log file shrinks again.
    connection.pragma_update(None, "journal_size_limit", LOG_LIMIT)?;
    Ok(connection)
}

/// Opens the file for reading only.
pub(crate) fn for_reading(file: &Path) -> rusqlite::Result<Connection> {
    open(file, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

fn open(file: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(file, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    // Without it a plan may depend on what is bound, and SQLite compiles such a statement again each time it is bound.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}
