//! Private parsers, for the fuzz targets in `integration-tests/fuzz`.

use std::path::PathBuf;

use roadstead_rpc::SealKey;
use roadstead_types::{Clock, DigestAlgorithm};

use crate::{hash::Hasher, object_key::ObjectKey, seal::Seals};

/// The path below the root of the object that a key names.
pub fn object_path(key: &str) -> Option<PathBuf> {
    let key = ObjectKey::parse(key).ok()?;
    Some(key.directory().join(key.file_name()))
}

/// Opens a locator: the key of the object and its size.
pub fn open_locator(key: &SealKey, sealed: &[u8]) -> Option<(String, u64)> {
    let locator = Seals::new(key.clone(), Clock::system())
        .open_locator(sealed)
        .ok()?;
    Some((locator.object_key.to_string(), locator.size))
}

/// Opens a lease, and a state under it: the id and the epoch of the lease, and the offset of the state if it has one.
pub fn open_session(key: &SealKey, lease: &[u8], state: &[u8]) -> Option<(String, u64, Option<u64>)> {
    let seals = Seals::new(key.clone(), Clock::system());
    let lease = seals.open_lease(lease).ok()?;
    let state = seals.open_state(&lease, state).ok()?;
    Some((
        lease.upload_id.to_string(),
        lease.epoch,
        state.map(|state| state.offset),
    ))
}

/// Restores the state of a hash, goes on with `more`, and saves it again: the state as it was restored, and the digest.
pub fn resume_hash(algorithm: DigestAlgorithm, state: &[u8], more: &[u8]) -> Option<(Vec<u8>, String)> {
    let mut hasher = Hasher::restore(algorithm, state)?;
    let saved = hasher.save();
    hasher.update(more);
    Some((saved, hasher.finish().to_string()))
}
