//! Signing keys on disk, sealed.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use fail::fail_point;
use roadstead_rpc::{SealKey, SealKeyError};
use roadstead_types::Clock;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::signing::{KeyError, SigningKey};

const SEALING_KEY: &str = "sealing.key";

/// Why signing keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyStoreError {
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("{0}: another process uses this directory")]
    Locked(PathBuf),
    #[error("the sealing key: {0}")]
    SealingKey(#[from] SealKeyError),
    #[error(
        "{0}: holds signing keys, but there is no sealing key to open them; put {SEALING_KEY} back, or remove both"
    )]
    SealingKeyLost(PathBuf),
    #[error("{0}: cannot be opened with this sealing key, or was changed")]
    Sealed(PathBuf),
    #[error("{path}: {source}")]
    Key { path: PathBuf, source: KeyError },
}

/// The signing key of each kind of token. The directory is this process's alone while this exists.
#[derive(Debug)]
pub(crate) struct SigningKeys {
    pub(crate) access: SigningKey,
    pub(crate) registry: SigningKey,
    /// Holds the lock.
    _directory: File,
}

/// What a sealed file holds. A list, so that keys can be rotated without another format.
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
    /// Opens the keys in `directory`, and makes what is missing there.
    ///
    /// The sealing key is read from `sealing_key_file`, which must exist when it is given.
    pub(crate) fn open(
        directory: &Path,
        sealing_key_file: Option<&Path>,
        clock: &Clock,
    ) -> Result<Self, KeyStoreError> {
        let in_file = |source| KeyStoreError::File {
            path: directory.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(in_file)?;
        let lock = File::open(directory).map_err(in_file)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => KeyStoreError::Locked(directory.to_owned()),
            error => in_file(error.into()),
        })?;
        let seal = match sealing_key_file {
            Some(file) => SealKey::from_file(file)?,
            None => default_seal(directory)?,
        };
        Ok(Self {
            access: open_or_make(directory, "access", &seal, clock)?,
            registry: open_or_make(directory, "registry", &seal, clock)?,
            _directory: lock,
        })
    }
}

fn default_seal(directory: &Path) -> Result<SealKey, KeyStoreError> {
    let path = directory.join(SEALING_KEY);
    if exists(&path)? {
        return Ok(SealKey::from_file(&path)?);
    }
    // With a new sealing key the old signing keys would be lost for good, so a lost one is said, not replaced.
    for kind in ["access", "registry"] {
        let keys = key_path(directory, kind);
        if exists(&keys)? {
            return Err(KeyStoreError::SealingKeyLost(keys));
        }
    }
    let seal = SealKey::generate();
    write_secret(&path, Zeroizing::new(seal.to_base64()).as_bytes())?;
    Ok(seal)
}

fn open_or_make(
    directory: &Path,
    kind: &str,
    seal: &SealKey,
    clock: &Clock,
) -> Result<SigningKey, KeyStoreError> {
    let path = key_path(directory, kind);
    let purpose = format!("auth-signing-key-{kind}");
    let in_key = |source| KeyStoreError::Key {
        path: path.clone(),
        source,
    };
    if exists(&path)? {
        let sealed = fs::read(&path).map_err(|source| KeyStoreError::File {
            path: path.clone(),
            source,
        })?;
        let unusable = || KeyStoreError::Sealed(path.clone());
        let text = Zeroizing::new(seal.open::<Vec<u8>>(&purpose, &sealed).map_err(|_| unusable())?);
        let file: KeyFile = serde_json::from_slice(&text).map_err(|_| unusable())?;
        let newest = file
            .keys
            .last()
            .filter(|_| file.version == 1)
            .ok_or_else(unusable)?;
        let pkcs8 = Zeroizing::new(STANDARD.decode(&newest.pkcs8).map_err(|_| unusable())?);
        return SigningKey::from_pkcs8(&pkcs8).map_err(in_key);
    }
    let (key, pkcs8) = SigningKey::generate().map_err(in_key)?;
    let stored = StoredKey {
        created_at: clock.unix_seconds(),
        pkcs8: STANDARD.encode(&pkcs8),
    };
    let text = serde_json::to_vec(&KeyFile {
        version: 1,
        keys: vec![stored],
    });
    let text = Zeroizing::new(text.unwrap_or_else(|_| unreachable!("the file is plain data")));
    write_secret(&path, &seal.seal(&purpose, &*text))?;
    Ok(key)
}

fn key_path(directory: &Path, kind: &str) -> PathBuf {
    directory.join(format!("{kind}-signing.key"))
}

fn exists(path: &Path) -> Result<bool, KeyStoreError> {
    path.try_exists().map_err(|source| KeyStoreError::File {
        path: path.to_owned(),
        source,
    })
}

/// Writes a file that is there with all its content or not at all, and that only the owner can read.
fn write_secret(path: &Path, content: &[u8]) -> Result<(), KeyStoreError> {
    let temporary = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(content)?;
        fail_point!("auth::start::before_fsync");
        file.sync_all()?;
        fail_point!("auth::start::before_rename");
        fs::rename(&temporary, path)?;
        fail_point!("auth::start::before_directory_fsync");
        path.parent()
            .map_or(Ok(()), |directory| File::open(directory)?.sync_all())?;
        fail_point!("auth::start::after_directory_fsync");
        Ok(())
    };
    write().map_err(|source| KeyStoreError::File {
        path: path.to_owned(),
        source,
    })
}
