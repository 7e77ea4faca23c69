//! The registry's own token service: `/sts/exchange` (RFC 8693, and RFC 6749 section 6 for refresh tokens) and
//! `/sts/revoke` (RFC 7009).

use reqwest::{Response, StatusCode};
use serde::Deserialize;

use crate::{
    cache::{Identity, Secret, Wanted},
    error::Error,
    registry::{Registry, explain},
};

const IDENTITY_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:id_token";
const TOKEN_EXCHANGE_GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// What the registry gave. No `Debug`: it must not end up in a message.
#[derive(Deserialize)]
pub(crate) struct Granted {
    pub(crate) access_token: String,
    /// Seconds.
    pub(crate) expires_in: i64,
    /// Who the token is for, as its issuer calls them.
    pub(crate) identity: Identity,
    /// The identities of the registry that it speaks for.
    #[serde(default)]
    pub(crate) identities: Vec<Named>,
    pub(crate) refresh_token: Option<Secret>,
    /// Seconds.
    pub(crate) refresh_expires_in: Option<i64>,
}

/// An identity of the registry.
#[derive(Deserialize)]
pub(crate) struct Named {
    pub(crate) name: String,
}

/// An identity token, and whether a session is wanted for it.
pub(crate) struct Subject<'a> {
    pub(crate) identity_token: &'a str,
    pub(crate) session: bool,
}

/// Gives an identity token to the registry.
pub(crate) async fn exchange(
    registry: &Registry,
    subject: &Subject<'_>,
    wanted: &Wanted,
) -> Result<Granted, Error> {
    let mut form = vec![
        ("grant_type", TOKEN_EXCHANGE_GRANT.to_owned()),
        ("subject_token_type", IDENTITY_TOKEN_TYPE.to_owned()),
        ("subject_token", subject.identity_token.to_owned()),
    ];
    if subject.session {
        form.push(("session", "true".to_owned()));
    }
    form.extend(wanted.identity.clone().map(|identity| ("identity", identity)));
    let answer = post(registry, "sts/exchange", narrowed(form, wanted)).await?;
    granted(
        registry,
        answer,
        "The identity token must be unexpired, of an issuer in [[auth.issuers]], with the audience set there.",
    )
    .await
}

/// Turns a refresh token into the next access token, and the next refresh token.
pub(crate) async fn refresh(
    registry: &Registry,
    refresh_token: &Secret,
    wanted: &Wanted,
) -> Result<Granted, Error> {
    let form = vec![
        ("grant_type", "refresh_token".to_owned()),
        ("refresh_token", refresh_token.expose().to_owned()),
    ];
    let answer = post(registry, "sts/exchange", narrowed(form, wanted)).await?;
    let advice = format!("The session is over. Run `roadstead login {}`.", registry.host());
    granted(registry, answer, &advice).await
}

/// Ends the session of a refresh token.
pub(crate) async fn revoke(registry: &Registry, refresh_token: &Secret) -> Result<(), Error> {
    let form = vec![
        ("token", refresh_token.expose().to_owned()),
        ("token_type_hint", "refresh_token".to_owned()),
    ];
    let answer = post(registry, "sts/revoke", form).await?;
    if answer.status().is_success() {
        return Ok(());
    }
    Err(registry.refused("POST /sts/revoke", answer).await)
}

type Form = Vec<(&'static str, String)>;

fn narrowed(mut form: Form, wanted: &Wanted) -> Form {
    if !wanted.scopes.is_empty() {
        form.push(("scope", wanted.scopes.join(" ")));
    }
    let capabilities = wanted.capabilities.iter();
    form.extend(capabilities.map(|capability| ("capability", capability.clone())));
    form
}

async fn post(registry: &Registry, path: &str, form: Form) -> Result<Response, Error> {
    let request = registry.http().post(registry.url(path)?).form(&form);
    request.send().await.map_err(|error| registry.unreachable(error))
}

async fn granted(registry: &Registry, answer: Response, advice: &str) -> Result<Granted, Error> {
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return Err(Error::LoginRefused {
                host: registry.host().to_string(),
                reason: format!("{}\n{advice}", explain(answer).await),
            });
        }
        _ => return Err(registry.refused("POST /sts/exchange", answer).await),
    }
    answer.json().await.map_err(|error| Error::Refused {
        host: registry.host().to_string(),
        request: "POST /sts/exchange".to_owned(),
        reason: format!("the answer is not a token: {}", error.without_url()),
    })
}
