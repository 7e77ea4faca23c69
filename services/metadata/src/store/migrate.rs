//! Numbered migrations, immutable once released.
//!
//! Each records the oldest schema version whose programs still work after it (`min_compatible`), so that a downgrade
//! works unless a migration took something away, and is otherwise refused with the version it needs.

use std::path::Path;

use fail::fail_point;
use roadstead_types::Clock;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::Result;
use crate::error::BuildError;

struct Migration {
    version: u32,
    name: &'static str,
    min_compatible: u32,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "initial",
    min_compatible: 1,
    sql: include_str!("../../migrations/sqlite/0001_initial.sql"),
}];

const RELEASE: &str = env!("CARGO_PKG_VERSION");

const BOOKKEEPING: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    min_compatible INTEGER NOT NULL,
    release TEXT NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT";

/// Applies what is missing. The lock on the directory keeps others out.
pub(super) fn run(connection: &mut Connection, file: &Path, clock: &Clock) -> Result<(), BuildError> {
    connection.execute_batch(BOOKKEEPING)?;
    let known = MIGRATIONS.last().map_or(0, |migration| migration.version);
    refuse_newer(connection, file, known)?;
    let applied: u32 = connection.query_row(
        "SELECT coalesce(max(version), 0) FROM schema_migrations",
        [],
        |row| row.get(0),
    )?;
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > applied) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration.sql)?;
        transaction.execute(
            "INSERT INTO schema_migrations (version, name, min_compatible, release, applied_at)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                migration.version,
                migration.name,
                migration.min_compatible,
                RELEASE,
                clock.unix_millis()
            ],
        )?;
        fail_point!("metadata::start::before_commit");
        transaction.commit()?;
        fail_point!("metadata::start::after_commit");
        tracing::info!(
            version = migration.version,
            name = migration.name,
            "migrated the metadata database"
        );
    }
    Ok(())
}

fn refuse_newer(connection: &Connection, file: &Path, known: u32) -> Result<(), BuildError> {
    let blocking: Option<(u32, String)> = connection
        .query_row(
            "SELECT min_compatible, release FROM schema_migrations WHERE min_compatible > ?1
             ORDER BY min_compatible DESC, version LIMIT 1",
            [known],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let Some((needed, written_by)) = blocking else {
        return Ok(());
    };
    let found = connection.query_row("SELECT max(version) FROM schema_migrations", [], |row| {
        row.get::<_, u32>(0)
    })?;
    Err(BuildError::SchemaTooNew {
        path: file.display().to_string(),
        found,
        needed,
        known,
        written_by,
        own_release: RELEASE,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_without_gaps() {
        for (migration, version) in MIGRATIONS.iter().zip(1..) {
            assert_eq!(migration.version, version);
            assert!(migration.min_compatible <= version && migration.min_compatible > 0);
        }
    }
}
