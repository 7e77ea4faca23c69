//! A person's login: an identity token of an OpenID Connect issuer that the registry trusts.
//!
//! Which issuers there are, and under which client id, the registry says at `/.well-known/roadstead`. The rest is between
//! the issuer and this program; the registry sees only the identity token.

mod browser;
mod clients;
mod device;
mod provider;
mod redirect;

use std::path::Path;

use reqwest::StatusCode;
use serde::Deserialize;

use crate::{
    cache::{Secret, TokenCache},
    error::{Error, printable},
    registry::{self, Registry},
};
use provider::Provider;

/// How a person logs in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Person {
    /// How they are asked.
    pub(crate) interaction: Interaction,
    /// The issuer, where the registry offers several.
    pub(crate) issuer: Option<String>,
    /// Whether the registry may name a client that is known as another's.
    pub(crate) shared_client: bool,
}

/// How a person is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Interaction {
    /// In a browser that this program opens.
    #[default]
    Browser,
    /// In a browser on this machine that they open themselves.
    Address,
    /// In a browser anywhere (RFC 8628).
    Device,
}

/// What a registry says about itself.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Description {
    /// Where people log in.
    #[serde(default)]
    pub(crate) issuers: Vec<LoginIssuer>,
    /// Of the registry's program.
    pub(crate) version: Option<String>,
}

/// Where people log in, and as which client.
#[derive(Debug, Deserialize)]
pub(crate) struct LoginIssuer {
    issuer: String,
    client_id: String,
    /// Of a client that is installed on many machines: no secret at all, but some issuers want it (RFC 8252, section 8.5).
    client_secret: Option<Secret>,
    #[serde(default)]
    scopes: Vec<String>,
}

/// Asks a registry what it says about itself; one that says nothing has no issuers for people.
pub(crate) async fn describe(registry: &Registry) -> Result<Description, Error> {
    let request = registry.http().get(registry.url(".well-known/roadstead")?);
    let answer = request
        .send()
        .await
        .map_err(|error| registry.unreachable(error))?;
    match answer.status() {
        StatusCode::OK => answer.json().await.map_err(|error| Error::Refused {
            host: registry.host().to_string(),
            request: "GET /.well-known/roadstead".to_owned(),
            reason: format!("the answer is not understood: {}", error.without_url()),
        }),
        StatusCode::NOT_FOUND => Ok(Description::default()),
        _ => Err(registry.refused("GET /.well-known/roadstead", answer).await),
    }
}

/// Has a person log in, and gives the identity token that their issuer gave for the registry.
pub(crate) async fn identity_token(
    registry: &Registry,
    ca_file: Option<&Path>,
    cache: &TokenCache,
    person: &Person,
) -> Result<String, Error> {
    let description = describe(registry).await?;
    let login = chosen(registry, &description.issuers, person.issuer.as_deref())?;
    let url = provider::checked(&login.issuer)?;
    clients::check(cache, registry.host(), login, person.shared_client)?;
    let http = registry::http_client(registry::is_loopback(&url), ca_file)?;
    let provider = Box::pin(Provider::discover(http, login)).await?;
    eprintln!(
        "Logging in to {} with {}.",
        registry.host(),
        printable(&login.issuer)
    );
    let token = match person.interaction {
        Interaction::Browser => Box::pin(browser::identity_token(&provider, true)).await,
        Interaction::Address => Box::pin(browser::identity_token(&provider, false)).await,
        Interaction::Device => Box::pin(device::identity_token(&provider)).await,
    }?;
    // Before the registry gets the token, not after it took it: from then on it can use it elsewhere.
    clients::remember(cache, registry.host(), login, person.shared_client).await?;
    Ok(token)
}

fn chosen<'a>(
    registry: &Registry,
    issuers: &'a [LoginIssuer],
    wanted: Option<&str>,
) -> Result<&'a LoginIssuer, Error> {
    let host = registry.host();
    let known = || {
        let names = issuers.iter().map(|login| printable(&login.issuer));
        names.collect::<Vec<_>>().join(", ")
    };
    match (issuers, wanted) {
        ([], _) => Err(Error::NotLoggedIn {
            host: host.to_string(),
            advice: format!(
                "it names no issuer for people to log in with ([auth.issuers.login] in its configuration)\n\
                 With an identity token: `roadstead login {host} --identity-token FILE`."
            ),
        }),
        ([only], None) => Ok(only),
        (_, None) => Err(Error::Usage(format!(
            "{host} offers several issuers: choose with --issuer, of {}",
            known()
        ))),
        (issuers, Some(wanted)) => issuers
            .iter()
            .find(|login| login.issuer == wanted)
            .ok_or_else(|| {
                Error::Usage(format!(
                    "{host} does not offer {wanted}: choose with --issuer, of {}",
                    known()
                ))
            }),
    }
}
