//! Secrets on disk, sealed.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use fail::fail_point;
use roadstead_rpc::SealKey;
use rustix::fs::{FlockOperation, flock};
use zeroize::Zeroizing;

use super::KeyStoreError;

const SEALING_KEY: &str = "sealing.key";

/// What one file is for. A file can be opened as nothing else, also under another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Purpose {
    file: &'static str,
    seal: &'static str,
}

pub(super) const ACCESS: Purpose = Purpose {
    file: "access-signing.key",
    seal: "auth-signing-key-access",
};
pub(super) const REGISTRY: Purpose = Purpose {
    file: "registry-signing.key",
    seal: "auth-signing-key-registry",
};
pub(super) const REFRESH: Purpose = Purpose {
    file: "refresh-tokens.key",
    seal: "auth-refresh-tokens-key",
};

/// A directory of sealed files. It is this process's alone while this exists.
#[derive(Debug)]
pub(super) struct KeyFiles {
    directory: PathBuf,
    seal: SealKey,
    /// Holds the lock.
    _lock: File,
}

impl KeyFiles {
    /// Opens the directory, making it where it is missing. The sealing key is read from `sealing_key_file`, which must
    /// exist when it is given.
    pub(super) fn open(directory: &Path, sealing_key_file: Option<&Path>) -> Result<Self, KeyStoreError> {
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
            directory: directory.to_owned(),
            seal,
            _lock: lock,
        })
    }

    /// Reads a file; none where it is missing.
    pub(super) fn read(&self, purpose: Purpose) -> Result<Option<Zeroizing<Vec<u8>>>, KeyStoreError> {
        let path = self.path(purpose);
        if !exists(&path)? {
            return Ok(None);
        }
        let sealed = fs::read(&path).map_err(|source| KeyStoreError::File {
            path: path.clone(),
            source,
        })?;
        let opened = self.seal.open::<Vec<u8>>(purpose.seal, &sealed);
        opened
            .map(|text| Some(Zeroizing::new(text)))
            .map_err(|_| KeyStoreError::Sealed(path))
    }

    /// Writes a file, in place of what it held.
    pub(super) fn write(&self, purpose: Purpose, text: &Zeroizing<Vec<u8>>) -> Result<(), KeyStoreError> {
        write_secret(&self.path(purpose), &self.seal.seal(purpose.seal, &**text))
    }

    pub(super) fn path(&self, purpose: Purpose) -> PathBuf {
        self.directory.join(purpose.file)
    }
}

fn default_seal(directory: &Path) -> Result<SealKey, KeyStoreError> {
    let path = directory.join(SEALING_KEY);
    if exists(&path)? {
        return Ok(SealKey::from_file(&path)?);
    }
    // With a new sealing key the old keys would be lost for good, so a lost one is said, not replaced.
    for purpose in [ACCESS, REGISTRY, REFRESH] {
        let keys = directory.join(purpose.file);
        if exists(&keys)? {
            return Err(KeyStoreError::SealingKeyLost(keys));
        }
    }
    let seal = SealKey::generate();
    write_secret(&path, Zeroizing::new(seal.to_base64()).as_bytes())?;
    Ok(seal)
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
