//! One running `Append`.
//!
//! ```text
//! chunks -> pending -> batch -> +- write --+-> credit
//!           (bounded    (all    +- hash  --+   checkpoint
//!           by credit)  pending)
//! ```
//!
//! While one batch is written and hashed at the same time on two threads, the next arrives. No thread is held by a
//! stream that waits, and chunks are passed on by reference count.

use std::{
    fs::File,
    io::{self, Write as _},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, future::BoxFuture, stream::BoxStream};
use rustix::fs::{Advice, fadvise};
use tokio::{
    sync::mpsc,
    task::spawn_blocking,
    time::{Instant, timeout, timeout_at},
};
use tonic::Status;

use super::{FsBackend, Progress, blocking, store};
use crate::{
    error::Error,
    hash::Hasher,
    memory::Window,
    seal::{Lease, UploadState},
    session::Claim,
};

/// How long a stream may wait for its first credit.
const ADMISSION_WAIT: Duration = Duration::from_secs(30);

/// Every so many bytes the kernel is asked to start writing to the disk, so that Finish does not find all still to do.
const WRITEBACK_INTERVAL: u64 = 8 * 1024 * 1024;

/// So much a peer has to send within the idle limit while it is its turn: 273 bytes a second by default. A byte now and
/// then would hold memory that others wait for.
const LEAST_PROGRESS: u64 = 16 * 1024;

/// The bytes of an `Append`, in chunks.
pub(crate) type Chunks = BoxStream<'static, Result<Bytes, Status>>;

type Replies = mpsc::Sender<Result<Progress, Error>>;

/// Appends until the chunks end, and sends the last checkpoint. Runs in its own task, for it must not be dropped while
/// a thread still writes.
pub(super) async fn run(
    backend: Arc<FsBackend>,
    lease: Lease,
    state: Option<UploadState>,
    chunks: Chunks,
    replies: Replies,
) {
    let last = match Append::start(backend, lease, state, chunks, replies.clone()).await {
        Ok(append) => append.run().await,
        Err(error) => Err(error),
    };
    // The claim is free by now: whoever reads the last checkpoint may finish at once.
    let _ = replies.send(last.map(Progress::Checkpoint)).await;
}

struct Append {
    backend: Arc<FsBackend>,
    claim: Claim,
    window: Window,
    file: Arc<File>,
    /// Absent while a batch runs.
    hasher: Option<Hasher>,
    /// Bytes written and hashed.
    offset: u64,
    /// Bytes received.
    received: u64,
    checkpoint: u64,
    writeback: u64,
    pending: Vec<Bytes>,
    /// By when the peer has to make progress; none while it waits for credit.
    due: Option<Instant>,
    /// What it sent towards that.
    progress: u64,
    chunks: Chunks,
    replies: Replies,
}

type Batch = BoxFuture<'static, (u64, Result<Hasher, Error>)>;

impl Append {
    async fn start(
        backend: Arc<FsBackend>,
        lease: Lease,
        state: Option<UploadState>,
        chunks: Chunks,
        replies: Replies,
    ) -> Result<Self, Error> {
        let claim = backend.sessions.claim(&lease).await?;
        let window = tokio::select! {
            () = claim.superseded.cancelled() => return Err(Error::Superseded),
            () = replies.closed() => return Err(Error::CallerGone),
            opened = timeout(ADMISSION_WAIT, backend.budget.open_window()) => {
                opened.map_err(|_| Error::Overloaded)??
            }
        };
        let offset = state.as_ref().map_or(0, |state| state.offset);
        let (file, hasher, claim) = {
            let backend = Arc::clone(&backend);
            blocking(move || backend.resume(&lease, state, claim)).await??
        };
        Ok(Self {
            backend,
            claim,
            window,
            file: Arc::new(file),
            hasher: Some(hasher),
            offset,
            received: offset,
            checkpoint: offset,
            writeback: offset,
            pending: Vec::new(),
            due: None,
            progress: 0,
            chunks,
            replies,
        })
    }

    async fn run(mut self) -> Result<UploadState, Error> {
        let mut batch = None;
        let outcome = self.pump(&mut batch).await;
        // Also on failure: the claim may only be given back when no thread touches the file.
        if let Some(batch) = batch {
            let _ = batch.await;
        }
        outcome?;
        self.issue_state()
    }

    async fn pump(&mut self, batch: &mut Option<Batch>) -> Result<(), Error> {
        let mut more = true;
        self.grant().await?;
        while more || batch.is_some() || !self.pending.is_empty() {
            if batch.is_none() && !self.pending.is_empty() {
                *batch = Some(self.start_batch()?);
            }
            let due = self.due;
            tokio::select! {
                biased;
                () = self.claim.superseded.cancelled() => return Err(Error::Superseded),
                () = self.replies.closed() => return Err(Error::CallerGone),
                (bytes, hasher) = running(batch) => {
                    *batch = None;
                    self.hasher = Some(hasher?);
                    self.end_batch(bytes).await?;
                }
                chunk = by(due, self.chunks.next()), if more => {
                    match chunk? {
                        Some(chunk) => self.receive(chunk)?,
                        None => more = false,
                    }
                }
            }
        }
        Ok(())
    }

    /// Sets anew by when the peer has to make progress. Without credit it has to wait for us, however long we take.
    fn expect_progress(&mut self) {
        self.progress = 0;
        let limit = self.backend.limits.chunk_idle_timeout;
        self.due = self.window.awaits_peer().then(|| Instant::now() + limit);
    }

    fn receive(&mut self, chunk: Result<Bytes, Status>) -> Result<(), Error> {
        let chunk = chunk.map_err(|status| {
            tracing::debug!(%status, "the stream of chunks broke");
            Error::CallerGone
        })?;
        let length = chunk.len() as u64;
        self.window.receive(length)?;
        self.received += length;
        self.progress += length;
        if self.progress >= LEAST_PROGRESS || !self.window.awaits_peer() {
            self.expect_progress();
        }
        let limit = self.backend.limits.max_blob_size;
        if self.received > limit {
            return Err(Error::BlobTooLarge { limit });
        }
        if length > 0 {
            self.pending.push(chunk);
        }
        Ok(())
    }

    fn start_batch(&mut self) -> Result<Batch, Error> {
        let chunks: Arc<[Bytes]> = std::mem::take(&mut self.pending).into();
        let bytes = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let mut hasher = self.hasher.take().ok_or(Error::Internal("two batches at once"))?;
        let hashing = spawn_blocking({
            let chunks = Arc::clone(&chunks);
            move || {
                for chunk in chunks.iter() {
                    hasher.update(chunk);
                }
                hasher
            }
        });
        let file = Arc::clone(&self.file);
        let begin = self.writeback;
        let end = self.offset + bytes;
        let due = end - begin >= WRITEBACK_INTERVAL;
        if due {
            self.writeback = end;
        }
        let reserve = self.backend.limits.disk_reserve;
        let writing = spawn_blocking(move || -> io::Result<()> {
            store::require_room(&file, bytes, reserve)?;
            for chunk in chunks.iter() {
                (&*file).write_all(chunk)?;
            }
            if due {
                // Dropping clean pages is the side effect, starting the write of dirty ones is what this is for. It is
                // advice: whether bytes are durable shows when they are synced.
                let _ = fadvise(
                    &*file,
                    begin,
                    std::num::NonZeroU64::new(end - begin),
                    Advice::DontNeed,
                );
            }
            Ok(())
        });
        Ok(Box::pin(async move {
            let (hasher, written) = tokio::join!(hashing, writing);
            (bytes, settle(hasher, written))
        }))
    }

    async fn end_batch(&mut self, bytes: u64) -> Result<(), Error> {
        self.offset += bytes;
        metrics::counter!("blobs_received_bytes_total").increment(bytes);
        self.window.release(bytes);
        self.grant().await?;
        if self.offset - self.checkpoint >= self.backend.limits.checkpoint_interval {
            let state = self.issue_state()?;
            self.reply(Progress::Checkpoint(state)).await?;
        }
        Ok(())
    }

    async fn grant(&mut self) -> Result<(), Error> {
        match self.window.grant() {
            0 => Ok(()),
            credit => {
                if self.due.is_none() {
                    self.expect_progress();
                }
                self.reply(Progress::Credit(credit)).await
            }
        }
    }

    /// Makes the state of all bytes so far, and remembers it as the one to be believed.
    fn issue_state(&mut self) -> Result<UploadState, Error> {
        let hasher = self
            .hasher
            .as_ref()
            .ok_or(Error::Internal("a state in the middle of a batch"))?;
        let state = UploadState {
            offset: self.offset,
            hash: hasher.save(),
        };
        *self.claim.last_issued = Some(state.clone());
        self.checkpoint = self.offset;
        Ok(state)
    }

    async fn reply(&mut self, progress: Progress) -> Result<(), Error> {
        match timeout(
            self.backend.limits.chunk_idle_timeout,
            self.replies.send(Ok(progress)),
        )
        .await
        {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Error::CallerGone),
            Err(_) => Err(Error::Idle),
        }
    }
}

/// Waits for the next chunk until `due`.
async fn by<T>(due: Option<Instant>, next: impl Future<Output = T>) -> Result<T, Error> {
    match due {
        Some(due) => timeout_at(due, next).await.map_err(|_| Error::Idle),
        None => Ok(next.await),
    }
}

/// Waits for the batch if there is one, else for ever.
async fn running(batch: &mut Option<Batch>) -> (u64, Result<Hasher, Error>) {
    match batch {
        Some(batch) => batch.await,
        None => std::future::pending().await,
    }
}

fn settle<E>(hasher: Result<Hasher, E>, written: Result<io::Result<()>, E>) -> Result<Hasher, Error> {
    match (hasher, written) {
        (Ok(hasher), Ok(Ok(()))) => Ok(hasher),
        (_, Ok(Err(error))) => Err(error.into()),
        _ => Err(Error::Internal("a worker thread panicked")),
    }
}

impl FsBackend {
    /// Opens the bytes and takes up the hash where the state left it. Blocks.
    fn resume(
        &self,
        lease: &Lease,
        state: Option<UploadState>,
        mut claim: Claim,
    ) -> Result<(File, Hasher, Claim), Error> {
        let Some(state) = state.filter(|state| state.offset > 0) else {
            *claim.last_issued = None;
            let file = self.store.open_upload(lease, 0)?;
            return Ok((file, Hasher::new(lease.algorithm), claim));
        };
        let believed = claim.last_issued.as_ref() == Some(&state);
        // From here on the file may change, and nothing is believed until the next state is issued.
        *claim.last_issued = None;
        let file = self.store.open_upload(lease, state.offset)?;
        let hasher = if believed {
            Hasher::restore(lease.algorithm, &state.hash)
                .ok_or(Error::UploadInvalid("its hash is not a state"))?
        } else {
            let hasher = store::rehash(
                &file,
                state.offset,
                Hasher::new(lease.algorithm),
                &claim.superseded,
            )?;
            if hasher.save() != state.hash {
                return Err(Error::UploadInvalid(
                    "its bytes are not those that the state describes",
                ));
            }
            hasher
        };
        Ok((file, hasher, claim))
    }
}
