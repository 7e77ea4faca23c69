//! What must hold after any crash, checked from outside: in the files, in the databases and over the API.

mod api;
mod database;
mod events;
mod files;
mod leftovers;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use roadstead_integration_tests::{Registry, deadline::eventually};
use rusqlite::{Connection, OpenFlags, Row};

pub use self::api::check as check_api;
pub use self::events::{check as check_events, check_listed as check_listed_events};
pub use self::leftovers::{REAP_LIMIT, collect};
use crate::ledger::Ledger;

/// What an invariant is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// `SQLite` finds its files in order.
    DatabaseIntact,
    /// A tag points at a manifest of its repository, and is where its history says.
    TagPointsSomewhere,
    /// A manifest's bytes have its digest.
    ManifestIntact,
    /// What a manifest names is in its repository.
    ReferencesHeld,
    /// The bytes of every blob are there.
    ObjectPresent,
    /// A file has the digest in its name, and the size in the database.
    ObjectIntact,
    /// A file that no blob has will be taken away by the reaper.
    LeftoverCollectable,
    /// When the reaper is through, nothing is left.
    NothingLeft,
    /// What was acknowledged is there; nothing is there that nobody asked for.
    Acknowledged,
    /// Everything that happened was announced once, and nothing else.
    Announced,
}

/// A breach of an invariant.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Which one.
    pub invariant: Invariant,
    /// Where.
    pub what: String,
}

/// A list of breaches.
#[derive(Debug, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Notes a breach.
    pub fn add(&mut self, invariant: Invariant, what: impl Into<String>) {
        let what = what.into();
        self.0.push(Problem { invariant, what });
    }

    /// The breaches.
    pub fn list(&self) -> &[Problem] {
        &self.0
    }

    /// Which invariants are broken.
    pub fn invariants(&self) -> BTreeSet<Invariant> {
        self.0.iter().map(|problem| problem.invariant).collect()
    }
}

/// The outbox is drained in well under a second, and a lease of a dead process ends after one.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// Checks everything, on a registry that runs and that nobody uses meanwhile.
pub async fn check(registry: &Registry, data: &Path, ledger: &Ledger) -> Result<Problems> {
    let mut problems = Problems::default();
    for violation in ledger.violations() {
        problems.add(Invariant::Acknowledged, violation.clone());
    }
    let metadata = open(data, "metadata")?;
    eventually("the outbox is drained", DRAIN_LIMIT, async || {
        let waiting: i64 = metadata.query_row("SELECT count(*) FROM outbox", [], |row| row.get(0))?;
        Ok((waiting == 0).then_some(()))
    })
    .await?;
    check_api(registry, ledger, &mut problems).await?;
    check_store(data, &mut problems)?;
    check_events(data, ledger, &mut problems)?;
    Ok(problems)
}

/// Checks the files and the databases.
pub fn check_store(data: &Path, problems: &mut Problems) -> Result<()> {
    for name in ["metadata", "events"] {
        database::check_file(&open(data, name)?, name, problems);
    }
    if problems.invariants().contains(&Invariant::DatabaseIntact) {
        // Nothing that it says can be relied on.
        return Ok(());
    }
    let metadata = open(data, "metadata")?;
    database::check(&metadata, problems)?;
    files::check(&metadata, &data.join("blobs"), problems)
}

/// Opens the database of a service, beside the service if it runs.
pub fn open(data: &Path, service: &str) -> Result<Connection> {
    let path = data.join(service).join(format!("{service}.db"));
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&path, flags).with_context(|| path.display().to_string())?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

fn rows<T>(
    connection: &Connection,
    sql: &str,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>> {
    let mut statement = connection.prepare(sql).with_context(|| sql.to_owned())?;
    let rows = statement.query_map([], read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
