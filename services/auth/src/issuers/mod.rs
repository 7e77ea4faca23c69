//! Upstream issuers: which are believed, and with what keys.

mod address;
mod client;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod identity;
mod keyset;
mod remote;

use std::{collections::HashMap, sync::Arc};

use jsonwebtoken::{Algorithm, DecodingKey};
use roadstead_rpc::TaskSet;
use roadstead_types::Clock;

pub(crate) use client::ClientError;
pub(crate) use identity::Identity;

use self::{client::IssuerClient, keyset::IssuerKeySet, remote::RemoteKeys};
use crate::{config::IssuerConfig, dev::DevIssuer, error::Error};

/// All issuers whose identity tokens are exchanged, by the exact text of their `iss`.
#[derive(Debug, Default)]
pub(crate) struct Issuers(HashMap<String, Issuer>);

/// One issuer.
#[derive(Debug)]
struct Issuer {
    url: String,
    audience: String,
    keys: KeySource,
}

/// Where an issuer's keys come from.
#[derive(Debug)]
enum KeySource {
    /// Discovery, over the network.
    Remote(Arc<RemoteKeys>),
    /// This process.
    Own(IssuerKeySet),
}

impl Issuers {
    pub(crate) fn new(
        configured: &[IssuerConfig],
        plain_loopback: bool,
        clock: &Clock,
        tasks: &TaskSet,
    ) -> Result<Self, ClientError> {
        let mut issuers = Self::default();
        for config in configured {
            let client = IssuerClient::new(config, plain_loopback)?;
            let remote = RemoteKeys::new(client, clock.clone(), tasks.clone());
            issuers.add(&config.issuer, &config.audience, KeySource::Remote(remote));
        }
        Ok(issuers)
    }

    pub(crate) fn trust_dev(&mut self, dev: &DevIssuer) {
        let keys = KeySource::Own(IssuerKeySet::of_own(dev.key().public()));
        self.add(dev.url(), dev.audience(), keys);
    }

    /// Verifies an identity token at `now`, in Unix seconds.
    pub(crate) async fn verify(&self, token: &str, now: i64) -> Result<Identity, Error> {
        let peeked = identity::peek(token)?;
        let Some(issuer) = self.0.get(&peeked.issuer) else {
            return Err(Error::IssuerUntrusted(peeked.issuer));
        };
        // Before any key is asked for, so that tokens for others cost no fetch.
        peeked.check_audience(&issuer.audience)?;
        let keys = issuer.keys(peeked.kid.as_deref(), peeked.algorithm).await?;
        identity::verify(token, &peeked, &issuer.audience, &keys, now)
    }

    fn add(&mut self, url: &str, audience: &str, keys: KeySource) {
        let issuer = Issuer {
            url: url.to_owned(),
            audience: audience.to_owned(),
            keys,
        };
        self.0.insert(url.to_owned(), issuer);
    }
}

impl Issuer {
    async fn keys(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Vec<DecodingKey>, Error> {
        match &self.keys {
            KeySource::Own(keys) => Ok(keys.matching(kid, algorithm)),
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
