//! Access tokens on disk: `<cache>/roadstead/<host>/access-token.json`, mode 0600 in directories of mode 0700.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use etcetera::BaseStrategy as _;
use serde::{Deserialize, Serialize};

use crate::{error::Error, host::RegistryHost, registry::Transport};

const TOKEN_FILE: &str = "access-token.json";
const LAST_LOGIN_FILE: &str = "last-login";

/// A token and how to get the next one. No `Debug`: it must not end up in a message.
#[derive(Clone, Serialize, Deserialize)]
pub struct CachedToken {
    /// The registry as its user names it.
    pub host: String,
    /// The secret.
    pub access_token: String,
    /// When it ends, in Unix seconds.
    pub expires_at: i64,
    /// Who the registry says it is for.
    pub identity: Identity,
    /// Whether the user allowed http to another machine.
    #[serde(default)]
    pub plain_http: bool,
    /// The certificate authority that signs for the registry, beside the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Where it came from.
    pub source: Source,
}

impl CachedToken {
    /// How to reach the token's registry: as at the login, where no flag says otherwise.
    pub(crate) fn transport(&self, flags: &Transport) -> Transport {
        Transport {
            plain_http: flags.plain_http || self.plain_http,
            ca_file: flags.ca_file.clone().or_else(|| self.ca_file.clone()),
        }
    }
}

/// Whom a token speaks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The issuer's URL.
    pub issuer: String,
    /// The subject at that issuer.
    pub subject: String,
}

/// What was exchanged for the token, and so how to get another without asking anyone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Source {
    /// The development issuer of a registry on this machine.
    Dev {
        /// Digest of the per-start secret: another one means another process, whose keys may differ.
        secret_digest: String,
    },
    /// An identity token in a file that its owner keeps fresh.
    IdentityTokenFile {
        /// Absolute.
        path: PathBuf,
    },
    /// An identity token given once.
    IdentityToken,
}

/// The token files of this user.
#[derive(Debug, Clone)]
pub struct TokenCache {
    root: PathBuf,
}

impl TokenCache {
    /// The cache at its place for this user. Nothing is created before something is stored.
    pub fn for_user() -> Result<Self, Error> {
        Ok(Self {
            root: user_cache_directory()?,
        })
    }

    /// A cache elsewhere.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The token of a registry. A file that cannot be understood counts as none, as it is only a cache.
    pub fn load(&self, host: &RegistryHost) -> Result<Option<CachedToken>, Error> {
        let path = self.token_path(host);
        match fs::read(&path) {
            Ok(content) => Ok(serde_json::from_slice(&content).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file("read", path)(error)),
        }
    }

    /// Keeps a token in place of the registry's last.
    pub fn store(&self, host: &RegistryHost, token: &CachedToken) -> Result<(), Error> {
        let path = self.token_path(host);
        let content = serde_json::to_vec_pretty(token).map_err(Error::internal)?;
        write_private(&path, &content)
    }

    /// Forgets a registry; says whether it was known.
    pub fn remove(&self, host: &RegistryHost) -> Result<bool, Error> {
        let path = self.token_path(host);
        match fs::remove_file(&path) {
            Ok(()) => {
                // The directory goes with its only file; should something else be in it, it stays.
                let _ = fs::remove_dir(self.root.join(host.cache_name()));
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::file("remove", path)(error)),
        }
    }

    /// All tokens, by registry.
    pub fn list(&self) -> Result<Vec<CachedToken>, Error> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::file("read", &self.root)(error)),
        };
        let mut tokens: Vec<CachedToken> = entries
            .filter_map(Result::ok)
            .filter_map(|entry| fs::read(entry.path().join(TOKEN_FILE)).ok())
            .filter_map(|content| serde_json::from_slice(&content).ok())
            .collect();
        tokens.sort_by(|a, b| a.host.cmp(&b.host));
        Ok(tokens)
    }

    /// The registry of the last successful login, unless it was logged out of since.
    pub fn last_login(&self) -> Result<Option<RegistryHost>, Error> {
        let Ok(text) = fs::read_to_string(self.root.join(LAST_LOGIN_FILE)) else {
            return Ok(None);
        };
        let Ok(host) = RegistryHost::parse(&text) else {
            return Ok(None);
        };
        Ok(self.load(&host)?.map(|_| host))
    }

    /// Records the registry of a successful login.
    pub fn set_last_login(&self, host: &RegistryHost) -> Result<(), Error> {
        write_private(&self.root.join(LAST_LOGIN_FILE), host.to_string().as_bytes())
    }

    fn token_path(&self, host: &RegistryHost) -> PathBuf {
        self.root.join(host.cache_name()).join(TOKEN_FILE)
    }
}

/// `$XDG_CACHE_HOME/roadstead`, else `~/.cache/roadstead`.
pub(crate) fn user_cache_directory() -> Result<PathBuf, Error> {
    etcetera::choose_base_strategy()
        .map(|directories| directories.cache_dir().join("roadstead"))
        .map_err(|error| Error::Usage(format!("{error}: set HOME or XDG_CACHE_HOME")))
}

/// Replaces a file in one step with mode 0600, creating its directories with mode 0700.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<(), Error> {
    let directory = path
        .parent()
        .ok_or_else(|| Error::internal("a file has no directory"))?;
    create_private_directory(directory)?;
    replace(path, content, 0o600)
}

pub(crate) fn create_private_directory(directory: &Path) -> Result<(), Error> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(Error::file("create", directory))?;
    // It may have existed with more.
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))
        .map_err(Error::file("protect", directory))
}

/// Replaces a file in one step: readers see the old content or the new one.
pub(crate) fn replace(path: &Path, content: &[u8], mode: u32) -> Result<(), Error> {
    let directory = path
        .parent()
        .ok_or_else(|| Error::internal("a file has no directory"))?;
    let write = || -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".roadstead-")
            .permissions(fs::Permissions::from_mode(mode))
            .tempfile_in(directory)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(Error::file("write", path))
}
