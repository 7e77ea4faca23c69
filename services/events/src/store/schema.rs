//! Migrations, and which binaries may open which database.

use fail::fail_point;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

struct Migration {
    version: i64,
    name: &'static str,
    sql: &'static str,
    /// The oldest schema version whose binaries still work with a database that this migration changed.
    min_compatible: i64,
}

/// In order. A migration never changes once it is merged.
const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "log",
    sql: include_str!("../../migrations/sqlite/0001_log.sql"),
    min_compatible: 1,
}];

/// Why a database's schema cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// A newer binary changed the database in a way that this one does not understand.
    #[error(
        "the database needs a version of this program that knows schema {needed}, as {program} does; this one knows {known}"
    )]
    TooNew {
        /// The lowest schema version that a binary must know.
        needed: i64,
        /// The highest that this binary knows.
        known: i64,
        /// The version of the program that made the change.
        program: String,
    },
    /// `SQLite` refused.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// Brings the database to the schema of this binary.
pub(crate) fn migrate(connection: &mut Connection, now_millis: i64) -> Result<(), SchemaError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS schema_migration (
             version INTEGER PRIMARY KEY,
             name TEXT NOT NULL,
             min_compatible INTEGER NOT NULL,
             program TEXT NOT NULL,
             applied_at INTEGER NOT NULL
         )",
    )?;
    let known = MIGRATIONS.last().map_or(0, |migration| migration.version);
    let newest = transaction
        .query_row(
            "SELECT version, min_compatible, program FROM schema_migration ORDER BY version DESC LIMIT 1",
            [],
            |row| {
                Ok((
                    row.get::<_, i64>(0)?,
                    row.get::<_, i64>(1)?,
                    row.get::<_, String>(2)?,
                ))
            },
        )
        .optional()?;
    let (version, needed, program) = newest.unwrap_or_default();
    if known < needed {
        return Err(SchemaError::TooNew {
            needed,
            known,
            program,
        });
    }
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > version) {
        transaction.execute_batch(migration.sql)?;
        transaction.execute(
            "INSERT INTO schema_migration (version, name, min_compatible, program, applied_at)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                migration.version,
                migration.name,
                migration.min_compatible,
                env!("CARGO_PKG_VERSION"),
                now_millis
            ],
        )?;
        tracing::info!(
            version = migration.version,
            name = migration.name,
            "migrated the event log"
        );
    }
    fail_point!("events::start::before_commit");
    transaction.commit()?;
    fail_point!("events::start::after_commit");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrating_twice_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, 1).unwrap();
        migrate(&mut connection, 2).unwrap();
        let applied: i64 = connection
            .query_row("SELECT max(applied_at) FROM schema_migration", [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(applied, 1);
    }

    #[test]
    fn a_newer_schema_is_opened_while_it_is_compatible() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, 1).unwrap();
        connection
            .execute(
                "INSERT INTO schema_migration VALUES (2, 'expand', 1, '9.9.9', 2)",
                [],
            )
            .unwrap();
        migrate(&mut connection, 3).unwrap();
        connection
            .execute(
                "INSERT INTO schema_migration VALUES (3, 'contract', 2, '9.9.9', 2)",
                [],
            )
            .unwrap();
        let refused = migrate(&mut connection, 3).unwrap_err();
        assert!(
            matches!(refused, SchemaError::TooNew { needed: 2, known: 1, program } if program == "9.9.9")
        );
    }
}
