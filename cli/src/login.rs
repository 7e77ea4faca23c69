//! From an identity to an access token.
//!
//! A registry started with `--dev` on this machine proves its user by a file only that user can read; every other one
//! is given an identity token of an OIDC issuer that it trusts. Either way the identity token is exchanged at
//! `/sts/exchange`, and nothing longer-lived than an access token is kept.

use std::{env, fs, io::Read as _, path::Path};

use etcetera::BaseStrategy as _;
use reqwest::StatusCode;
use roadstead_types::{Clock, Digest};
use serde::Deserialize;

use crate::{
    cache::{CachedToken, Identity, Source, TokenCache, user_cache_directory},
    error::{Error, printable},
    host::RegistryHost,
    registry::{Registry, Transport, explain},
};

/// The environment variable that carries an identity token.
pub(crate) const IDENTITY_TOKEN_VARIABLE: &str = "ROADSTEAD_IDENTITY_TOKEN";

/// A cached token with less life than this is replaced: what is started with it should be able to finish.
const NEAR_EXPIRY_SECONDS: i64 = 600;

/// A token with no more life than this is not handed out even where no other is to be had: it would end on the way.
const LEAST_LIFE_SECONDS: i64 = 5;

const IDENTITY_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:id_token";
const TOKEN_EXCHANGE_GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

#[derive(Deserialize)]
struct IdentityTokenReply {
    identity_token: String,
}

#[derive(Deserialize)]
struct ExchangeReply {
    access_token: String,
    expires_in: i64,
    identity: Identity,
}

/// Which identity a login uses.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Login<'a> {
    /// An identity token in a file, or on standard input for `-`.
    With(&'a str),
    /// That of the environment, else the development issuer's.
    Unattended,
    /// The development issuer's, whatever the environment says.
    #[cfg_attr(
        not(feature = "serve"),
        expect(dead_code, reason = "only the demonstration asks for it")
    )]
    Dev,
}

/// Logs in, keeps the token and remembers the registry as the last one.
pub(crate) async fn login(
    cache: &TokenCache,
    clock: &Clock,
    host: &RegistryHost,
    transport: &Transport,
    login: Login<'_>,
) -> Result<CachedToken, Error> {
    let registry = Registry::connect(host, transport).await?;
    let (subject_token, source) = match login {
        Login::With("-") => (read_standard_input()?, Source::IdentityToken),
        Login::With(file) => {
            let path = fs::canonicalize(file).map_err(Error::file("read", file))?;
            (read_token(&path)?, Source::IdentityTokenFile { path })
        }
        Login::Unattended => match environment_token() {
            Some(token) => (token, Source::IdentityToken),
            None => dev_identity_token(&registry).await?,
        },
        Login::Dev => dev_identity_token(&registry).await?,
    };
    let token = exchange(&registry, clock, transport, &subject_token, source).await?;
    cache.store(host, &token)?;
    cache.set_last_login(host)?;
    Ok(token)
}

/// A token with enough life to be used: the cached one, else another got the same way without asking anyone.
pub(crate) async fn fresh_token(
    cache: &TokenCache,
    clock: &Clock,
    host: &RegistryHost,
    transport: &Transport,
) -> Result<CachedToken, Error> {
    let cached = cache.load(host)?;
    // What the login said about the way to the registry holds until a flag says otherwise.
    let transport = cached
        .as_ref()
        .map_or_else(|| transport.clone(), |token| token.transport(transport));
    if let Some(token) = &cached
        && token.expires_at - clock.unix_seconds() > NEAR_EXPIRY_SECONDS
        && still_of_this_process(host, token)
    {
        return Ok(token.clone());
    }
    let renewed = renew(
        clock,
        host,
        &transport,
        cached.as_ref().map(|token| &token.source),
    )
    .await;
    match (renewed, cached) {
        (Ok(token), _) => {
            cache.store(host, &token)?;
            Ok(token)
        }
        // Better a token with minutes left than none.
        (Err(_), Some(token))
            if token.expires_at - clock.unix_seconds() > LEAST_LIFE_SECONDS
                && still_of_this_process(host, &token) =>
        {
            Ok(token)
        }
        (Err(error), _) => Err(error),
    }
}

/// Gets a token as the last one was got. Only a registry that was logged in to is given the environment's identity
/// token: a credential helper is asked about hosts that nobody meant to show it to.
async fn renew(
    clock: &Clock,
    host: &RegistryHost,
    transport: &Transport,
    last: Option<&Source>,
) -> Result<CachedToken, Error> {
    let given = match last {
        Some(Source::IdentityTokenFile { path }) => Some((
            read_token(path)?,
            Source::IdentityTokenFile { path: path.clone() },
        )),
        Some(Source::IdentityToken) => environment_token().map(|token| (token, Source::IdentityToken)),
        Some(Source::Dev { .. }) | None => None,
    };
    if given.is_none() && dev_secrets(host).is_empty() {
        return Err(not_logged_in(host));
    }
    let registry = Registry::connect(host, transport).await?;
    let (subject_token, source) = match given {
        Some(given) => given,
        None => dev_identity_token(&registry).await?,
    };
    exchange(&registry, clock, transport, &subject_token, source).await
}

/// Gives an identity token to `/sts/exchange`.
async fn exchange(
    registry: &Registry,
    clock: &Clock,
    transport: &Transport,
    subject_token: &str,
    source: Source,
) -> Result<CachedToken, Error> {
    let form = [
        ("grant_type", TOKEN_EXCHANGE_GRANT),
        ("subject_token_type", IDENTITY_TOKEN_TYPE),
        ("subject_token", subject_token),
    ];
    let request = registry.http().post(registry.url("sts/exchange")?).form(&form);
    let answer = request
        .send()
        .await
        .map_err(|error| registry.unreachable(error))?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return Err(Error::LoginRefused {
                host: registry.host().to_string(),
                reason: format!(
                    "{}\nThe identity token must be unexpired, of an issuer in [[auth.issuers]], with the audience set there.",
                    explain(answer).await
                ),
            });
        }
        _ => return Err(registry.refused("POST /sts/exchange", answer).await),
    }
    let reply: ExchangeReply = answer.json().await.map_err(|error| Error::Refused {
        host: registry.host().to_string(),
        request: "POST /sts/exchange".to_owned(),
        reason: format!("the answer is not a token: {}", error.without_url()),
    })?;
    Ok(CachedToken {
        host: registry.host().to_string(),
        access_token: reply.access_token,
        expires_at: clock.unix_seconds() + reply.expires_in,
        identity: reply.identity,
        plain_http: transport.plain_http,
        ca_file: transport
            .ca_file
            .as_ref()
            .map(|path| fs::canonicalize(path).unwrap_or_else(|_| path.clone())),
        source,
    })
}

/// Asks the development issuer for an identity token, with the secret that the process left for this user.
async fn dev_identity_token(registry: &Registry) -> Result<(String, Source), Error> {
    let host = registry.host();
    let secrets = dev_secrets(host);
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

/// Whether a token of a development issuer comes from the process that runs now.
fn still_of_this_process(host: &RegistryHost, token: &CachedToken) -> bool {
    match &token.source {
        Source::Dev { secret_digest } => dev_secrets(host)
            .iter()
            .any(|secret| digest(secret) == *secret_digest),
        Source::IdentityToken | Source::IdentityTokenFile { .. } => true,
    }
}

/// The secrets that development issuers left for this user and port: in the runtime directory, else in the cache.
/// Both are looked at, since the registry may have been started by a service manager or in another session.
fn dev_secrets(host: &RegistryHost) -> Vec<String> {
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

fn not_logged_in(host: &RegistryHost) -> Error {
    let advice = if let Some(port) = host.dev_port() {
        format!(
            "no development issuer has left its secret for port {port} (start the registry with `roadstead serve --dev`, as this user),\n\
             and no identity token is given (`roadstead login {host} --identity-token FILE`, or {IDENTITY_TOKEN_VARIABLE})"
        )
    } else {
        format!(
            "run `roadstead login {host} --identity-token FILE` with an OIDC identity token of an issuer the registry trusts,\n\
             or set {IDENTITY_TOKEN_VARIABLE}; login through a browser is not there yet"
        )
    };
    Error::NotLoggedIn {
        host: host.to_string(),
        advice,
    }
}

fn environment_token() -> Option<String> {
    env::var(IDENTITY_TOKEN_VARIABLE)
        .ok()
        .map(|token| token.trim().to_owned())
        .filter(|token| !token.is_empty())
}

fn read_token(path: &Path) -> Result<String, Error> {
    let token = fs::read_to_string(path).map_err(Error::file("read", path))?;
    checked(token.trim(), &path.display().to_string())
}

fn read_standard_input() -> Result<String, Error> {
    let mut token = String::new();
    std::io::stdin()
        .read_to_string(&mut token)
        .map_err(Error::file("read", "standard input"))?;
    checked(token.trim(), "standard input")
}

fn checked(token: &str, from: &str) -> Result<String, Error> {
    if token.is_empty() || token.chars().any(char::is_whitespace) {
        return Err(Error::Usage(format!(
            "{} holds no identity token",
            printable(from)
        )));
    }
    Ok(token.to_owned())
}

fn digest(secret: &str) -> String {
    Digest::sha256(secret.as_bytes()).to_string()
}
