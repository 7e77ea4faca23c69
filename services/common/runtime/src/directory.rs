//! A directory that one process owns.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use fail::fail_point;

/// Why a service cannot have its directory.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Two processes would each believe to be the only writer.
    #[error("{0} is in use by another process")]
    InUse(PathBuf),
    /// The filesystem refused.
    #[error("cannot use {path}: {source}")]
    Io {
        /// Of the failed operation.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The sole use of a directory, for as long as it lives.
#[derive(Debug)]
pub struct OwnedDirectory {
    _lock: File,
}

impl OwnedDirectory {
    /// Makes the directory when it is missing, and locks it. It survives a power failure when this returns: what is
    /// synced in a directory that is itself lost is lost.
    ///
    /// # Errors
    /// When another process has it, or when the filesystem refuses.
    pub fn acquire(directory: &Path) -> Result<Self, DirectoryError> {
        let failed = |path: &Path, source| DirectoryError::Io {
            path: path.to_owned(),
            source,
        };
        fs::create_dir_all(directory).map_err(|source| failed(directory, source))?;
        let path = directory.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|source| failed(&path, source))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DirectoryError::InUse(directory.to_owned())),
            Err(TryLockError::Error(source)) => return Err(failed(&path, source)),
        }
        fail_point!("runtime::start::before_directory_fsync");
        sync_upwards(directory, sync_directory).map_err(|source| failed(directory, source))?;
        fail_point!("runtime::start::after_directory_fsync");
        Ok(Self { _lock: lock })
    }
}

/// Syncs the directory and all above it: whoever made them, perhaps another process that was killed right after, need
/// not have done so.
fn sync_upwards(directory: &Path, mut sync: impl FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    for ancestor in directory.ancestors() {
        let here = ancestor.as_os_str().is_empty();
        match sync(if here { Path::new(".") } else { ancestor }) {
            Ok(()) => {}
            // Made by somebody else, or on a filesystem that has nothing to sync.
            Err(error) if matches!(error.kind(), PermissionDenied | InvalidInput | Unsupported) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_owner_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("made/on/the/way");
        let owned = OwnedDirectory::acquire(&path).unwrap();
        let second = OwnedDirectory::acquire(&path).unwrap_err();
        assert!(matches!(second, DirectoryError::InUse(named) if named == path));
        drop(owned);
        OwnedDirectory::acquire(&path).unwrap();
    }

    #[test]
    fn every_directory_that_may_be_new_is_synced() {
        let synced = |path: &str, refused: &str| {
            let mut seen = Vec::new();
            let outcome = sync_upwards(Path::new(path), |directory| {
                if directory == Path::new(refused) {
                    return Err(io::ErrorKind::PermissionDenied.into());
                }
                seen.push(directory.display().to_string());
                Ok(())
            });
            outcome.unwrap();
            seen
        };
        assert_eq!(synced("data/blobs", ""), ["data/blobs", "data", "."]);
        assert_eq!(
            synced("/srv/data/blobs", "/srv"),
            ["/srv/data/blobs", "/srv/data"]
        );
    }

    #[test]
    fn a_sync_that_fails_is_an_error() {
        let failed = sync_upwards(Path::new("data"), |_| Err(io::Error::other("input/output error")));
        assert!(failed.is_err());
    }
}
