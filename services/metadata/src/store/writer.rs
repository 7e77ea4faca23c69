//! The writer: one thread that owns the writing connection and commits in groups.
//!
//! With `synchronous=FULL` a commit costs a disk flush. Whatever waits when the writer is free shares one: each request
//! runs in a savepoint of its own, so that one that fails takes nothing with it, and all are answered after the commit.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fail::fail_point;
use roadstead_types::Clock;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{Lifetimes, Result, Tx};
use crate::error::Error;

/// Requests that share a commit; more would make the first wait long for the last.
const MAX_GROUP: usize = 128;

/// Beyond this size the log is merged into the database and begun anew, after waiting for whoever reads from it. SQLite
/// by itself begins it anew only when it happens that nobody reads, which under steady load may be never.
pub(super) const LOG_LIMIT: u32 = 64 * 1024 * 1024;

/// How long a request may wait for a place in the queue before it is refused as overload.
const QUEUE_WAIT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Writer {
    queue: Option<mpsc::Sender<Box<dyn Request>>>,
    thread: Option<JoinHandle<()>>,
}

/// A piece of work in the queue.
trait Request: Send {
    fn name(&self) -> &'static str;
    /// Runs the work; false asks to roll it back.
    fn run(&mut self, tx: &Tx<'_>) -> bool;
    /// Answers the caller, after the commit succeeded or not.
    fn answer(self: Box<Self>, commit: Result<(), CommitFailure>);
}

#[derive(Debug, Clone, Copy)]
struct CommitFailure {
    full: bool,
}

struct Work<T, F> {
    name: &'static str,
    /// Taken when it runs.
    task: Option<F>,
    result: Result<T>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T, F> Request for Work<T, F>
where
    T: Send,
    F: FnOnce(&Tx<'_>) -> Result<T> + Send,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn run(&mut self, tx: &Tx<'_>) -> bool {
        let Some(task) = self.task.take() else {
            return false;
        };
        self.result = catch_unwind(AssertUnwindSafe(|| task(tx)))
            .unwrap_or_else(|panic| Err(Error::Internal(format!("panic: {}", panic_text(panic.as_ref())))));
        self.result.is_ok()
    }

    fn answer(self: Box<Self>, commit: Result<(), CommitFailure>) {
        let result = match commit {
            // One that failed by itself keeps its own error; the lost commit takes what was good and what never ran.
            Err(CommitFailure { full }) if self.task.is_some() || self.result.is_ok() => {
                Err(Error::CommitFailed { full })
            }
            _ => self.result,
        };
        // A caller that went away does not undo what is durable.
        let _ = self.reply.send(result);
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("unknown")
}

impl Writer {
    pub(super) fn start(
        connection: Connection,
        clock: Clock,
        lifetimes: Lifetimes,
        queue: usize,
    ) -> std::io::Result<Self> {
        let log = format!("{}-wal", connection.path().unwrap_or_default()).into();
        let (sender, receiver) = mpsc::channel(queue);
        let thread = std::thread::Builder::new()
            .name("metadata-writer".to_owned())
            .spawn(move || {
                Loop {
                    connection,
                    clock,
                    lifetimes,
                    receiver,
                    log,
                    next_merge: LOG_LIMIT.into(),
                }
                .run();
            })?;
        Ok(Self {
            queue: Some(sender),
            thread: Some(thread),
        })
    }

    pub(super) async fn run<T, F>(&self, name: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T> + Send + 'static,
    {
        let closed = || Error::Internal("the writer stopped".to_owned());
        let (reply, answer) = oneshot::channel();
        let request = Work {
            name,
            task: Some(work),
            result: Err(closed()),
            reply,
        };
        let queue = self.queue.as_ref().ok_or_else(closed)?;
        queue
            .send_timeout(Box::new(request), QUEUE_WAIT)
            .await
            .map_err(|error| match error {
                mpsc::error::SendTimeoutError::Timeout(_) => Error::Overloaded,
                mpsc::error::SendTimeoutError::Closed(_) => closed(),
            })?;
        answer.await.map_err(|_| closed())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // The thread finishes what is queued, then closes the database.
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the metadata writer panicked");
        }
    }
}

struct Loop {
    connection: Connection,
    clock: Clock,
    lifetimes: Lifetimes,
    receiver: mpsc::Receiver<Box<dyn Request>>,
    /// The write-ahead log.
    log: PathBuf,
    /// The log's size at which it is merged.
    next_merge: u64,
}

impl Loop {
    fn run(mut self) {
        while let Some(first) = self.receiver.blocking_recv() {
            let started = Instant::now();
            let mut group = Vec::new();
            let commit = self.commit_group(first, &mut group);
            if let Err(error) = &commit {
                tracing::error!(%error, requests = group.len(), "a group of transactions did not commit");
                self.leave_transaction();
            }
            let failure = commit.map_err(|error| CommitFailure {
                full: error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
            });
            metrics::histogram!("metadata_commit_requests")
                .record(u32::try_from(group.len()).unwrap_or(u32::MAX));
            metrics::histogram!("metadata_commit_seconds").record(started.elapsed().as_secs_f64());
            for request in group {
                fail_point!(&format!("metadata::after_commit::{}", request.name()));
                request.answer(failure);
            }
            self.bound_log();
        }
    }

    fn bound_log(&mut self) {
        let size = std::fs::metadata(&self.log).map_or(0, |log| log.len());
        if size <= self.next_merge {
            return;
        }
        fail_point!("metadata::merge::before_checkpoint");
        let busy = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
        fail_point!("metadata::merge::after_checkpoint");
        self.next_merge = if let Ok(false) = busy {
            LOG_LIMIT.into()
        } else {
            tracing::warn!(
                size,
                ?busy,
                "the write-ahead log was not merged; a read takes very long"
            );
            // Waiting for it holds up all writes, so not after each of them.
            size + u64::from(LOG_LIMIT)
        };
    }

    /// Runs `first` and whatever waits behind it, and commits. All that ran are in `group` afterwards.
    fn commit_group(
        &mut self,
        first: Box<dyn Request>,
        group: &mut Vec<Box<dyn Request>>,
    ) -> rusqlite::Result<()> {
        let mut next = Some(first);
        execute(&self.connection, "BEGIN IMMEDIATE").inspect_err(|_| group.extend(next.take()))?;
        while let Some(mut request) = next.take() {
            let ran = run_in_savepoint(&self.connection, &self.clock, &self.lifetimes, request.as_mut());
            fail_point!(&format!("metadata::before_commit::{}", request.name()));
            group.push(request);
            ran?;
            if group.len() < MAX_GROUP {
                next = self.receiver.try_recv().ok();
            }
        }
        execute(&self.connection, "COMMIT")
    }

    fn leave_transaction(&self) {
        if !self.connection.is_autocommit()
            && let Err(error) = execute(&self.connection, "ROLLBACK")
        {
            tracing::error!(%error, "cannot roll back");
        }
    }
}

/// Fails only when the whole transaction is lost: some faults, such as a full disk, end it.
fn run_in_savepoint(
    connection: &Connection,
    clock: &Clock,
    lifetimes: &Lifetimes,
    request: &mut dyn Request,
) -> rusqlite::Result<()> {
    execute(connection, "SAVEPOINT request")?;
    let kept = request.run(&Tx {
        connection,
        now: clock.unix_millis(),
        lifetimes,
    });
    let outcome = if kept { "ok" } else { "rolled_back" };
    metrics::counter!("metadata_transactions_total", "name" => request.name(), "outcome" => outcome)
        .increment(1);
    if !kept {
        execute(connection, "ROLLBACK TO request")?;
    }
    execute(connection, "RELEASE request")
}

fn execute(connection: &Connection, statement: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(statement)?.execute([]).map(|_| ())
}
