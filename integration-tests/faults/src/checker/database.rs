//! What the databases say must agree with itself.

use anyhow::Result;
use roadstead_types::Digest;
use rusqlite::Connection;

use super::{Invariant, Problems, rows};

/// Asks `SQLite` to look over its file.
pub(super) fn check_file(connection: &Connection, name: &str, problems: &mut Problems) {
    let said = rows(connection, "PRAGMA integrity_check", |row| {
        row.get::<_, String>(0)
    });
    match said {
        Ok(said) if said == ["ok"] => {}
        other => problems.add(Invariant::DatabaseIntact, format!("{name}: {other:?}")),
    }
    let broken = rows(connection, "PRAGMA foreign_key_check", |row| {
        row.get::<_, String>(0)
    });
    match broken {
        Ok(broken) if broken.is_empty() => {}
        other => {
            let what = format!("{name}: rows without what they refer to: {other:?}");
            problems.add(Invariant::DatabaseIntact, what);
        }
    }
}

pub(super) fn check(metadata: &Connection, problems: &mut Problems) -> Result<()> {
    check_tags(metadata, problems)?;
    check_manifests(metadata, problems)?;
    check_references(metadata, problems)
}

/// A query whose every row is a breach, told by its one column.
fn forbid(
    connection: &Connection,
    problems: &mut Problems,
    invariant: Invariant,
    what: &str,
    sql: &str,
) -> Result<()> {
    for found in rows(connection, sql, |row| row.get::<_, String>(0))? {
        problems.add(invariant, format!("{what}: {found}"));
    }
    Ok(())
}

fn check_tags(metadata: &Connection, problems: &mut Problems) -> Result<()> {
    for (what, sql) in [
        (
            "a tag points at nothing in its repository",
            "SELECT t.name FROM tags t LEFT JOIN manifests m ON m.id = t.manifest_id
             WHERE m.id IS NULL OR m.repository_id <> t.repository_id",
        ),
        (
            "a tag is not where its history ends",
            "SELECT t.name FROM tags t JOIN manifests m ON m.id = t.manifest_id LEFT JOIN tag_history h
                 ON h.repository_id = t.repository_id AND h.tag = t.name AND h.version = t.version
             WHERE h.digest IS NOT m.digest OR t.version <> (SELECT max(version) FROM tag_history l
                 WHERE l.repository_id = t.repository_id AND l.tag = t.name)",
        ),
        (
            "a history ends with a target, but the tag is not there",
            "SELECT h.tag FROM tag_history h WHERE h.digest IS NOT NULL
                 AND h.version = (SELECT max(version) FROM tag_history l
                     WHERE l.repository_id = h.repository_id AND l.tag = h.tag)
                 AND NOT EXISTS (SELECT 1 FROM tags t
                     WHERE t.repository_id = h.repository_id AND t.name = h.tag)",
        ),
        (
            "a history has a gap, or a wrong previous value",
            "SELECT h.tag || ' ' || h.version FROM tag_history h LEFT JOIN tag_history p
                 ON p.repository_id = h.repository_id AND p.tag = h.tag AND p.version = h.version - 1
             WHERE p.digest IS NOT h.previous_digest OR (h.version > 1 AND p.version IS NULL)",
        ),
    ] {
        forbid(metadata, problems, Invariant::TagPointsSomewhere, what, sql)?;
    }
    Ok(())
}

fn check_manifests(metadata: &Connection, problems: &mut Problems) -> Result<()> {
    let sql = "SELECT digest, size, content FROM manifests";
    let manifests = rows(metadata, sql, |row| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, i64>(1)?,
            row.get::<_, Vec<u8>>(2)?,
        ))
    })?;
    for (text, size, content) in manifests {
        let digest = Digest::parse(&text)?;
        if Digest::of(digest.algorithm(), &content) != digest || usize::try_from(size)? != content.len() {
            problems.add(Invariant::ManifestIntact, text);
        }
    }
    Ok(())
}

/// Under strict validation, which the tests run with.
fn check_references(metadata: &Connection, problems: &mut Problems) -> Result<()> {
    for (what, sql) in [
        (
            "a blob that a manifest names is not in the repository",
            "SELECT e.child_digest FROM manifest_edges e WHERE e.kind IN ('config', 'layer')
                 AND NOT EXISTS (SELECT 1 FROM blobs b JOIN blob_links l ON l.blob_id = b.id
                     WHERE b.digest = e.child_digest AND b.state = 'live' AND l.repository_id = e.repository_id)",
        ),
        (
            "a manifest that an index names is not in the repository",
            "SELECT e.child_digest FROM manifest_edges e WHERE e.kind = 'child'
                 AND NOT EXISTS (SELECT 1 FROM manifests m
                     WHERE m.digest = e.child_digest AND m.repository_id = e.repository_id)",
        ),
        (
            "a link leads to a blob that is not live",
            "SELECT b.digest FROM blob_links l JOIN blobs b ON b.id = l.blob_id WHERE b.state <> 'live'",
        ),
        (
            "a blob waits for its deletion",
            "SELECT b.digest FROM blobs b JOIN object_deletions d ON d.object_key = b.object_key",
        ),
    ] {
        forbid(metadata, problems, Invariant::ReferencesHeld, what, sql)?;
    }
    Ok(())
}
