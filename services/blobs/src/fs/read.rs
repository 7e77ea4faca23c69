//! Streams of an object's bytes.
//!
//! What the kernel has in memory is read where it is asked for: handing such a read to a thread takes longer than the
//! read. What it would have to wait for the disk for is read on a thread that may wait. Nothing is read before it is
//! asked for, so a reader that takes nothing holds a file descriptor and no memory; while it takes one chunk, the kernel
//! reads ahead.

use std::{
    fs::File,
    io::{self, IoSliceMut},
    os::unix::fs::FileExt as _,
    sync::Arc,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream, stream::BoxStream};
use rustix::{
    fs::{Advice, fadvise},
    io::{ReadWriteFlags, preadv2},
};

use super::{FsBackend, blocking, buffers::Buffers};
use crate::{error::Error, seal::Locator};

/// Small enough to stay in a core's cache from the read to the write into the socket, and that a thousand streams fit;
/// large enough that what a message costs is little beside it.
pub(super) const CHUNK: usize = 256 * 1024;

pub(crate) type ObjectChunks = BoxStream<'static, Result<Bytes, Error>>;

/// What is left to send of an object.
struct Rest {
    file: File,
    offset: u64,
    remaining: u64,
    buffers: Arc<Buffers>,
}

impl FsBackend {
    /// Streams `length` bytes from `offset`, or all that follow when `length` is 0. An answer means that the object is
    /// there and the range in it.
    pub(crate) async fn read(
        self: &Arc<Self>,
        locator: Locator,
        offset: u64,
        length: u64,
    ) -> Result<ObjectChunks, Error> {
        let file = if let Some(file) = self.store.open_object_at_once(&locator.object_key) {
            file
        } else {
            let (backend, key) = (Arc::clone(self), locator.object_key);
            blocking(move || backend.store.open_object(&key)).await??
        };
        let remaining = available(&file, locator.size, offset, length)?;
        if remaining > CHUNK as u64 {
            // Advice: without it all works, with less read ahead.
            let _ = fadvise(&file, offset, None, Advice::Sequential);
        }
        let rest = Rest {
            file,
            offset,
            remaining,
            buffers: Arc::clone(&self.buffers),
        };
        Ok(stream::try_unfold(rest, Rest::next_chunk).boxed())
    }
}

/// How many bytes of the range there are.
fn available(file: &File, expected_size: u64, offset: u64, length: u64) -> Result<u64, Error> {
    let size = file.metadata()?.len();
    if size != expected_size {
        return Err(Error::BlobUnknown);
    }
    let available = size
        .checked_sub(offset)
        .ok_or(Error::RangeNotSatisfiable { size })?;
    if available == 0 && (offset > 0 || length > 0) {
        return Err(Error::RangeNotSatisfiable { size });
    }
    Ok(if length == 0 {
        available
    } else {
        length.min(available)
    })
}

impl Rest {
    async fn next_chunk(mut self) -> Result<Option<(Bytes, Self)>, Error> {
        if self.remaining == 0 {
            return Ok(None);
        }
        let length = usize::try_from(self.remaining).map_or(CHUNK, |remaining| remaining.min(CHUNK));
        let mut buffer = self.buffers.take(length);
        let read = if let Some(read) = read_at_once(&self.file, &mut buffer, self.offset) {
            read
        } else {
            (self, buffer) = blocking(move || {
                let read: io::Result<()> = self.file.read_exact_at(&mut buffer, self.offset);
                read.map(|()| (self, buffer))
            })
            .await??;
            length
        };
        self.offset += read as u64;
        self.remaining -= read as u64;
        metrics::counter!("blobs_sent_bytes_total").increment(read as u64);
        Ok(Some((buffer.freeze(read), self)))
    }
}

/// Reads as much as takes no waiting for the disk, if that is anything.
fn read_at_once(file: &File, buffer: &mut [u8], offset: u64) -> Option<usize> {
    preadv2(
        file,
        &mut [IoSliceMut::new(buffer)],
        offset,
        ReadWriteFlags::NOWAIT,
    )
    .ok()
    .filter(|read| *read > 0)
}
