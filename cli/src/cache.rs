//! Tokens on disk: `<cache>/roadstead/<host>/access-token.json`, mode 0600 in directories of mode 0700.
//!
//! Reading takes no lock, since files are replaced in one step. Getting another token does: two processes that show one
//! refresh token would look like a thief and its victim.

use std::{
    fmt, fs,
    fs::File,
    io,
    io::Write as _,
    path::{Path, PathBuf},
};

use etcetera::BaseStrategy as _;
use serde::{Deserialize, Serialize};

use crate::{
    ambient::Provider,
    error::Error,
    host::RegistryHost,
    platform::{self, Access},
    registry::Transport,
};

const TOKEN_FILE: &str = "access-token.json";
const LAST_LOGIN_FILE: &str = "last-login";
/// No registry's directory can be called so, because a host begins with a letter or a digit.
const LOCKS: &str = ".locks";

/// A token and how to get the next one. No `Debug`: it must not end up in a message.
#[derive(Clone, Serialize, Deserialize)]
pub struct CachedToken {
    /// The registry as its user names it.
    pub host: String,
    /// The secret.
    pub access_token: String,
    /// When it ends, in Unix seconds.
    pub expires_at: i64,
    /// When another is got in its place, in Unix seconds; some minutes before it ends where that is not told.
    #[serde(default)]
    pub renew_at: Option<i64>,
    /// Who the registry says it is for.
    pub identity: Identity,
    /// Whether the user allowed http to another machine.
    #[serde(default)]
    pub plain_http: bool,
    /// The certificate authority that signs for the registry, beside the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// The names of the identities that it speaks for, as the registry said.
    #[serde(default)]
    pub identities: Vec<String>,
    /// What the login asked for, and what renewals ask for again.
    #[serde(default)]
    pub wanted: Wanted,
    /// Where it came from.
    pub source: Source,
}

/// What a token is asked to be less than all that its identity has, and for whom.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The audience that an identity token is asked to have; the registry's own name where none is given.
    #[serde(default)]
    pub audience: Option<String>,
    /// The one identity to speak for.
    #[serde(default)]
    pub identity: Option<String>,
    /// Groups and repositories that the token is good for.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Capabilities that the token has.
    #[serde(default)]
    pub capabilities: Vec<String>,
}

/// A text that no message may show.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for sending and storing.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
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
    /// What this machine is: a job of a continuous integration system, a pod, an instance of a cloud.
    Ambient {
        /// Which of them.
        provider: Provider,
    },
    /// A person's login.
    Session {
        /// Is replaced each time it is used; none once the session is over.
        refresh_token: Option<Secret>,
        /// When it ends if it is not used, in Unix seconds; 0 if the registry did not say.
        #[serde(default)]
        expires_at: i64,
    },
}

impl Source {
    /// The refresh token of a session that is not over.
    pub(crate) fn refresh_token(&self) -> Option<&Secret> {
        match self {
            Self::Session { refresh_token, .. } => refresh_token.as_ref(),
            _ => None,
        }
    }
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

    /// Waits until no other process is about to replace or remove the registry's token, and keeps others waiting until
    /// the lock is dropped, or the process ends.
    pub async fn lock(&self, host: &RegistryHost) -> Result<CacheLock, Error> {
        self.lock_named(platform::file_name(&host.cache_name())).await
    }

    /// Likewise for what is no registry's.
    pub(crate) async fn lock_named(&self, name: String) -> Result<CacheLock, Error> {
        let directory = self.root.join(LOCKS);
        // Never removed: who waits for a file that is gone would not wait for its successor.
        let path = directory.join(name);
        let locking = tokio::task::spawn_blocking(move || {
            create_private_directory(&directory)?;
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .map_err(Error::file("open", &path))?;
            file.lock().map_err(Error::file("lock", &path))?;
            Ok(CacheLock { _file: file })
        });
        locking.await.map_err(Error::internal)?
    }

    /// Forgets a registry; says whether it was known.
    pub fn remove(&self, host: &RegistryHost) -> Result<bool, Error> {
        let path = self.token_path(host);
        match fs::remove_file(&path) {
            Ok(()) => {
                // The directory goes with its only file; should something else be in it, it stays.
                let _ = fs::remove_dir(self.directory(host));
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

    /// Where something is kept that is no registry's.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn directory(&self, host: &RegistryHost) -> PathBuf {
        self.root.join(platform::file_name(&host.cache_name()))
    }

    fn token_path(&self, host: &RegistryHost) -> PathBuf {
        self.directory(host).join(TOKEN_FILE)
    }
}

/// The right to replace a registry's token; ends when dropped.
#[derive(Debug)]
pub struct CacheLock {
    _file: File,
}

/// `$XDG_CACHE_HOME/roadstead`, else `~/.cache/roadstead`.
pub(crate) fn user_cache_directory() -> Result<PathBuf, Error> {
    etcetera::choose_base_strategy()
        .map(|directories| directories.cache_dir().join("roadstead"))
        .map_err(|error| Error::Usage(format!("{error}: set HOME or XDG_CACHE_HOME")))
}

/// Replaces a file in one step, for its owner alone, creating its directories likewise.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<(), Error> {
    create_private_directory(directory_of(path)?)?;
    replace(path, content, Access::Owner)
}

pub(crate) fn create_private_directory(directory: &Path) -> Result<(), Error> {
    platform::create_private_directory(directory).map_err(Error::file("create", directory))
}

/// Replaces a file in one step: readers see the old content or the new one.
pub(crate) fn replace(path: &Path, content: &[u8], access: Access) -> Result<(), Error> {
    let directory = directory_of(path)?;
    let write = || -> io::Result<()> {
        let mut file = platform::temporary_file(directory, access)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(Error::file("write", path))
}

fn directory_of(path: &Path) -> Result<&Path, Error> {
    path.parent()
        .ok_or_else(|| Error::internal("a file has no directory"))
}
