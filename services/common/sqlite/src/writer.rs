//! The writer: one thread that owns the writing connection and commits in groups.
//!
//! With `synchronous=FULL` a commit costs a disk flush. Whatever waits when the writer is free shares one: each request
//! runs in a savepoint of its own, so that one that fails takes nothing with it, and all are answered after the commit.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fail::fail_point;
use roadstead_types::Clock;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::connection::LOG_LIMIT;
use crate::{Failure, Names};

/// Requests that share a commit; more would make the first wait long for the last.
const MAX_GROUP: usize = 128;

/// How long a request may wait for a place in the queue before it is refused as overload.
const QUEUE_WAIT: Duration = Duration::from_secs(2);

type AfterCommit = Box<dyn FnOnce() + Send>;

/// A transaction of the writer, with the database's time. One process owns the file, so its clock is the database's.
pub struct Tx<'a> {
    connection: &'a Connection,
    /// Unix milliseconds; the same for the whole transaction.
    pub now: i64,
    after_commit: RefCell<Vec<AfterCommit>>,
}

impl Tx<'_> {
    /// Has something done once the transaction is durable, whether or not its caller still waits. It must be short and
    /// must not write: it holds up the writer.
    pub fn after_commit(&self, task: impl FnOnce() + Send + 'static) {
        self.after_commit.borrow_mut().push(Box::new(task));
    }
}

impl fmt::Debug for Tx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx")
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

impl Deref for Tx<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

#[derive(Debug)]
pub(crate) struct Writer {
    names: Names,
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

struct Work<T, E, F> {
    name: &'static str,
    /// Taken when it runs.
    task: Option<F>,
    result: Result<T, E>,
    after_commit: Vec<AfterCommit>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F> Request for Work<T, E, F>
where
    T: Send,
    E: From<Failure> + Send,
    F: FnOnce(&Tx<'_>) -> Result<T, E> + Send,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn run(&mut self, tx: &Tx<'_>) -> bool {
        let Some(task) = self.task.take() else {
            return false;
        };
        self.result = catch_unwind(AssertUnwindSafe(|| task(tx))).unwrap_or_else(|panic| {
            Err(Failure::Internal(format!("panic: {}", panic_text(panic.as_ref()))).into())
        });
        self.after_commit = tx.after_commit.take();
        self.result.is_ok()
    }

    fn answer(self: Box<Self>, commit: Result<(), CommitFailure>) {
        let result = match commit {
            // One that failed by itself keeps its own error; the lost commit takes what was good and what never ran.
            Err(CommitFailure { full }) if self.task.is_some() || self.result.is_ok() => {
                Err(Failure::CommitFailed { full }.into())
            }
            _ => self.result,
        };
        if result.is_ok() {
            for task in self.after_commit {
                task();
            }
        }
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
    pub(crate) fn start(
        connection: Connection,
        names: Names,
        clock: Clock,
        queue: usize,
    ) -> std::io::Result<Self> {
        let log = format!("{}-wal", connection.path().unwrap_or_default()).into();
        let (sender, receiver) = mpsc::channel(queue);
        let thread = std::thread::Builder::new()
            .name(names.thread.to_owned())
            .spawn(move || {
                Loop {
                    connection,
                    names,
                    clock,
                    receiver,
                    log,
                    next_merge: LOG_LIMIT.into(),
                }
                .run();
            })?;
        Ok(Self {
            names,
            queue: Some(sender),
            thread: Some(thread),
        })
    }

    pub(crate) async fn run<T, E, F>(&self, name: &'static str, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Failure> + Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        let closed = || Failure::Internal("the writer stopped".to_owned());
        let (reply, answer) = oneshot::channel();
        let request = Work {
            name,
            task: Some(work),
            result: Err(closed().into()),
            after_commit: Vec::new(),
            reply,
        };
        let queue = self.queue.as_ref().ok_or_else(closed)?;
        queue
            .send_timeout(Box::new(request), QUEUE_WAIT)
            .await
            .map_err(|error| match error {
                mpsc::error::SendTimeoutError::Timeout(_) => Failure::Overloaded,
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
            tracing::error!(service = self.names.service, "the database's writer panicked");
        }
    }
}

struct Loop {
    connection: Connection,
    names: Names,
    clock: Clock,
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
            metrics::histogram!(self.names.commit_requests)
                .record(u32::try_from(group.len()).unwrap_or(u32::MAX));
            metrics::histogram!(self.names.commit_seconds).record(started.elapsed().as_secs_f64());
            for request in group {
                fail_point!(&format!(
                    "{}::after_commit::{}",
                    self.names.service,
                    request.name()
                ));
                request.answer(failure);
            }
            self.bound_log();
        }
    }

    /// Merges the log after waiting for whoever reads from it. SQLite by itself begins it anew only when it happens that
    /// nobody reads, which under steady load may be never.
    fn bound_log(&mut self) {
        let size = std::fs::metadata(&self.log).map_or(0, |log| log.len());
        if size <= self.next_merge {
            return;
        }
        fail_point!(&format!("{}::merge::before_checkpoint", self.names.service));
        let busy = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
        fail_point!(&format!("{}::merge::after_checkpoint", self.names.service));
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
            let ran = self.run_in_savepoint(request.as_mut());
            fail_point!(&format!(
                "{}::before_commit::{}",
                self.names.service,
                request.name()
            ));
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

    /// Fails only when the whole transaction is lost: some faults, such as a full disk, end it.
    fn run_in_savepoint(&self, request: &mut dyn Request) -> rusqlite::Result<()> {
        execute(&self.connection, "SAVEPOINT request")?;
        let kept = request.run(&Tx {
            connection: &self.connection,
            now: self.clock.unix_millis(),
            after_commit: RefCell::default(),
        });
        let outcome = if kept { "ok" } else { "rolled_back" };
        metrics::counter!(self.names.transactions_total, "name" => request.name(), "outcome" => outcome)
            .increment(1);
        if !kept {
            execute(&self.connection, "ROLLBACK TO request")?;
        }
        execute(&self.connection, "RELEASE request")
    }
}

fn execute(connection: &Connection, statement: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(statement)?.execute([]).map(|_| ())
}
