//! A bounded pool of read-only connections.

use std::{path::Path, sync::Arc};

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Failure, connection};

#[derive(Debug)]
pub(crate) struct Readers {
    pool: Arc<Pool>,
}

#[derive(Debug)]
struct Pool {
    /// As many permits as connections: who has a permit finds an idle connection.
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(crate) fn open(file: &Path, size: usize) -> rusqlite::Result<Self> {
        let idle = (0..size)
            .map(|_| connection::for_reading(file))
            .collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(Self {
            pool: Arc::new(Pool {
                permits: Arc::new(Semaphore::new(size)),
                idle: Mutex::new(idle),
            }),
        })
    }

    /// Runs a short read on the caller's own thread.
    pub(crate) async fn run<T, E: From<Failure>>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let _permit = self.pool.permit().await?;
        self.pool.with_connection(work)
    }

    /// Runs a long read on a thread for blocking work, in one snapshot.
    pub(crate) async fn run_blocking<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Failure> + Send + 'static,
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        let pool = self.pool.clone();
        let permit = pool.permit().await?;
        let task = tokio::task::spawn_blocking(move || {
            // The thread goes on when the caller does not, so the permit goes along with the connection.
            let _permit = permit;
            pool.with_connection(|connection| in_snapshot(connection, work))
        });
        task.await
            .map_err(|error| Failure::Internal(format!("a read failed: {error}")))?
    }
}

/// Runs `work` in one transaction: all that it reads is of one moment.
pub(crate) fn in_snapshot<T, E: From<Failure>>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, E>,
) -> Result<T, E> {
    execute(connection, "BEGIN")?;
    let ended = End(connection);
    let result = work(connection);
    drop(ended);
    result
}

/// Ends the transaction even when the work panics, because the connection is used again.
struct End<'a>(&'a Connection);

impl Drop for End<'_> {
    fn drop(&mut self) {
        if let Err(error) = execute(self.0, "COMMIT") {
            tracing::error!(%error, "a snapshot did not end");
        }
    }
}

fn execute(connection: &Connection, statement: &str) -> Result<(), Failure> {
    connection.prepare_cached(statement)?.execute([])?;
    Ok(())
}

impl Pool {
    async fn permit(&self) -> Result<OwnedSemaphorePermit, Failure> {
        Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map_err(|_| Failure::Internal("the readers are closed".to_owned()))
    }

    fn with_connection<T, E: From<Failure>>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        // Given back even when `work` panics: a reader has no state to be left half done.
        let lent = Lent {
            pool: self,
            connection: self.idle.lock().pop(),
        };
        match &lent.connection {
            Some(connection) => work(connection),
            None => Err(Failure::Internal("no reader is idle".to_owned()).into()),
        }
    }
}

struct Lent<'a> {
    pool: &'a Pool,
    connection: Option<Connection>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.idle.lock().push(connection);
        }
    }
}
