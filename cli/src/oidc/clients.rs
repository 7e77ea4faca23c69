//! Which registry makes people log in as which client of which issuer.
//!
//! A registry names the issuer and the client itself, and a token is good wherever that client's tokens are. So a registry
//! that names another's client would be given tokens that are good at the other. What was seen is remembered, also after a
//! logout: it is no credential.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};
use url::Url;

use super::LoginIssuer;
use crate::{
    cache::{TokenCache, write_private},
    error::{Error, printable},
    host::RegistryHost,
};

/// No registry's directory or lock can be called so, because a host begins with a letter or a digit.
const FILE: &str = ".login-clients.json";

#[derive(Default, Serialize, Deserialize)]
struct Known {
    clients: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    issuer: String,
    client_id: String,
    /// The registries, by the names of the cache.
    hosts: Vec<String>,
}

/// Refuses a client that is known as another registry's, unless the two may share it.
pub(super) fn check(
    cache: &TokenCache,
    host: &RegistryHost,
    login: &LoginIssuer,
    shared: bool,
) -> Result<(), Error> {
    read(&cache.file(FILE))?.check(host, login, shared)
}

/// Remembers the client as the registry's. It checks once more: another login may have been quicker.
pub(super) async fn remember(
    cache: &TokenCache,
    host: &RegistryHost,
    login: &LoginIssuer,
    shared: bool,
) -> Result<(), Error> {
    let _lock = cache.lock_named(FILE.to_owned()).await?;
    let path = cache.file(FILE);
    let mut known = read(&path)?;
    known.check(host, login, shared)?;
    if known.add(host, login) {
        write_private(
            &path,
            &serde_json::to_vec_pretty(&known).map_err(Error::internal)?,
        )?;
    }
    Ok(())
}

/// A file that is not understood is an error, unlike in the cache: without it, any registry could name any client.
fn read(path: &Path) -> Result<Known, Error> {
    match fs::read(path) {
        Ok(content) => serde_json::from_slice(&content)
            .map_err(|error| Error::file("understand", path)(io::Error::other(error))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Known::default()),
        Err(error) => Err(Error::file("read", path)(error)),
    }
}

impl Known {
    fn find(&self, login: &LoginIssuer) -> Option<usize> {
        let issuer = canonical(&login.issuer);
        let is_it = |entry: &Entry| entry.issuer == issuer && entry.client_id == login.client_id;
        self.clients.iter().position(is_it)
    }

    fn check(&self, host: &RegistryHost, login: &LoginIssuer, shared: bool) -> Result<(), Error> {
        let hosts = self
            .find(login)
            .map_or(&[][..], |at| self.clients[at].hosts.as_slice());
        if shared || hosts.is_empty() || hosts.contains(&host.cache_name()) {
            return Ok(());
        }
        Err(Error::ClientOfAnother {
            host: host.to_string(),
            others: hosts.join(", "),
            issuer: printable(&login.issuer),
            client: printable(&login.client_id),
        })
    }

    /// Says whether that was new.
    fn add(&mut self, host: &RegistryHost, login: &LoginIssuer) -> bool {
        let host = host.cache_name();
        match self.find(login) {
            Some(at) if self.clients[at].hosts.contains(&host) => return false,
            Some(at) => self.clients[at].hosts.push(host),
            None => self.clients.push(Entry {
                issuer: canonical(&login.issuer),
                client_id: login.client_id.clone(),
                hosts: vec![host],
            }),
        }
        true
    }
}

/// One spelling of an issuer's address, since another one leads to the same issuer.
fn canonical(issuer: &str) -> String {
    let url = Url::parse(issuer).map_or_else(|_| issuer.to_owned(), String::from);
    url.trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{FILE, check, remember};
    use crate::{cache::TokenCache, error::Error, host::RegistryHost, oidc::LoginIssuer};

    fn login(issuer: &str, client: &str) -> LoginIssuer {
        LoginIssuer {
            issuer: issuer.to_owned(),
            client_id: client.to_owned(),
            client_secret: None,
            scopes: Vec::new(),
        }
    }

    fn host(name: &str) -> RegistryHost {
        RegistryHost::parse(name).unwrap()
    }

    #[tokio::test]
    async fn a_client_is_of_one_registry_however_it_is_spelled() {
        let directory = tempfile::tempdir().unwrap();
        let cache = TokenCache::at(directory.path().join("cache"));
        let good = login("https://login.example", "c");
        check(&cache, &host("localhost:5000"), &good, false).unwrap();
        remember(&cache, &host("localhost:5000"), &good, false)
            .await
            .unwrap();
        check(&cache, &host("127.0.0.1:5000"), &good, false).unwrap();
        for issuer in [
            "https://login.example",
            "https://login.example/",
            "https://LOGIN.example:443",
        ] {
            let refused = check(&cache, &host("evil.example"), &login(issuer, "c"), false);
            assert!(matches!(refused, Err(Error::ClientOfAnother { .. })), "{issuer}");
        }
        let late = remember(&cache, &host("127.0.0.1:5001"), &good, false).await;
        assert!(matches!(late, Err(Error::ClientOfAnother { .. })));
        for other in [
            login("https://login.example", "d"),
            login("https://other.example", "c"),
        ] {
            check(&cache, &host("evil.example"), &other, false).unwrap();
        }
    }

    #[tokio::test]
    async fn a_memory_that_is_not_understood_lets_nobody_in() {
        let directory = tempfile::tempdir().unwrap();
        let cache = TokenCache::at(directory.path());
        fs::write(directory.path().join(FILE), "{").unwrap();
        let login = login("https://login.example", "c");
        let refused = check(&cache, &host("a.example"), &login, true);
        assert!(matches!(refused, Err(Error::File { .. })));
        assert!(remember(&cache, &host("a.example"), &login, true).await.is_err());
    }
}
