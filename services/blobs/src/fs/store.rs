//! The directory: names, durability and the lock. Everything here blocks.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom},
    iter,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use fail::fail_point;
use parking_lot::Mutex;
use roadstead_runtime::{DirectoryError, OwnedDirectory};
use rustix::fs::fstatvfs;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use tokio_util::sync::CancellationToken;

use crate::{error::Error, hash::Hasher, object_key::ObjectKey, seal::Lease};

/// How many bytes are read at once when bytes are hashed again.
const REHASH_BUFFER: usize = 1024 * 1024;

/// ```text
/// <root>/lock
/// <root>/uploads/<upload-id>.<epoch>                  bytes of a session, under the newest lease that touched them
/// <root>/blobs/<algorithm>/<aa>/<hex>.<object-id>     finished objects
/// ```
pub(crate) struct Store {
    root: PathBuf,
    /// Directories whose own entry is known to be durable.
    durable: Mutex<HashSet<PathBuf>>,
    _directory: OwnedDirectory,
}

impl Store {
    /// Opens or creates the directory. Looks at nothing in it: a start takes as long with a billion blobs as with none.
    pub(crate) fn open(root: &Path) -> Result<Self, DirectoryError> {
        let directory = OwnedDirectory::acquire(root)?;
        let uploads = root.join("uploads");
        let failed = |source| DirectoryError::Io {
            path: uploads.clone(),
            source,
        };
        fs::create_dir_all(&uploads).map_err(failed)?;
        fail_point!("blobs::start::before_directory_fsync");
        sync_directory(root).map_err(failed)?;
        fail_point!("blobs::start::after_directory_fsync");
        Ok(Self {
            root: root.to_owned(),
            durable: Mutex::default(),
            _directory: directory,
        })
    }

    /// Opens the session's bytes to write on from `offset`; what lies behind was never acknowledged and is cut off.
    pub(crate) fn open_upload(&self, lease: &Lease, offset: u64) -> Result<File, Error> {
        self.take_over(lease)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o640);
        if offset == 0 {
            options.create(true).truncate(true);
        }
        let mut file = options
            .open(self.upload_path(lease))
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
    pub(crate) fn find_upload(&self, lease: &Lease) -> Result<Option<File>, Error> {
        self.take_over(lease)?;
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.upload_path(lease));
        found(opened).map_err(Error::from)
    }

    /// Gives the session's bytes the lease's name. A lease looks for its own name and for older ones, so a stale lease
    /// never finds what a newer one wrote, even if this process was started in between and knows of neither.
    fn take_over(&self, lease: &Lease) -> io::Result<()> {
        let own = self.upload_path(lease);
        if found(fs::symlink_metadata(&own))?.is_some() {
            return Ok(());
        }
        for older in self.older_paths(lease) {
            fail_point!("blobs::take_over::before_rename");
            if found(fs::rename(older, &own))?.is_some() {
                fail_point!("blobs::take_over::after_rename");
                break;
            }
        }
        Ok(())
    }

    /// Makes the session's bytes the object. Durable when it returns.
    pub(crate) fn publish(
        &self,
        lease: &Lease,
        file: &File,
        size: u64,
        key: &ObjectKey,
    ) -> Result<(), Error> {
        cut(file, size)?;
        fail_point!("blobs::publish::before_fsync");
        if let Err(error) = file.sync_all() {
            // The kernel reports lost pages once and then calls them clean. A second attempt would succeed without
            // the bytes, so there must be none.
            let upload_id = lease.upload_id;
            tracing::error!(%upload_id, %error, "an upload's bytes could not be made durable; the upload ends");
            self.discard_upload(lease)?;
            return Err(error.into());
        }
        fail_point!("blobs::publish::after_fsync");
        let directory = self.root.join(key.directory());
        self.ensure_durable(&directory)?;
        fail_point!("blobs::publish::before_rename");
        fs::rename(self.upload_path(lease), directory.join(key.file_name()))?;
        fail_point!("blobs::publish::before_directory_fsync");
        sync_directory(&directory)?;
        fail_point!("blobs::publish::after_directory_fsync");
        // Nothing is left but what a stale lease may have begun.
        self.discard_upload(lease)
    }

    /// The size of the object when it is there. Durable when it returns, even if whoever put it there died before.
    pub(crate) fn confirm_object(&self, key: &ObjectKey) -> Result<Option<u64>, Error> {
        let Some(metadata) = found(fs::metadata(self.object_path(key)))? else {
            return Ok(None);
        };
        let directory = self.root.join(key.directory());
        self.ensure_durable(&directory)?;
        fail_point!("blobs::confirm::before_directory_fsync");
        sync_directory(&directory)?;
        fail_point!("blobs::confirm::after_directory_fsync");
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

    /// Opens the object if the kernel finds it without waiting for the disk. Whatever else happens, also on a system that
    /// does not know how, [`open_object`](Self::open_object) tells.
    pub(crate) fn open_object_at_once(&self, key: &ObjectKey) -> Option<File> {
        let (flags, resolve) = (OFlags::RDONLY | OFlags::CLOEXEC, ResolveFlags::CACHED);
        openat2(CWD, self.object_path(key), flags, Mode::empty(), resolve)
            .map(File::from)
            .ok()
    }

    /// Removes the session's bytes, except those of newer leases.
    pub(crate) fn discard_upload(&self, lease: &Lease) -> Result<(), Error> {
        for path in iter::once(self.upload_path(lease)).chain(self.older_paths(lease)) {
            fail_point!("blobs::discard::before_unlink");
            found(fs::remove_file(path))?;
            fail_point!("blobs::discard::after_unlink");
        }
        Ok(())
    }

    /// Deletes objects. Durable when it returns: the caller forgets the keys. All are tried, also when one fails, for the
    /// caller comes back with the same ones.
    pub(crate) fn delete_objects(&self, keys: &[ObjectKey]) -> Result<(), Error> {
        let mut touched = HashSet::new();
        let mut outcome = Ok(());
        for key in keys {
            fail_point!("blobs::delete::before_unlink");
            if let Err(error) = found(fs::remove_file(self.object_path(key))) {
                outcome = Err(error);
            }
            // Also when nothing was there: an earlier attempt may have died before this.
            touched.insert(self.root.join(key.directory()));
        }
        fail_point!("blobs::delete::before_directory_fsync");
        for directory in touched {
            found(sync_directory(&directory))?;
        }
        fail_point!("blobs::delete::after_directory_fsync");
        outcome.map_err(Error::from)
    }

    fn upload_path(&self, lease: &Lease) -> PathBuf {
        self.path_under(lease, lease.epoch)
    }

    /// The names that the session's bytes may have had before this lease, newest first. Metadata counts epochs from 1.
    fn older_paths(&self, lease: &Lease) -> impl Iterator<Item = PathBuf> {
        (1..lease.epoch).rev().map(|epoch| self.path_under(lease, epoch))
    }

    fn path_under(&self, lease: &Lease, epoch: u64) -> PathBuf {
        self.root
            .join("uploads")
            .join(format!("{}.{epoch}", lease.upload_id))
    }

    fn object_path(&self, key: &ObjectKey) -> PathBuf {
        self.root.join(key.to_string())
    }

    /// Creates a directory below the root. A directory that is there may still not be durable: its maker may have been
    /// killed in between, so the first use by this process syncs the parents in any case.
    fn ensure_durable(&self, directory: &Path) -> io::Result<()> {
        if self.durable.lock().contains(directory) {
            return Ok(());
        }
        fs::create_dir_all(directory)?;
        fail_point!("blobs::directory::before_fsync");
        for ancestor in directory
            .ancestors()
            .skip(1)
            .take_while(|ancestor| ancestor.starts_with(&self.root))
        {
            sync_directory(ancestor)?;
        }
        fail_point!("blobs::directory::after_fsync");
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

/// Demands that after `bytes` more the file's disk has `reserve` left for others.
pub(crate) fn require_room(file: &File, bytes: u64, reserve: u64) -> io::Result<()> {
    let disk = fstatvfs(file)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    // Filesystems without a size of their own say 0 and show when they are full.
    if disk.f_blocks > 0 && free < bytes.saturating_add(reserve) {
        return Err(io::ErrorKind::StorageFull.into());
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
