//! What the services stored, read behind their backs.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use roadstead_integration_tests::deadline::eventually;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::world::PATIENCE;

/// The files of a registry.
pub(crate) struct Store {
    data: PathBuf,
}

/// A line of a tag's history.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Change {
    pub(crate) version: i64,
    /// None when the tag was deleted.
    pub(crate) digest: Option<String>,
}

impl Store {
    pub(crate) fn new(data: PathBuf) -> Self {
        Self { data }
    }

    fn open(&self, file: &str) -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        Ok(Connection::open_with_flags(self.data.join(file), flags)?)
    }

    pub(crate) fn metadata(&self) -> Result<Connection> {
        self.open("metadata/metadata.db")
    }

    pub(crate) fn log(&self) -> Result<Connection> {
        self.open("events/events.db")
    }

    /// A connection that could write, to stand in the way of those that do.
    pub(crate) fn rival(&self, file: &str) -> Result<Connection> {
        Ok(Connection::open(self.data.join(file))?)
    }

    /// How many rows of metadata's table fulfil the condition.
    pub(crate) fn count(&self, table: &str, condition: &str) -> Result<i64> {
        let sql = format!("SELECT count(*) FROM {table} WHERE {condition}");
        Ok(self.metadata()?.query_row(&sql, [], |row| row.get(0))?)
    }

    /// The history of a tag, oldest first.
    pub(crate) fn history(&self, repository: &str, tag: &str) -> Result<Vec<Change>> {
        let connection = self.metadata()?;
        let mut statement = connection.prepare(
            "SELECT h.version, h.digest FROM tag_history h JOIN repositories r ON r.id = h.repository_id
             WHERE r.name = ?1 AND h.tag = ?2 ORDER BY h.version",
        )?;
        let changes = statement.query_map([repository, tag], |row| {
            Ok(Change {
                version: row.get(0)?,
                digest: row.get(1)?,
            })
        })?;
        Ok(changes.collect::<rusqlite::Result<_>>()?)
    }

    /// All events of the log, in its order.
    pub(crate) fn logged(&self) -> Result<Vec<Value>> {
        let connection = self.log()?;
        let mut statement = connection.prepare("SELECT cloudevent FROM event ORDER BY log_offset")?;
        let events = statement.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
        let parsed = events.map(|event| Ok(serde_json::from_slice(&event?)?));
        parsed.collect()
    }

    /// All events, once every outbox is empty: so everything that was announced is in the log.
    pub(crate) async fn events(&self) -> Result<Vec<Value>> {
        eventually("the outbox is drained", PATIENCE, async || {
            Ok((self.count("outbox", "true")? == 0).then_some(()))
        })
        .await?;
        self.logged()
    }

    /// The events with this subject, once the outbox is empty.
    pub(crate) async fn events_about(&self, subject: &str) -> Result<Vec<Value>> {
        let mut events = self.events().await?;
        events.retain(|event| event["subject"] == subject);
        Ok(events)
    }

    /// Requires that every object that metadata names is there with its size, and that both databases are sound.
    pub(crate) fn check(&self) -> Result<()> {
        for connection in [self.metadata()?, self.log()?] {
            let verdict: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
            ensure!(verdict == "ok", "{verdict}");
        }
        let connection = self.metadata()?;
        let mut statement = connection.prepare("SELECT object_key, size FROM blobs WHERE state = 'live'")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (key, size): (String, i64) = (row.get(0)?, row.get(1)?);
            let object = self.data.join("blobs").join(&key);
            let length = std::fs::metadata(&object).map(|object| object.len());
            ensure!(
                length
                    .as_ref()
                    .is_ok_and(|length| i64::try_from(*length) == Ok(size)),
                "{key}: {length:?} instead of {size}"
            );
        }
        Ok(())
    }
}

/// How many files are directly in the directory.
pub(crate) fn files_in(directory: &Path) -> Result<usize> {
    Ok(std::fs::read_dir(directory)?.count())
}
