//! Pages of the log.

use roadstead_types::{RepositoryName, RepositorySet};
use rusqlite::{Connection, Rows, params};

/// Rows that one page looks at, at most: a caller who may see little of a long log gets short pages, not a slow one.
const SCAN_LIMIT: usize = 20_000;

/// Bytes of events in one page, so that it fits a message.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Which part of the log to show.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    /// The page starts behind this offset, in the direction of reading.
    pub(crate) after: Option<i64>,
    pub(crate) newest_first: bool,
    pub(crate) limit: usize,
    pub(crate) repository: Option<RepositoryName>,
    pub(crate) type_prefix: String,
    pub(crate) sight: Sight,
}

/// What a caller may see of the log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sight {
    /// Whose events are shown.
    pub(crate) readable: RepositorySet,
    /// Where audit events are shown.
    pub(crate) audited: RepositorySet,
}

impl Sight {
    fn has(&self, repository: &str, path: Option<&str>) -> bool {
        let (set, place) = match path {
            Some(path) => (&self.audited, path),
            None => (&self.readable, repository),
        };
        match RepositoryName::parse(place) {
            Ok(name) => set.contains(&name),
            // What is about the root, or about no repository, is for those who may see all.
            Err(_) => set.is_everything(),
        }
    }

    /// Whether anything about the repository is seen. The answer is the same whether or not it exists.
    fn reaches(&self, repository: &RepositoryName) -> bool {
        self.readable.contains(repository) || self.audited.contains(repository)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) offset: i64,
    pub(crate) cloudevent: Vec<u8>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) entries: Vec<Entry>,
    /// Where the next page starts; `None` at the end. A page may be short, even empty, and yet have a next one.
    pub(crate) next_after: Option<i64>,
}

impl Query {
    fn shows(&self, event_type: &str, repository: &str, path: Option<&str>) -> bool {
        event_type.starts_with(&self.type_prefix) && self.sight.has(repository, path)
    }

    pub(crate) fn run(&self, connection: &Connection) -> rusqlite::Result<Page> {
        let start = self.after.unwrap_or(if self.newest_first { i64::MAX } else { 0 });
        match &self.repository {
            Some(repository) if !self.sight.reaches(repository) => Ok(Page::default()),
            Some(repository) => {
                let mut statement = connection.prepare_cached(if self.newest_first {
                    "SELECT log_offset, type, repository, path, cloudevent FROM event
                     WHERE repository = ?1 AND log_offset < ?2 ORDER BY log_offset DESC"
                } else {
                    "SELECT log_offset, type, repository, path, cloudevent FROM event
                     WHERE repository = ?1 AND log_offset > ?2 ORDER BY log_offset"
                })?;
                self.collect(statement.query(params![repository.as_str(), start])?)
            }
            None => {
                let mut statement = connection.prepare_cached(if self.newest_first {
                    "SELECT log_offset, type, repository, path, cloudevent FROM event
                     WHERE log_offset < ?1 ORDER BY log_offset DESC"
                } else {
                    "SELECT log_offset, type, repository, path, cloudevent FROM event
                     WHERE log_offset > ?1 ORDER BY log_offset"
                })?;
                self.collect(statement.query(params![start])?)
            }
        }
    }

    fn collect(&self, mut rows: Rows<'_>) -> rusqlite::Result<Page> {
        let mut page = Page::default();
        let mut last = None;
        let mut bytes = 0;
        let mut scanned = 0;
        while let Some(row) = rows.next()? {
            if scanned == SCAN_LIMIT {
                page.next_after = last;
                break;
            }
            scanned += 1;
            let offset: i64 = row.get(0)?;
            let (repository, path) = (row.get_ref(2)?.as_str()?, row.get_ref(3)?.as_str_or_null()?);
            if self.shows(row.get_ref(1)?.as_str()?, repository, path) {
                let cloudevent = row.get_ref(4)?.as_blob()?;
                if page.entries.len() == self.limit || bytes + cloudevent.len() > PAGE_BYTES {
                    page.next_after = last;
                    break;
                }
                bytes += cloudevent.len();
                page.entries.push(Entry {
                    offset,
                    cloudevent: cloudevent.to_vec(),
                });
            }
            last = Some(offset);
        }
        Ok(page)
    }
}
