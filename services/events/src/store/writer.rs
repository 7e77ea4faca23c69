//! The one thread that writes. It takes all that waits into one transaction, so that many callers share one sync.

use std::{sync::Arc, thread};

use fail::fail_point;
use roadstead_runtime::OwnedDirectory;
use rusqlite::{Connection, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};

use super::StoreError;
use crate::cloudevent::CloudEvent;

/// Requests that may wait for the writer.
const QUEUE: usize = 256;

/// Requests that share one transaction at most.
const GROUP: usize = 64;

/// Rows that one transaction deletes at most, so that an insert never waits long behind a prune.
const PRUNE_BATCH: i64 = 1_000;

/// What an outbox gave and is no event.
#[derive(Debug)]
pub(crate) struct Rejected {
    pub(crate) id: String,
    pub(crate) problem: String,
    pub(crate) content: bytes::Bytes,
}

/// What is written at once.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) events: Vec<CloudEvent>,
    pub(crate) rejected: Vec<Rejected>,
    /// Unix milliseconds.
    pub(crate) now: i64,
}

enum Work {
    Append(Batch),
    /// Deletes events recorded before this time.
    Prune(i64),
}

struct Job {
    work: Work,
    done: oneshot::Sender<Result<usize, StoreError>>,
}

#[derive(Clone)]
pub(crate) struct Writer {
    jobs: mpsc::Sender<Job>,
}

impl Writer {
    /// Starts the thread. It ends, and gives up the lock, when the last handle is dropped.
    pub(crate) fn start(connection: Connection, directory: OwnedDirectory) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        thread::Builder::new()
            .name("events-writer".to_owned())
            .spawn(move || {
                write_all(connection, queue);
                drop(directory);
            })?;
        Ok(Self { jobs })
    }

    /// Stores events; durable when it returns. Returns how many were new.
    pub(crate) async fn append(&self, batch: Batch) -> Result<usize, StoreError> {
        self.run(Work::Append(batch)).await
    }

    /// Deletes some of the events recorded before `cutoff`, and returns how many; 0 when none are left.
    pub(crate) async fn prune(&self, cutoff: i64) -> Result<usize, StoreError> {
        self.run(Work::Prune(cutoff)).await
    }

    async fn run(&self, work: Work) -> Result<usize, StoreError> {
        let (done, result) = oneshot::channel();
        self.jobs
            .send(Job { work, done })
            .await
            .map_err(|_| StoreError::WriterGone)?;
        result.await.map_err(|_| StoreError::WriterGone)?
    }
}

fn write_all(mut connection: Connection, mut queue: mpsc::Receiver<Job>) {
    while let Some(first) = queue.blocking_recv() {
        let mut jobs = vec![first];
        while jobs.len() < GROUP
            && let Ok(job) = queue.try_recv()
        {
            jobs.push(job);
        }
        match write_group(&mut connection, &jobs) {
            Ok(results) => {
                for (job, result) in jobs.into_iter().zip(results) {
                    let _ = job.done.send(result);
                }
            }
            Err(error) => {
                for job in jobs {
                    let _ = job.done.send(Err(error.clone()));
                }
            }
        }
    }
}

/// One transaction; each job in a savepoint of its own, so that one that fails takes no other along.
fn write_group(
    connection: &mut Connection,
    jobs: &[Job],
) -> Result<Vec<Result<usize, StoreError>>, StoreError> {
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut results = Vec::with_capacity(jobs.len());
    for job in jobs {
        let savepoint = transaction.savepoint()?;
        let result = match &job.work {
            Work::Append(batch) => append(&savepoint, batch),
            Work::Prune(cutoff) => prune(&savepoint, *cutoff),
        };
        match result {
            Ok(count) => {
                savepoint.commit()?;
                results.push(Ok(count));
            }
            // Dropping the savepoint rolls it back.
            Err(error) => results.push(Err(StoreError::Sqlite(Arc::new(error)))),
        }
    }
    fail_point!("events::write::before_commit");
    transaction.commit()?;
    fail_point!("events::write::after_commit");
    Ok(results)
}

fn append(connection: &Connection, batch: &Batch) -> rusqlite::Result<usize> {
    let first: i64 = connection
        .prepare_cached("SELECT next_offset FROM log_partition WHERE partition_id = 0")?
        .query_row([], |row| row.get(0))?;
    let mut next = first;
    let mut insert = connection.prepare_cached(
        "INSERT INTO event (log_offset, id, type, repository, recorded_at, cloudevent)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO NOTHING",
    )?;
    for event in &batch.events {
        let inserted = insert.execute(params![
            next,
            event.id,
            event.r#type,
            event.repository,
            batch.now,
            &event.json[..]
        ])?;
        next += i64::try_from(inserted).unwrap_or(0);
    }
    connection
        .prepare_cached("UPDATE log_partition SET next_offset = ?1 WHERE partition_id = 0")?
        .execute([next])?;
    let mut set_aside = connection.prepare_cached(
        "INSERT INTO rejected_event (id, problem, recorded_at, content)
         VALUES (?1, ?2, ?3, ?4) ON CONFLICT (id) DO NOTHING",
    )?;
    for rejected in &batch.rejected {
        set_aside.execute(params![
            rejected.id,
            rejected.problem,
            batch.now,
            &rejected.content[..]
        ])?;
    }
    Ok(usize::try_from(next - first).unwrap_or(0))
}

/// Deletes from the old end only, so that the log stays without gaps even if the clock once went backwards.
fn prune(connection: &Connection, cutoff: i64) -> rusqlite::Result<usize> {
    let mut oldest = connection
        .prepare_cached("SELECT log_offset, recorded_at FROM event ORDER BY log_offset LIMIT ?1")?;
    let rows = oldest.query_map([PRUNE_BATCH], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
    })?;
    let mut last = None;
    for row in rows {
        let (log_offset, recorded_at) = row?;
        if recorded_at >= cutoff {
            break;
        }
        last = Some(log_offset);
    }
    let events = match last {
        Some(last) => connection
            .prepare_cached("DELETE FROM event WHERE log_offset <= ?1")?
            .execute([last])?,
        None => 0,
    };
    let rejected = connection
        .prepare_cached(
            "DELETE FROM rejected_event WHERE id IN
                 (SELECT id FROM rejected_event WHERE recorded_at < ?1 LIMIT ?2)",
        )?
        .execute([cutoff, PRUNE_BATCH])?;
    Ok(events + rejected)
}
