//! The directory: names, durability and the lock. Everything here blocks.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use parking_lot::Mutex;
use roadstead_types::UploadId;
use tokio_util::sync::CancellationToken;

use crate::{error::Error, hash::Hasher, object_key::ObjectKey};

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
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

/// How many bytes are read at once when bytes are hashed again.
const REHASH_BUFFER: usize = 1024 * 1024;

/// ```text
/// <root>/lock
/// <root>/uploads/<upload-id>                          bytes of a session
/// <root>/blobs/<algorithm>/<aa>/<hex>.<object-id>     finished objects
/// ```
pub(crate) struct Store {
    root: PathBuf,
    /// Directories whose own entry is known to be durable.
    durable: Mutex<HashSet<PathBuf>>,
    /// Held for the life of the store.
    _lock: File,
}

impl Store {
    /// Opens or creates the directory. Looks at nothing in it: a start takes as long with a billion blobs as with none.
    pub(crate) fn open(root: &Path) -> Result<Self, OpenError> {
        let uploads = root.join("uploads");
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Io { path, source }
        };
        fs::create_dir_all(&uploads).map_err(failed(&uploads))?;
        let lock_path = root.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(failed(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(root.to_owned())),
            Err(TryLockError::Error(source)) => return Err(failed(&lock_path)(source)),
        }
        sync_directory(root).map_err(failed(root))?;
        Ok(Self {
            root: root.to_owned(),
            durable: Mutex::default(),
            _lock: lock,
        })
    }

    /// Opens the session's bytes to write on from `offset`; what lies behind was never acknowledged and is cut off.
    pub(crate) fn open_upload(&self, upload_id: &UploadId, offset: u64) -> Result<File, Error> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o640);
        if offset == 0 {
            options.create(true).truncate(true);
        }
        let mut file = options
            .open(self.upload_path(upload_id))
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound if offset > 0 => Error::UploadInvalid("its bytes are gone"),
                _ => error.into(),
            })?;
        if offset > 0 {
            cut(&file, offset)?;
            file.seek(SeekFrom::Start(offset))?;
        }
        Ok(file)
    }

    /// Opens the session's bytes to check them; `None` if there are none.
    pub(crate) fn find_upload(&self, upload_id: &UploadId) -> Result<Option<File>, Error> {
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.upload_path(upload_id));
        found(opened).map_err(Error::from)
    }

    /// Makes the session's bytes the object. Durable when it returns.
    pub(crate) fn publish(
        &self,
        upload_id: &UploadId,
        file: &File,
        size: u64,
        key: &ObjectKey,
    ) -> Result<(), Error> {
        cut(file, size)?;
        if let Err(error) = file.sync_all() {
            // The kernel reports lost pages once and then calls them clean. A second attempt would succeed without
            // the bytes, so there must be none.
            tracing::error!(%upload_id, %error, "an upload's bytes could not be made durable; the upload ends");
            self.discard_upload(upload_id)?;
            return Err(error.into());
        }
        let directory = self.root.join(key.directory());
        self.ensure_durable(&directory)?;
        fs::rename(self.upload_path(upload_id), directory.join(key.file_name()))?;
        sync_directory(&directory)?;
        Ok(())
    }

    /// The size of the object when it is there. Durable when it returns, even if whoever put it there died before.
    pub(crate) fn confirm_object(&self, key: &ObjectKey) -> Result<Option<u64>, Error> {
        let Some(metadata) = found(fs::metadata(self.object_path(key)))? else {
            return Ok(None);
        };
        let directory = self.root.join(key.directory());
        self.ensure_durable(&directory)?;
        sync_directory(&directory)?;
        Ok(Some(metadata.len()))
    }

    pub(crate) fn object_size(&self, key: &ObjectKey) -> Result<u64, Error> {
        found(fs::metadata(self.object_path(key)))?
            .map(|metadata| metadata.len())
            .ok_or(Error::BlobUnknown)
    }

    pub(crate) fn open_object(&self, key: &ObjectKey) -> Result<File, Error> {
        found(File::open(self.object_path(key)))?.ok_or(Error::BlobUnknown)
    }

    pub(crate) fn discard_upload(&self, upload_id: &UploadId) -> Result<(), Error> {
        found(fs::remove_file(self.upload_path(upload_id)))?;
        Ok(())
    }

    /// Deletes objects. Durable when it returns: the caller forgets the keys.
    pub(crate) fn delete_objects(&self, keys: &[ObjectKey]) -> Result<(), Error> {
        let mut touched = HashSet::new();
        for key in keys {
            found(fs::remove_file(self.object_path(key)))?;
            // Also when nothing was there: an earlier attempt may have died before this.
            touched.insert(self.root.join(key.directory()));
        }
        for directory in touched {
            found(sync_directory(&directory))?;
        }
        Ok(())
    }

    fn upload_path(&self, upload_id: &UploadId) -> PathBuf {
        self.root.join("uploads").join(upload_id.to_string())
    }

    fn object_path(&self, key: &ObjectKey) -> PathBuf {
        self.root.join(key.directory()).join(key.file_name())
    }

    /// Creates a directory below the root. A directory that is there may still not be durable: its maker may have been
    /// killed in between, so the first use by this process syncs the parents in any case.
    fn ensure_durable(&self, directory: &Path) -> io::Result<()> {
        if self.durable.lock().contains(directory) {
            return Ok(());
        }
        fs::create_dir_all(directory)?;
        for ancestor in directory
            .ancestors()
            .skip(1)
            .take_while(|ancestor| ancestor.starts_with(&self.root))
        {
            sync_directory(ancestor)?;
        }
        self.durable.lock().insert(directory.to_owned());
        Ok(())
    }
}

/// Hashes the first `length` bytes of the file.
pub(crate) fn rehash(
    file: &File,
    length: u64,
    mut hasher: Hasher,
    stop: &CancellationToken,
) -> Result<Hasher, Error> {
    metrics::counter!("blobs_rehashed_bytes_total").increment(length);
    let mut file = file;
    file.seek(SeekFrom::Start(0))?;
    let mut rest = file.take(length);
    let mut buffer = vec![0; REHASH_BUFFER];
    while rest.limit() > 0 {
        if stop.is_cancelled() {
            return Err(Error::Superseded);
        }
        match rest.read(&mut buffer)? {
            0 => return Err(Error::UploadInvalid("bytes are missing")),
            read => hasher.update(&buffer[..read]),
        }
    }
    Ok(hasher)
}

/// Cuts the file to `length`, which it must have at least.
fn cut(file: &File, length: u64) -> Result<(), Error> {
    let present = file.metadata()?.len();
    if present < length {
        return Err(Error::UploadInvalid("bytes are missing"));
    }
    if present > length {
        file.set_len(length)?;
    }
    Ok(())
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
