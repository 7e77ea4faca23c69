//! A bounded pool of read-only connections.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Result, prepare};
use crate::error::{BuildError, Error};

#[derive(Debug)]
pub(super) struct Readers {
    pool: Arc<Pool>,
}

#[derive(Debug)]
struct Pool {
    /// As many permits as connections: who has a permit finds an idle connection.
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn open(file: &Path, size: usize) -> Result<Self, BuildError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut idle = Vec::with_capacity(size);
        for _ in 0..size {
            let connection = Connection::open_with_flags(file, flags)?;
            prepare(&connection)?;
            idle.push(connection);
        }
        Ok(Self {
            pool: Arc::new(Pool {
                permits: Arc::new(Semaphore::new(size)),
                idle: Mutex::new(idle),
            }),
        })
    }

    pub(super) async fn run<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let _permit = self.pool.permit().await?;
        self.pool.with_connection(work)
    }

    pub(super) async fn run_blocking<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let pool = self.pool.clone();
        let permit = pool.permit().await?;
        let task = tokio::task::spawn_blocking(move || {
            // The thread goes on when the caller does not, so the permit goes along with the connection.
            let _permit = permit;
            pool.with_connection(|connection| {
                let snapshot = connection.unchecked_transaction()?;
                work(&snapshot)
            })
        });
        task.await
            .map_err(|error| Error::Internal(format!("a read failed: {error}")))?
    }
}

impl Pool {
    async fn permit(&self) -> Result<OwnedSemaphorePermit> {
        Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map_err(|_| Error::Internal("the readers are closed".to_owned()))
    }

    fn with_connection<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        // Given back even when `work` panics: a reader has no state to be left half done.
        let lent = Lent {
            pool: self,
            connection: self.idle.lock().pop(),
        };
        match &lent.connection {
            Some(connection) => work(connection),
            None => Err(Error::Internal("no reader is idle".to_owned())),
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
