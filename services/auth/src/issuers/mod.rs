//! Upstream issuers: which are believed, and with what keys.

mod address;
mod client;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod identity;
mod keyset;
mod remote;

use std::{collections::HashMap, fs, io, path::PathBuf, sync::Arc};

use jsonwebtoken::DecodingKey;
use roadstead_proto::auth::v1::LoginOption;
use roadstead_rpc::TaskSet;
use roadstead_types::Clock;
use secrecy::ExposeSecret as _;

pub(crate) use client::ClientError;
pub(crate) use identity::{Peeked, Verified, peek, verify};
pub(crate) use keyset::{IssuerKeySet, PublicKeysError};

use self::{client::IssuerClient, remote::RemoteKeys};
use crate::{
    config::{IssuerConfig, LoginConfig},
    dev::DevIssuer,
    error::Error,
};

/// Why an issuer cannot be taken from the configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IssuerError {
    #[error("{issuer}: {source}")]
    Client { issuer: String, source: ClientError },
    #[error("{issuer}: jwks: {source}")]
    Keys { issuer: String, source: PublicKeysError },
    #[error("{path}: {source}")]
    KeysFile { path: PathBuf, source: io::Error },
}

/// All issuers of the configuration, by the exact text of their `iss`.
#[derive(Debug, Default)]
pub(crate) struct Issuers {
    by_url: HashMap<String, Issuer>,
    logins: Vec<LoginOption>,
}

/// One issuer.
#[derive(Debug)]
pub(crate) struct Issuer {
    url: String,
    audience: String,
    login_client: Option<String>,
    keys: KeySource,
}

/// Where an issuer's keys come from.
#[derive(Debug)]
enum KeySource {
    /// Discovery, over the network.
    Remote(Arc<RemoteKeys>),
    /// The configuration, or this process.
    Given(IssuerKeySet),
}

impl Issuers {
    pub(crate) fn new(
        configured: &[IssuerConfig],
        plain_loopback: bool,
        clock: &Clock,
        tasks: &TaskSet,
    ) -> Result<Self, IssuerError> {
        let mut issuers = Self::default();
        for config in configured {
            let keys = if let Some(keys) = given_keys(config)? {
                KeySource::Given(keys)
            } else {
                let client =
                    IssuerClient::new(config, plain_loopback).map_err(|source| IssuerError::Client {
                        issuer: config.issuer.clone(),
                        source,
                    })?;
                KeySource::Remote(RemoteKeys::new(client, clock.clone(), tasks.clone()))
            };
            if let Some(login) = &config.login {
                issuers.logins.push(login_option(&config.issuer, login));
            }
            issuers.add(Issuer {
                url: config.issuer.clone(),
                audience: config.audience.clone(),
                login_client: config.login.as_ref().map(|login| login.client_id.clone()),
                keys,
            });
        }
        Ok(issuers)
    }

    pub(crate) fn trust_dev(&mut self, dev: &DevIssuer) {
        self.add(Issuer {
            url: dev.url().to_owned(),
            audience: dev.audience().to_owned(),
            // The developer is a person, who logs in by being at the machine.
            login_client: Some(dev.audience().to_owned()),
            keys: KeySource::Given(IssuerKeySet::of_own(dev.key().public())),
        });
    }

    pub(crate) fn get(&self, url: &str) -> Option<&Issuer> {
        self.by_url.get(url)
    }

    /// How people log in, in the order of the configuration.
    pub(crate) fn logins(&self) -> &[LoginOption] {
        &self.logins
    }

    fn add(&mut self, issuer: Issuer) {
        self.by_url.insert(issuer.url.clone(), issuer);
    }
}

impl Issuer {
    /// Whether the configuration names the audience. Identities may name more.
    pub(crate) fn expects(&self, audience: &str) -> bool {
        self.audience == audience || self.is_login(audience)
    }

    /// Whether a token of this audience is that of a person who logs in.
    pub(crate) fn is_login(&self, audience: &str) -> bool {
        self.login_client.as_deref() == Some(audience)
    }

    /// Returns the keys that a token of this header may be signed with.
    pub(crate) async fn keys(&self, peeked: &Peeked) -> Result<Vec<DecodingKey>, Error> {
        let (kid, algorithm) = (peeked.kid.as_deref(), peeked.algorithm);
        match &self.keys {
            KeySource::Given(keys) => Ok(keys.matching(kid, algorithm)),
            KeySource::Remote(remote) => {
                remote
                    .matching(kid, algorithm)
                    .await
                    .map_err(|unavailable| Error::IssuerUnavailable {
                        issuer: self.url.clone(),
                        retry_after: unavailable.retry_after,
                    })
            }
        }
    }
}

fn given_keys(config: &IssuerConfig) -> Result<Option<IssuerKeySet>, IssuerError> {
    let text = match (&config.jwks, &config.jwks_file) {
        (Some(jwks), _) => jwks.clone(),
        (None, Some(path)) => fs::read_to_string(path).map_err(|source| IssuerError::KeysFile {
            path: path.clone(),
            source,
        })?,
        (None, None) => return Ok(None),
    };
    let keys = IssuerKeySet::from_public(&text).map_err(|source| IssuerError::Keys {
        issuer: config.issuer.clone(),
        source,
    })?;
    Ok(Some(keys))
}

fn login_option(issuer: &str, login: &LoginConfig) -> LoginOption {
    let secret = login.client_secret.as_ref();
    LoginOption {
        issuer: issuer.to_owned(),
        client_id: login.client_id.clone(),
        client_secret: secret
            .map(|secret| secret.expose_secret().to_owned())
            .unwrap_or_default(),
        scopes: login.scopes.clone(),
    }
}
