//! Migrations, and the bookkeeping of former releases.

use roadstead_sqlite::Migration;
use rusqlite::Connection;

/// In order. A migration never changes once it is merged.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "log",
        min_compatible: 1,
        sql: include_str!("../../migrations/sqlite/0001_log.sql"),
    },
    Migration {
        version: 2,
        name: "audit",
        // An older program would show audit events to whoever may pull.
        min_compatible: 2,
        sql: include_str!("../../migrations/sqlite/0002_audit.sql"),
    },
];

/// Takes over the table `schema_migration` that programs of the first schema kept. It stays, with an entry by which such a
/// program knows that it is too old.
pub(super) fn take_over(connection: &Connection) -> rusqlite::Result<()> {
    let there: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'schema_migration')",
        [],
        |row| row.get(0),
    )?;
    if !there {
        return Ok(());
    }
    connection.execute_batch(concat!(
        "INSERT INTO schema_migrations (version, name, min_compatible, release, applied_at)
             SELECT version, name, min_compatible, program, applied_at FROM schema_migration;
         INSERT OR IGNORE INTO schema_migration (version, name, min_compatible, program, applied_at)
             VALUES (2, 'audit', 2, '",
        env!("CARGO_PKG_VERSION"),
        "', 0);"
    ))
}
