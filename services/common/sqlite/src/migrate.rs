//! Numbered migrations, immutable once released.
//!
//! Each records the oldest schema version whose programs still work after it (`min_compatible`), so that a downgrade
//! works unless a migration took something away, and is otherwise refused with the version it needs.

use std::path::Path;

use fail::fail_point;
use roadstead_types::Clock;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::{Names, OpenError, Options};

const RELEASE: &str = env!("CARGO_PKG_VERSION");

const BOOKKEEPING: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    min_compatible INTEGER NOT NULL,
    release TEXT NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT";

/// One step of a schema.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Counted from 1, without gaps.
    pub version: u32,
    /// For people.
    pub name: &'static str,
    /// The oldest version whose programs still work after this one.
    pub min_compatible: u32,
    /// The statements.
    pub sql: &'static str,
}

impl Migration {
    /// Whether a list is numbered without gaps and asks for no program that does not exist.
    pub fn are_in_order(migrations: &[Self]) -> bool {
        migrations.iter().zip(1..).all(|(migration, version)| {
            migration.version == version && (1..=version).contains(&migration.min_compatible)
        })
    }
}

/// Brings the bookkeeping of a release that kept it elsewhere into the empty table `schema_migrations`, with the columns
/// `version`, `name`, `min_compatible`, `release` and `applied_at`.
pub type TakeOver = fn(&Connection) -> rusqlite::Result<()>;

/// Applies what is missing. The lock on the directory keeps others out.
pub(crate) fn run(
    connection: &mut Connection,
    file: &Path,
    options: &Options,
    clock: &Clock,
) -> Result<(), OpenError> {
    let Options {
        names, migrations, ..
    } = *options;
    debug_assert!(Migration::are_in_order(migrations));
    let sqlite = |source| OpenError::Sqlite {
        service: names.service,
        source,
    };
    prepare(connection, options.take_over).map_err(sqlite)?;
    let known = migrations.last().map_or(0, |migration| migration.version);
    if let Some((found, needed, written_by)) = newer(connection, known).map_err(sqlite)? {
        return Err(OpenError::SchemaTooNew {
            path: file.display().to_string(),
            found,
            needed,
            known,
            written_by,
            own_release: RELEASE,
        });
    }
    let applied = newest(connection).map_err(sqlite)?;
    for migration in migrations.iter().filter(|migration| migration.version > applied) {
        apply(connection, names, migration, clock).map_err(sqlite)?;
        tracing::info!(
            service = names.service,
            version = migration.version,
            name = migration.name,
            "migrated the database"
        );
    }
    Ok(())
}

fn prepare(connection: &mut Connection, take_over: Option<TakeOver>) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(BOOKKEEPING)?;
    if let Some(take_over) = take_over
        && newest(&transaction)? == 0
    {
        take_over(&transaction)?;
    }
    transaction.commit()
}

fn apply(
    connection: &mut Connection,
    names: Names,
    migration: &Migration,
    clock: &Clock,
) -> rusqlite::Result<()> {
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
    fail_point!(&format!("{}::start::before_commit", names.service));
    transaction.commit()?;
    fail_point!(&format!("{}::start::after_commit", names.service));
    // Without fail points nothing else names it.
    let _ = names;
    Ok(())
}

fn newest(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row(
        "SELECT coalesce(max(version), 0) FROM schema_migrations",
        [],
        |row| row.get(0),
    )
}

/// Gives what a newer release demands, when this one is too old for it: the version found, the one needed, the release.
fn newer(connection: &Connection, known: u32) -> rusqlite::Result<Option<(u32, u32, String)>> {
    let blocking: Option<(u32, String)> = connection
        .query_row(
            "SELECT min_compatible, release FROM schema_migrations WHERE min_compatible > ?1
             ORDER BY min_compatible DESC, version LIMIT 1",
            [known],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let Some((needed, written_by)) = blocking else {
        return Ok(None);
    };
    Ok(Some((newest(connection)?, needed, written_by)))
}
