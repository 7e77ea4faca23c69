//! Streams of an object's bytes.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::mpsc, time::timeout};

use super::{FsBackend, blocking};
use crate::{error::Error, seal::Locator};

/// Large enough that a hop between threads is little beside the copy, small enough that a thousand streams fit.
const CHUNK: u64 = 512 * 1024;

/// One chunk is read ahead while the last is on its way.
const READ_AHEAD: usize = 1;

pub(crate) type ObjectChunks = mpsc::Receiver<Result<Bytes, Error>>;

impl FsBackend {
    /// Streams `length` bytes from `offset`, or all that follow when `length` is 0. An answer means that the object is
    /// there and the range in it.
    pub(crate) async fn read(
        self: &Arc<Self>,
        locator: Locator,
        offset: u64,
        length: u64,
    ) -> Result<ObjectChunks, Error> {
        let backend = Arc::clone(self);
        let (file, remaining) = blocking(move || backend.open_range(&locator, offset, length)).await??;
        let (sender, receiver) = mpsc::channel(READ_AHEAD);
        self.tasks.spawn_for_request(
            "read",
            pump(file, remaining, sender, self.limits.chunk_idle_timeout),
        );
        Ok(receiver)
    }

    fn open_range(&self, locator: &Locator, offset: u64, length: u64) -> Result<(File, u64), Error> {
        let mut file = self.store.open_object(&locator.object_key)?;
        let size = file.metadata()?.len();
        if size != locator.size {
            return Err(Error::BlobUnknown);
        }
        let available = size
            .checked_sub(offset)
            .ok_or(Error::RangeNotSatisfiable { size })?;
        if available == 0 && (offset > 0 || length > 0) {
            return Err(Error::RangeNotSatisfiable { size });
        }
        if offset > 0 {
            file.seek(SeekFrom::Start(offset))?;
        }
        Ok((
            file,
            if length == 0 {
                available
            } else {
                length.min(available)
            },
        ))
    }
}

async fn pump(
    mut file: File,
    mut remaining: u64,
    chunks: mpsc::Sender<Result<Bytes, Error>>,
    idle_limit: Duration,
) {
    while remaining > 0 {
        let read = blocking(move || read_chunk(&mut file, remaining).map(|chunk| (file, chunk))).await;
        let chunk = match read.flatten() {
            Ok((reader, chunk)) => {
                file = reader;
                chunk
            }
            Err(error) => {
                let _ = timeout(idle_limit, chunks.send(Err(error))).await;
                return;
            }
        };
        let length = chunk.len() as u64;
        remaining -= length;
        metrics::counter!("blobs_sent_bytes_total").increment(length);
        // A reader that is gone or asleep ends the stream; there is nobody to tell.
        if !matches!(timeout(idle_limit, chunks.send(Ok(chunk))).await, Ok(Ok(()))) {
            return;
        }
    }
}

fn read_chunk(file: &mut File, remaining: u64) -> Result<Bytes, Error> {
    let length = remaining.min(CHUNK);
    let mut buffer = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    file.take(length).read_to_end(&mut buffer)?;
    if buffer.len() as u64 == length {
        Ok(buffer.into())
    } else {
        Err(Error::Storage(std::io::ErrorKind::UnexpectedEof.into()))
    }
}
