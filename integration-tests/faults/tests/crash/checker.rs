//! The checker finds nothing on a sound store, and notices every kind of damage.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use roadstead_faults::campaign::SETTINGS;
use roadstead_faults::checker::{self, Invariant, Problems};
use roadstead_faults::installation::Installation;
use roadstead_faults::ledger::Ledger;
use roadstead_faults::workload::Workload;
use roadstead_integration_tests::Mode;
use roadstead_integration_tests::cluster::copy_tree;
use rusqlite::Connection;

/// Some of everything.
const ACTIONS: usize = 400;
const ACTIONS_LIMIT: Duration = Duration::from_mins(1);

/// How long the reaper is given for what it will never take.
const REAP_LIMIT: Duration = Duration::from_secs(2);

type Damage = fn(&Path) -> Result<()>;

/// What is done to the files, and which invariant that breaks.
const DAMAGES: &[(&str, Invariant, Damage)] = &[
    ("an object is gone", Invariant::ObjectPresent, |data| {
        Ok(std::fs::remove_file(an_object(data)?)?)
    }),
    ("a bit of an object is another", Invariant::ObjectIntact, |data| {
        let path = an_object(data)?;
        let mut bytes = std::fs::read(&path)?;
        bytes[0] ^= 1;
        Ok(std::fs::write(path, bytes)?)
    }),
    ("an object is short", Invariant::ObjectIntact, |data| {
        let file = std::fs::File::options().write(true).open(an_object(data)?)?;
        Ok(file.set_len(1)?)
    }),
    ("an object has another's name", Invariant::ObjectIntact, |data| {
        Ok(std::fs::write(data.join("blobs/blobs/sha256/half-written"), b"")?)
    }),
    ("an object has no row", Invariant::LeftoverCollectable, |data| {
        sql(data, "metadata", "DELETE FROM blob_links; DELETE FROM blobs")
    }),
    (
        "an upload has no session",
        Invariant::LeftoverCollectable,
        |data| {
            let name = format!("blobs/uploads/{}.1", uuid::Uuid::new_v4());
            Ok(std::fs::write(data.join(name), b"lost")?)
        },
    ),
    ("a manifest has other bytes", Invariant::ManifestIntact, |data| {
        sql(
            data,
            "metadata",
            "UPDATE manifests SET content = x'7b7d' WHERE id = (SELECT min(id) FROM manifests)",
        )
    }),
    (
        "a manifest is gone from under its tag",
        Invariant::DatabaseIntact,
        |data| {
            sql(
                data,
                "metadata",
                "DELETE FROM manifests WHERE id = (SELECT min(manifest_id) FROM tags)",
            )
        },
    ),
    (
        "a page of the database is garbage",
        Invariant::DatabaseIntact,
        |data| {
            let path = data.join("metadata/metadata.db");
            let at = first_page_of(&path, "tags")?;
            let mut bytes = std::fs::read(&path)?;
            bytes[at..at + 512].fill(0xa5);
            Ok(std::fs::write(path, bytes)?)
        },
    ),
    ("a tag is gone", Invariant::TagPointsSomewhere, |data| {
        sql(
            data,
            "metadata",
            "DELETE FROM tags WHERE manifest_id = (SELECT min(manifest_id) FROM tags)",
        )
    }),
    (
        "a tag points elsewhere than its history",
        Invariant::TagPointsSomewhere,
        |data| {
            sql(
                data,
                "metadata",
                "UPDATE tags SET manifest_id = (SELECT min(m.id) FROM manifests m
                 WHERE m.repository_id = tags.repository_id AND m.id <> tags.manifest_id)",
            )
        },
    ),
    (
        "a line of a history is gone",
        Invariant::TagPointsSomewhere,
        |data| {
            sql(
            data,
            "metadata",
            "DELETE FROM tag_history WHERE version = 1 AND EXISTS (SELECT 1 FROM tag_history h
                 WHERE h.repository_id = tag_history.repository_id AND h.tag = tag_history.tag AND h.version = 2)",
        )
        },
    ),
    (
        "a layer is not in the repository",
        Invariant::ReferencesHeld,
        |data| {
            sql(
                data,
                "metadata",
                "DELETE FROM blob_links WHERE EXISTS (SELECT 1 FROM manifest_edges e JOIN blobs b
                 ON b.digest = e.child_digest WHERE b.id = blob_links.blob_id)",
            )
        },
    ),
    ("an event is gone", Invariant::Announced, |data| {
        sql(
            data,
            "events",
            "DELETE FROM event WHERE log_offset = (SELECT min(log_offset) FROM event WHERE type LIKE '%.push.v1')",
        )
    }),
    ("the last event is gone", Invariant::Announced, |data| {
        sql(
            data,
            "events",
            "DELETE FROM event WHERE log_offset >= (SELECT max(log_offset) FROM event WHERE type LIKE '%.push.v1');
             UPDATE log_partition SET next_offset = (SELECT max(log_offset) + 1 FROM event)",
        )
    }),
    ("an event came twice", Invariant::Announced, |data| {
        sql(data, "events", &add_event("cloudevent", "type LIKE '%.push.v1'"))
    }),
    (
        "an event tells what did not happen",
        Invariant::Announced,
        |data| {
            let invented = "json_set(cloudevent, '$.data.request_id', 'nobody')";
            sql(
                data,
                "events",
                &add_event(&format!("cast({invented} AS BLOB)"), "type LIKE '%.push.v1'"),
            )
        },
    ),
];

/// What only a client sees: the databases agree with themselves.
const LOSSES: &[(&str, Damage)] = &[
    ("an acknowledged blob is gone", |data| {
        sql(
            data,
            "metadata",
            "DELETE FROM blob_links WHERE NOT EXISTS (SELECT 1 FROM manifest_edges e JOIN blobs b
                 ON b.digest = e.child_digest WHERE b.id = blob_links.blob_id)",
        )
    }),
    ("a tag is where it was before", |data| {
        sql(
            data,
            "metadata",
            "CREATE TEMP TABLE last AS SELECT repository_id, name, version FROM tags WHERE version > 1;
             UPDATE tags SET version = version - 1, manifest_id = coalesce((SELECT m.id FROM tag_history h
                 JOIN manifests m ON m.repository_id = h.repository_id AND m.digest = h.digest
                 WHERE h.repository_id = tags.repository_id AND h.tag = tags.name
                     AND h.version = tags.version - 1), manifest_id);
             DELETE FROM tag_history WHERE EXISTS (SELECT 1 FROM last l WHERE l.repository_id = tag_history.repository_id
                 AND l.name = tag_history.tag AND l.version = tag_history.version)",
        )
    }),
    ("a tag is there that nobody pushed", |data| {
        sql(
            data,
            "metadata",
            "INSERT INTO tags SELECT repository_id, 'nobodys', manifest_id, 1, 0 FROM tags LIMIT 1",
        )
    }),
    ("a referrer is not listed", |data| {
        sql(data, "metadata", "DELETE FROM referrers")
    }),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_checker_notices_every_kind_of_damage() -> Result<()> {
    let (_keep, sound, ledger) = a_used_store().await?;
    for (what, invariant, damage) in DAMAGES {
        let copy = copy_of(&sound)?;
        damage(copy.path()).context(*what)?;
        let mut problems = Problems::default();
        checker::check_store(copy.path(), &mut problems).context(*what)?;
        if *invariant == Invariant::Announced {
            checker::check_events(copy.path(), &ledger, &mut problems).context(*what)?;
        }
        ensure!(
            problems.invariants().contains(invariant),
            "{what}: {:#?}",
            problems.list()
        );
    }
    for (what, damage) in LOSSES {
        let mut installation = Installation::new(Mode::AllInOne, &SETTINGS).await?;
        copy_tree(&sound, &installation.data())?;
        damage(&installation.data()).context(*what)?;
        installation.start_all().await?;
        let mut problems = Problems::default();
        checker::check_api(&installation.developer().await?, &ledger, &mut problems).await?;
        installation.stop_all().await?;
        let noticed = problems.invariants().contains(&Invariant::Acknowledged);
        ensure!(noticed, "{what}: {:#?}", problems.list());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_checker_notices_what_the_reaper_does_not_take() -> Result<()> {
    let (_keep, sound, _) = a_used_store().await?;
    let mut installation = Installation::new(Mode::AllInOne, &SETTINGS).await?;
    copy_tree(&sound, &installation.data())?;
    let lost = installation
        .data()
        .join(format!("blobs/uploads/{}.1", uuid::Uuid::new_v4()));
    std::fs::write(lost, b"lost")?;
    installation.start_all().await?;
    let mut problems = Problems::default();
    checker::collect(&mut installation, REAP_LIMIT, &mut problems).await?;
    ensure!(
        problems.invariants().contains(&Invariant::NothingLeft),
        "{problems:#?}"
    );
    installation.stop_all().await
}

/// The data of a registry that was used and stopped, on which the checker finds nothing.
async fn a_used_store() -> Result<(Installation, PathBuf, Ledger)> {
    let mut installation = Installation::new(Mode::AllInOne, &SETTINGS).await?;
    installation.start_all().await?;
    let registry = installation.developer().await?;
    let running = Workload::new(&registry, 1).await?.start();
    running.until(ACTIONS, ACTIONS_LIMIT).await?;
    let workload = running.rest().await?;
    let ledger = workload.ledger();
    let problems = checker::check(&registry, &installation.data(), &ledger).await?;
    ensure!(problems.list().is_empty(), "{problems:#?}");
    installation.stop_all().await?;
    let data = installation.data();
    Ok((installation, data, ledger))
}

fn copy_of(data: &Path) -> Result<tempfile::TempDir> {
    let copy = tempfile::tempdir()?;
    copy_tree(data, copy.path())?;
    Ok(copy)
}

/// A file that a blob has.
fn an_object(data: &Path) -> Result<PathBuf> {
    let key: String = database(data, "metadata")?.query_row(
        "SELECT object_key FROM blobs WHERE size > 1 ORDER BY id LIMIT 1",
        [],
        |row| row.get(0),
    )?;
    Ok(data.join("blobs").join(key))
}

fn database(data: &Path, service: &str) -> Result<Connection> {
    let connection = checker::open(data, service)?;
    // Damage keeps no rules.
    connection.pragma_update(None, "foreign_keys", false)?;
    Ok(connection)
}

/// Where a table begins in the file. Not any page will do: one that is free may hold what it likes.
fn first_page_of(database: &Path, table: &str) -> Result<usize> {
    let connection = Connection::open(database)?;
    // Else a newer copy of the page may lie in the log.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    let page: u32 = connection.query_row(
        "SELECT rootpage FROM sqlite_schema WHERE type = 'table' AND name = ?1",
        [table],
        |row| row.get(0),
    )?;
    let size: u32 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    Ok(usize::try_from((page - 1) * size)?)
}

fn sql(data: &Path, service: &str, statements: &str) -> Result<()> {
    let database = database(data, service)?;
    let before = database.total_changes();
    database.execute_batch(statements)?;
    ensure!(database.total_changes() > before, "nothing to damage");
    Ok(())
}

/// Appends an event like one that is there.
fn add_event(content: &str, like: &str) -> String {
    format!(
        "INSERT INTO event (log_offset, id, type, repository, recorded_at, cloudevent)
             SELECT (SELECT next_offset FROM log_partition), 'another', type, repository, recorded_at, {content}
             FROM event WHERE {like} LIMIT 1;
         UPDATE log_partition SET next_offset = next_offset + 1"
    )
}
