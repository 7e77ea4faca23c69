//! The development issuer of a registry on this machine.

use std::fs;

use etcetera::BaseStrategy as _;
use reqwest::StatusCode;
use roadstead_types::Digest;
use serde::Deserialize;

use super::not_logged_in;
use crate::{
    cache::{Source, user_cache_directory},
    error::Error,
    host::RegistryHost,
    registry::{Registry, explain},
};

#[derive(Deserialize)]
struct IdentityTokenReply {
    identity_token: String,
}

/// Whether a development issuer has left a secret for this user and the host's port.
pub(super) fn is_possible(host: &RegistryHost) -> bool {
    !secrets(host).is_empty()
}

/// Whether a secret, known by its digest, is that of a process that may run now.
pub(super) fn is_current(host: &RegistryHost, secret_digest: &str) -> bool {
    secrets(host).iter().any(|secret| digest(secret) == secret_digest)
}

/// Asks the development issuer for an identity token, with the secret that the process left for this user.
pub(super) async fn identity_token(registry: &Registry) -> Result<(String, Source), Error> {
    let host = registry.host();
    let secrets = secrets(host);
    if !registry.is_plain_http() || secrets.is_empty() {
        return Err(not_logged_in(host));
    }
    let mut reason = String::new();
    for secret in secrets {
        let request = registry
            .http()
            .post(registry.url("dev/token")?)
            .header("x-roadstead-dev", &secret);
        let answer = request
            .send()
            .await
            .map_err(|error| registry.unreachable(error))?;
        if answer.status() == StatusCode::OK {
            let reply: IdentityTokenReply =
                answer.json().await.map_err(|error| registry.unreachable(error))?;
            let source = Source::Dev {
                secret_digest: digest(&secret),
            };
            return Ok((reply.identity_token, source));
        }
        reason = explain(answer).await;
    }
    Err(Error::LoginRefused {
        host: host.to_string(),
        reason: format!(
            "{reason}\nThe development issuer does not know the secret left for this port; is another user's registry on it?"
        ),
    })
}

/// The secrets that development issuers left for this user and port: in the runtime directory, else in the cache.
/// Both are looked at, since the registry may have been started by a service manager or in another session.
fn secrets(host: &RegistryHost) -> Vec<String> {
    let Some(port) = host.dev_port() else {
        return Vec::new();
    };
    let name = format!("dev-{port}.secret");
    let runtime = etcetera::choose_base_strategy()
        .ok()
        .and_then(|directories| directories.runtime_dir())
        .map(|directory| directory.join("roadstead"));
    [runtime, user_cache_directory().ok()]
        .into_iter()
        .flatten()
        .filter_map(|directory| fs::read_to_string(directory.join(&name)).ok())
        .map(|secret| secret.trim().to_owned())
        .filter(|secret| !secret.is_empty())
        .collect()
}

fn digest(secret: &str) -> String {
    Digest::sha256(secret.as_bytes()).to_string()
}
