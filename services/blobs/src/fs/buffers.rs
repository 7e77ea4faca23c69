//! Memory that is used again.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::Mutex;

/// Buffers kept for the next who needs one. More may be in use; those are given back to the system.
const KEPT: usize = 32;

/// Gives out buffers. A fresh large one costs a page fault for every 4 KiB, more than the bytes that are read into it.
pub(super) struct Buffers {
    size: usize,
    free: Mutex<Vec<Box<[u8]>>>,
}

/// Memory of one chunk; comes back when the last reference to it is gone.
pub(super) struct Buffer {
    memory: Box<[u8]>,
    length: usize,
    home: Arc<Buffers>,
}

impl Buffers {
    /// Keeps buffers of `size` bytes.
    pub(super) fn new(size: usize) -> Arc<Self> {
        Arc::new(Self {
            size,
            free: Mutex::default(),
        })
    }

    /// A buffer of `length` bytes, which hold anything. Those much smaller than the size of those that are kept are made
    /// anew.
    pub(super) fn take(self: &Arc<Self>, length: usize) -> Buffer {
        let kept = if self.keeps(length) {
            self.free.lock().pop()
        } else {
            None
        };
        let capacity = if self.keeps(length) { self.size } else { length };
        Buffer {
            memory: kept.unwrap_or_else(|| vec![0; capacity].into()),
            length,
            home: Arc::clone(self),
        }
    }

    fn keeps(&self, length: usize) -> bool {
        (self.size / 4..=self.size).contains(&length)
    }
}

impl Buffer {
    /// The first `length` bytes, to be passed on by reference.
    pub(super) fn freeze(mut self, length: usize) -> Bytes {
        self.length = length.min(self.length);
        Bytes::from_owner(self)
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[..self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[..self.length]
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        if memory.len() == self.home.size {
            let mut free = self.home.free.lock();
            if free.len() < KEPT {
                free.push(memory);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_with_the_last_reference() {
        let buffers = Buffers::new(1024);
        let mut buffer = buffers.take(1024);
        buffer[..3].copy_from_slice(b"abc");
        let bytes = buffer.freeze(3);
        let (address, part) = (bytes.as_ptr(), bytes.slice(1..));
        drop(bytes);
        assert_ne!(buffers.take(1024).as_ptr(), address);
        assert_eq!(part, b"bc"[..]);
        drop(part);
        assert_eq!(buffers.take(500).as_ptr(), address);
    }

    #[test]
    fn small_and_surplus_buffers_are_not_kept() {
        let buffers = Buffers::new(1024);
        assert_eq!(buffers.take(10).len(), 10);
        assert!(buffers.free.lock().is_empty());
        let many: Vec<_> = (0..KEPT + 5).map(|_| buffers.take(1024)).collect();
        drop(many);
        assert_eq!(buffers.free.lock().len(), KEPT);
    }
}
