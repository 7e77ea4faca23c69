//! The secret by which the development issuer knows this machine's user: made at each start, readable only by the user,
//! gone when the registry stops.

use std::{
    env, fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use etcetera::BaseStrategy as _;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

/// The secret in its file. Dropping it removes the file.
#[derive(Debug)]
pub struct DevSecret {
    path: PathBuf,
    port: u16,
    secret: SecretString,
}

impl DevSecret {
    /// Writes a new secret to `roadstead/dev-<port>.secret` in the user's runtime directory, or where there is none, in
    /// the cache directory.
    ///
    /// # Errors
    ///
    /// When neither directory is known, or the file cannot be written.
    pub fn create(port: u16) -> io::Result<Self> {
        let runtime = env::var_os("XDG_RUNTIME_DIR")
            .map(PathBuf::from)
            .filter(|directory| directory.is_dir());
        let base = match runtime {
            Some(directory) => directory,
            None => etcetera::choose_base_strategy()
                .map_err(io::Error::other)?
                .cache_dir(),
        };
        Self::create_in(&base.join("roadstead"), port)
    }

    /// Writes a new secret to `dev-<port>.secret` in a directory, which is made if it is missing.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn create_in(directory: &Path, port: u16) -> io::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        let secret = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
        let path = directory.join(format!("dev-{port}.secret"));
        // A file of an earlier run may lie there with any mode: it is replaced, not written into, and never followed.
        let fresh = directory.join(format!(".dev-{port}.{}", std::process::id()));
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(secret.as_bytes())?;
        fs::rename(&fresh, &path)?;
        Ok(Self {
            path,
            port,
            secret: SecretString::from(secret),
        })
    }

    /// The port that the secret is for.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where the secret is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        self.secret.expose_secret()
    }

    /// Whether this is the secret. Hashes are compared, so that the time it takes tells nothing.
    pub fn is(&self, shown: &[u8]) -> bool {
        Sha256::digest(shown) == Sha256::digest(self.expose().as_bytes())
    }

    /// Removes the file, if it is still this secret's.
    pub fn remove(&self) {
        // Another registry may have started on the port meanwhile; its secret is not ours to remove.
        if fs::read(&self.path).is_ok_and(|content| self.is(&content)) {
            // A file that cannot be removed is useless to whoever finds it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for DevSecret {
    fn drop(&mut self) {
        self.remove();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn the_file_lives_as_long_as_the_secret_and_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let secret = DevSecret::create_in(&directory.path().join("roadstead"), 5000).unwrap();
        let path = secret.path().to_owned();
        assert!(path.ends_with("roadstead/dev-5000.secret"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(secret.is(&fs::read(&path).unwrap()));
        assert!(!secret.is(b"") && !secret.is(b"x"));
        drop(secret);
        assert!(!path.exists());
    }

    #[test]
    fn what_lies_in_the_way_is_replaced_and_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let victim = directory.path().join("victim");
        fs::write(&victim, "x").unwrap();
        symlink(&victim, directory.path().join("dev-1.secret")).unwrap();
        let secret = DevSecret::create_in(directory.path(), 1).unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"x");
        assert!(secret.is(&fs::read(secret.path()).unwrap()));
    }

    #[test]
    fn a_successor_keeps_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let first = DevSecret::create_in(directory.path(), 1).unwrap();
        let second = DevSecret::create_in(directory.path(), 1).unwrap();
        drop(first);
        assert!(second.is(&fs::read(second.path()).unwrap()));
    }
}
