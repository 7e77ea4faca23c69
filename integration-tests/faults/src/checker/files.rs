//! The walk over the store.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use roadstead_types::{Digest, DigestAlgorithm};
use rusqlite::Connection;
use sha2::{Digest as _, Sha256, Sha512};

use super::{Invariant, Problems, rows};

/// A session, as far as its leftovers go.
struct Session {
    is_finished: bool,
    epoch: i64,
}

/// Checks that every blob has its bytes, that every file has the digest in its name, and that what no blob has is known
/// to the reaper. `root` is the directory of blobs.
pub(super) fn check(metadata: &Connection, root: &Path, problems: &mut Problems) -> Result<()> {
    // Files first: one that appears in the database after this look is not held against it.
    let objects = walk(&root.join("blobs"))?;
    let uploads = walk(&root.join("uploads"))?;
    let blobs: BTreeMap<String, i64> = rows(metadata, "SELECT object_key, size FROM blobs", |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?
    .into_iter()
    .collect();
    let doomed: BTreeSet<String> = rows(metadata, "SELECT object_key FROM object_deletions", |row| {
        row.get(0)
    })?
    .into_iter()
    .collect();
    let sessions = sessions(metadata)?;

    for (key, size) in &blobs {
        match std::fs::metadata(root.join(key)) {
            Ok(file) if i64::try_from(file.len())? == *size => {}
            Ok(file) => problems.add(
                Invariant::ObjectIntact,
                format!("{key} has {} bytes instead of {size}", file.len()),
            ),
            Err(error) => problems.add(Invariant::ObjectPresent, format!("{key}: {error}")),
        }
    }
    for path in objects {
        let key = path.strip_prefix(root)?.display().to_string();
        check_object(&path, &key, problems)?;
        let object_id = key.rsplit_once('.').map_or("", |(_, id)| id);
        let in_session = sessions
            .get(object_id)
            .is_some_and(|session| !session.is_finished);
        if !blobs.contains_key(&key) && !doomed.contains(&key) && !in_session && path.exists() {
            problems.add(Invariant::LeftoverCollectable, format!("nothing knows {key}"));
        }
    }
    for path in uploads {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let (id, epoch) = name.split_once('.').context("a name in uploads/")?;
        let epoch: i64 = epoch.parse().context("an epoch in uploads/")?;
        let is_reaped = sessions
            .get(id)
            .is_some_and(|session| !session.is_finished && epoch <= session.epoch);
        if !is_reaped && path.exists() {
            problems.add(
                Invariant::LeftoverCollectable,
                format!("no session will take uploads/{name} along"),
            );
        }
    }
    Ok(())
}

fn sessions(metadata: &Connection) -> Result<BTreeMap<String, Session>> {
    let sql = "SELECT id, status = 'finished', epoch FROM upload_sessions";
    let sessions = rows(metadata, sql, |row| {
        let session = Session {
            is_finished: row.get(1)?,
            epoch: row.get(2)?,
        };
        Ok((row.get(0)?, session))
    })?;
    Ok(sessions.into_iter().collect())
}

/// `blobs/<algorithm>/<aa>/<hex>.<object-id>`.
fn check_object(path: &Path, key: &str, problems: &mut Problems) -> Result<()> {
    let segments: Vec<&str> = key.split('/').collect();
    let named = match segments[..] {
        ["blobs", algorithm, shard, name] => name
            .split_once('.')
            .filter(|(hex, _)| hex.starts_with(shard))
            .and_then(|(hex, _)| Digest::parse(&format!("{algorithm}:{hex}")).ok()),
        _ => None,
    };
    let Some(digest) = named else {
        problems.add(
            Invariant::ObjectIntact,
            format!("{key} is not the name of an object"),
        );
        return Ok(());
    };
    // Deleted since it was listed.
    let Ok(file) = File::open(path) else {
        return Ok(());
    };
    if hash(file, digest.algorithm())? != digest {
        problems.add(Invariant::ObjectIntact, format!("{key} has other bytes"));
    }
    Ok(())
}

fn hash(mut file: File, algorithm: DigestAlgorithm) -> Result<Digest> {
    let mut buffer = vec![0; 256 * 1024];
    let (mut sha256, mut sha512) = (Sha256::new(), Sha512::new());
    loop {
        let read = file.read(&mut buffer)?;
        match algorithm {
            _ if read == 0 => break,
            DigestAlgorithm::Sha256 => sha256.update(&buffer[..read]),
            DigestAlgorithm::Sha512 => sha512.update(&buffer[..read]),
        }
    }
    Ok(match algorithm {
        DigestAlgorithm::Sha256 => Digest::from_hash(algorithm, &sha256.finalize()),
        DigestAlgorithm::Sha512 => Digest::from_hash(algorithm, &sha512.finalize()),
    })
}

/// All files below a directory, which need not exist yet.
pub(super) fn walk(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(files),
        Err(error) => return Err(error).with_context(|| directory.display().to_string()),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.extend(walk(&entry.path())?);
        } else {
            files.push(entry.path());
        }
    }
    Ok(files)
}
