//! What the registry keeps, looked at from outside: rows of its database and files of its blobs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use rusqlite::{Connection, OpenFlags};

use crate::table::Effect;

/// Tables that say what there is.
const CONTENT: [&str; 8] = [
    "repositories",
    "blobs",
    "blob_links",
    "manifests",
    "manifest_edges",
    "referrers",
    "tags",
    "tag_history",
];
/// Tables of what is under way.
const UPLOADS: [&str; 2] = ["upload_sessions", "push_grants"];

/// The store of a running registry.
pub(crate) struct Store {
    database: PathBuf,
    blobs: PathBuf,
}

/// What is in the store at one moment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// Rows by table, and events ever written.
    content: BTreeMap<String, i64>,
    uploads: BTreeMap<String, i64>,
    /// Sizes by file.
    blob_files: BTreeMap<PathBuf, u64>,
    upload_files: BTreeMap<PathBuf, u64>,
}

impl Store {
    pub(crate) fn open(data: &Path) -> Result<Self> {
        let store = Self {
            database: data.join("metadata/metadata.db"),
            blobs: data.join("blobs"),
        };
        let snapshot = store.snapshot()?;
        // A look at the wrong place would find nothing, and nothing would ever change.
        ensure!(
            snapshot.content["manifests"] == 1 && snapshot.blob_files.len() == 2,
            "the store does not hold what was pushed: {snapshot:?}"
        );
        Ok(store)
    }

    pub(crate) fn snapshot(&self) -> Result<Snapshot> {
        let database = Connection::open_with_flags(&self.database, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .context("open metadata's database")?;
        let count = |table: &&str| -> Result<(String, i64)> {
            let count = database.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?;
            Ok(((*table).to_owned(), count))
        };
        let mut content: BTreeMap<String, i64> = CONTENT.iter().map(count).collect::<Result<_>>()?;
        let events = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'outbox'";
        content.insert(
            "events".to_owned(),
            database.query_row(events, [], |row| row.get(0))?,
        );
        Ok(Snapshot {
            content,
            uploads: UPLOADS.iter().map(count).collect::<Result<_>>()?,
            blob_files: files(&self.blobs.join("blobs"))?,
            upload_files: files(&self.blobs.join("uploads"))?,
        })
    }
}

impl Snapshot {
    /// Requires that what came after differs by no more than `effect` allows.
    pub(crate) fn check(&self, after: &Self, effect: Effect) -> Result<()> {
        if effect == Effect::Content {
            return Ok(());
        }
        ensure!(
            (&self.content, &self.blob_files) == (&after.content, &after.blob_files),
            "stored something: {:?} became {:?}",
            (&self.content, &self.blob_files),
            (&after.content, &after.blob_files)
        );
        ensure!(
            effect == Effect::Uploads
                || (&self.uploads, &self.upload_files) == (&after.uploads, &after.upload_files),
            "left an upload: {:?} became {:?}",
            (&self.uploads, &self.upload_files),
            (&after.uploads, &after.upload_files)
        );
        Ok(())
    }
}

fn files(directory: &Path) -> Result<BTreeMap<PathBuf, u64>> {
    let mut found = BTreeMap::new();
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Ok(found);
    };
    for entry in entries {
        let entry = entry?;
        // What is removed between the two looks is gone.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            found.insert(entry.path(), metadata.len());
        }
    }
    Ok(found)
}
