//! Keys on disk, and their succession.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use aws_lc_rs::rand;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use roadstead_rpc::SealKeyError;
use roadstead_runtime::Ages;
use roadstead_types::Clock;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::{
    KeyRing, RefreshKey,
    files::{ACCESS, KeyFiles, Purpose, REFRESH, REGISTRY},
    ring::DatedKey,
    signing::{KeyError, SigningKey},
};

/// Why keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyStoreError {
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("{0}: another process uses this directory")]
    Locked(PathBuf),
    #[error("the sealing key: {0}")]
    SealingKey(#[from] SealKeyError),
    #[error(
        "{0}: holds keys, but there is no sealing key to open them; put sealing.key back, or remove both"
    )]
    SealingKeyLost(PathBuf),
    #[error("{0}: cannot be opened with this sealing key, or was changed")]
    Sealed(PathBuf),
    #[error("{path}: {source}")]
    Key { path: PathBuf, source: KeyError },
    #[error("the operating system has no randomness")]
    Randomness,
}

/// The signing keys of each kind of token, and the files that they are in.
#[derive(Debug)]
pub(crate) struct SigningKeys {
    pub(crate) access: KeyRing,
    pub(crate) registry: KeyRing,
    files: KeyFiles,
    clock: Clock,
    ages: Ages,
    rotation: Duration,
}

/// What a sealed file of signing keys holds, from the oldest to the newest.
#[derive(Serialize, Deserialize)]
struct KeyFile {
    version: u32,
    keys: Vec<StoredKey>,
}

#[derive(Serialize, Deserialize)]
struct StoredKey {
    created_at: i64,
    /// Base64.
    pkcs8: String,
}

impl Drop for StoredKey {
    fn drop(&mut self) {
        self.pkcs8.zeroize();
    }
}

impl SigningKeys {
    /// Opens the keys in `directory`, and makes what is missing there. Signing keys are replaced after `rotation`.
    ///
    /// The sealing key is read from `sealing_key_file`, which must exist when it is given.
    pub(crate) fn open(
        directory: &Path,
        sealing_key_file: Option<&Path>,
        rotation: Duration,
        clock: &Clock,
    ) -> Result<(Self, RefreshKey), KeyStoreError> {
        let files = KeyFiles::open(directory, sealing_key_file)?;
        let refresh = open_refresh(&files)?;
        let keys = Self {
            access: open_ring(&files, ACCESS, clock)?,
            registry: open_ring(&files, REGISTRY, clock)?,
            files,
            ages: Ages::new(clock.clone()),
            clock: clock.clone(),
            rotation,
        };
        Ok((keys, refresh))
    }

    /// Makes the keys that are due and forgets those that are spent. Returns whether there was anything to do.
    pub(crate) fn tend(&mut self) -> Result<bool, KeyStoreError> {
        let now = self.clock.unix_seconds();
        // After the clock leapt nothing is taken for spent: tokens of the time before are still shown.
        let forgets = self.ages.believable_now().is_some();
        let mut changed = false;
        for (purpose, ring) in [(ACCESS, &mut self.access), (REGISTRY, &mut self.registry)] {
            let mut next = None;
            if ring.wants_successor(now, self.rotation) {
                let key = DatedKey::generate(now).map_err(|source| KeyStoreError::Key {
                    path: self.files.path(purpose),
                    source,
                })?;
                tracing::info!(kid = key.key.kid(), file = ?purpose, "made a new signing key");
                next = Some(ring.with(key));
            }
            if forgets && let Some(rest) = next.as_ref().unwrap_or(ring).without_spent(now) {
                next = Some(rest);
            }
            if let Some(next) = next {
                // On disk first: what signs is there after a restart.
                write_ring(&self.files, purpose, &next)?;
                *ring = next;
                changed = true;
            }
        }
        Ok(changed)
    }
}

fn open_refresh(files: &KeyFiles) -> Result<RefreshKey, KeyStoreError> {
    if let Some(bytes) = files.read(REFRESH)? {
        return RefreshKey::from_bytes(&bytes).ok_or_else(|| KeyStoreError::Sealed(files.path(REFRESH)));
    }
    let mut bytes = Zeroizing::new(vec![0; RefreshKey::LENGTH]);
    rand::fill(&mut bytes).map_err(|_| KeyStoreError::Randomness)?;
    files.write(REFRESH, &bytes)?;
    RefreshKey::from_bytes(&bytes).ok_or(KeyStoreError::Randomness)
}

fn open_ring(files: &KeyFiles, purpose: Purpose, clock: &Clock) -> Result<KeyRing, KeyStoreError> {
    let in_key = |source| KeyStoreError::Key {
        path: files.path(purpose),
        source,
    };
    let Some(text) = files.read(purpose)? else {
        let ring = KeyRing::of(DatedKey::generate(clock.unix_seconds()).map_err(in_key)?);
        write_ring(files, purpose, &ring)?;
        return Ok(ring);
    };
    let unusable = || KeyStoreError::Sealed(files.path(purpose));
    let file: KeyFile = serde_json::from_slice(&text).map_err(|_| unusable())?;
    if file.version != 1 {
        return Err(unusable());
    }
    let mut keys = Vec::with_capacity(file.keys.len());
    for stored in &file.keys {
        let pkcs8 = Zeroizing::new(STANDARD.decode(&stored.pkcs8).map_err(|_| unusable())?);
        keys.push(DatedKey {
            created_at: stored.created_at,
            key: SigningKey::from_pkcs8(&pkcs8).map_err(in_key)?,
            pkcs8,
        });
    }
    KeyRing::new(keys).ok_or_else(unusable)
}

fn write_ring(files: &KeyFiles, purpose: Purpose, ring: &KeyRing) -> Result<(), KeyStoreError> {
    let keys = ring.each().map(|dated| StoredKey {
        created_at: dated.created_at,
        pkcs8: STANDARD.encode(&dated.pkcs8),
    });
    let text = serde_json::to_vec(&KeyFile {
        version: 1,
        keys: keys.collect(),
    });
    let text = Zeroizing::new(text.unwrap_or_else(|_| unreachable!("the file is plain data")));
    files.write(purpose, &text)
}
