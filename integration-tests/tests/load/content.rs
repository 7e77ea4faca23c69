//! Large blobs that cost the test no memory and little time.

use anyhow::{Result, ensure};
use bytes::Bytes;
use roadstead_integration_tests::image::noise;
use roadstead_types::{Digest, DigestAlgorithm};
use sha2::{Digest as _, Sha256};

/// What a blob is made of.
const PIECE_BYTES: usize = 1 << 20;

/// A blob: one piece of its own, and then noise that all blobs share.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pieces: Vec<Bytes>,
    digest: Digest,
}

impl Content {
    /// The blob of this number, with `mib` MiB.
    pub(crate) fn new(number: u64, mib: usize) -> Self {
        let shared = noise(0, PIECE_BYTES);
        let mut own = shared.clone();
        own[..8].copy_from_slice(&number.to_be_bytes());
        let mut pieces = vec![Bytes::from(shared); mib];
        pieces[0] = own.into();
        let hash = pieces.iter().fold(Sha256::new(), Sha256::chain_update);
        Self {
            digest: Digest::from_hash(DigestAlgorithm::Sha256, &hash.finalize()),
            pieces,
        }
    }

    pub(crate) fn digest(&self) -> &Digest {
        &self.digest
    }

    pub(crate) fn size(&self) -> usize {
        self.pieces.len() * PIECE_BYTES
    }

    /// The bytes in order.
    pub(crate) fn pieces(&self) -> Vec<Bytes> {
        self.pieces.clone()
    }

    /// Requires `bytes` to be those of this blob from `offset` on.
    pub(crate) fn check(&self, mut offset: usize, mut bytes: &[u8]) -> Result<()> {
        ensure!(offset + bytes.len() <= self.size(), "more bytes than were pushed");
        while !bytes.is_empty() {
            let rest = &self.pieces[offset / PIECE_BYTES][offset % PIECE_BYTES..];
            let length = rest.len().min(bytes.len());
            let (these, others) = bytes.split_at(length);
            ensure!(
                these == &rest[..length],
                "other bytes than were pushed, at {offset} or after"
            );
            (offset, bytes) = (offset + length, others);
        }
        Ok(())
    }
}
