//! What of the distribution API every command needs: the challenge, a registry token, pages.

use std::collections::HashSet;

use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use roadstead_types::Clock;
use serde::{Deserialize, de::DeserializeOwned};
use url::Url;

use crate::{
    args::Remote, cache::TokenCache, credential_helper::USER_NAME, error::Error, login::fresh_token,
    registry::Registry,
};

/// A challenge as `/v2/` gives it to those without a token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// Where tokens are to be had.
    pub(crate) realm: String,
    /// For whom they are.
    pub(crate) service: String,
}

impl Challenge {
    /// Parses the value of `WWW-Authenticate`.
    pub(crate) fn parse(value: &str) -> Option<Self> {
        let parameters = value.strip_prefix("Bearer ")?;
        // Realm and service are URL and authority: neither holds a quote or a comma.
        let parameter = |name: &str| {
            parameters.split(',').find_map(|item| {
                let (key, value) = item.trim().split_once('=')?;
                (key == name).then(|| value.trim_matches('"').to_owned())
            })
        };
        Some(Self {
            realm: parameter("realm")?,
            service: parameter("service")?,
        })
    }
}

/// Asks `/v2/` without a token what it wants instead.
pub(crate) async fn challenge(registry: &Registry) -> Result<Challenge, Error> {
    let answer = send(registry, registry.http().get(registry.url("v2/")?)).await?;
    if answer.status() != StatusCode::UNAUTHORIZED {
        return Err(registry.refused("GET /v2/ without a token", answer).await);
    }
    let value = answer
        .headers()
        .get(header::WWW_AUTHENTICATE)
        .and_then(|value| value.to_str().ok());
    value.and_then(Challenge::parse).ok_or_else(|| Error::Refused {
        host: registry.host().to_string(),
        request: "GET /v2/ without a token".to_owned(),
        reason: "there is no Bearer challenge".to_owned(),
    })
}

/// A registry token. No `Debug`: it must not end up in a message.
#[derive(Deserialize)]
pub(crate) struct RegistryToken {
    pub(crate) token: String,
    /// How long it lives in seconds, if the registry said.
    #[cfg_attr(
        not(feature = "serve"),
        expect(dead_code, reason = "only the demonstration tells it")
    )]
    pub(crate) expires_in: Option<u64>,
}

/// Turns an access token into a registry token. It is asked for where the access token came from, whatever the challenge
/// says: it goes to no other host.
pub(crate) async fn registry_token(
    registry: &Registry,
    challenge: &Challenge,
    scope: &str,
    access_token: &str,
) -> Result<RegistryToken, Error> {
    let mut url = registry.url("token")?;
    url.query_pairs_mut()
        .append_pair("service", &challenge.service)
        .append_pair("scope", scope);
    let request = registry.http().get(url).basic_auth(USER_NAME, Some(access_token));
    let answer = send(registry, request).await?;
    if answer.status() != StatusCode::OK {
        return Err(registry.refused("GET /token", answer).await);
    }
    answer.json().await.map_err(|error| registry.unreachable(error))
}

pub(crate) async fn send(registry: &Registry, request: RequestBuilder) -> Result<Response, Error> {
    request.send().await.map_err(|error| registry.unreachable(error))
}

/// The distribution API with a token for one scope.
pub(crate) struct Distribution {
    registry: Registry,
    token: String,
}

impl Distribution {
    pub(crate) async fn open(
        remote: Remote,
        scope: &str,
        cache: &TokenCache,
        clock: &Clock,
    ) -> Result<Self, Error> {
        let (host, transport) = crate::remote(remote, cache)?;
        let access = fresh_token(cache, clock, &host, &transport).await?;
        let registry = Registry::connect(&host, &access.transport(&transport)).await?;
        let challenge = challenge(&registry).await?;
        let granted = registry_token(&registry, &challenge, scope, &access.access_token).await?;
        Ok(Self {
            registry,
            token: granted.token,
        })
    }

    /// Sends a request; `path` is below `/v2/`.
    pub(crate) async fn send(&self, method: Method, path: &str) -> Result<Response, Error> {
        self.send_to(method, self.registry.url(&format!("v2/{path}"))?)
            .await
    }

    async fn send_to(&self, method: Method, url: Url) -> Result<Response, Error> {
        let request = self.registry.http().request(method, url);
        send(&self.registry, request.bearer_auth(&self.token)).await
    }

    /// What to say of an answer that was not hoped for.
    pub(crate) async fn refused(&self, request: &str, answer: Response) -> Error {
        self.registry.refused(request, answer).await
    }

    /// Reads a listing page by page until there are enough entries.
    pub(crate) async fn list<P: Page + DeserializeOwned>(
        &self,
        path: &str,
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        let mut entries = Vec::new();
        let mut url = self.registry.url(&format!("v2/{path}"))?;
        url.query_pairs_mut()
            .append_pair("n", &limit.min(1_000).to_string());
        let mut seen = HashSet::new();
        while entries.len() < limit && seen.insert(url.clone()) {
            let answer = self.send_to(Method::GET, url).await?;
            if answer.status() != StatusCode::OK {
                return Err(self.refused(&format!("GET {path}"), answer).await);
            }
            let next = self.next(&answer);
            let page: P = answer
                .json()
                .await
                .map_err(|error| self.registry.unreachable(error))?;
            entries.extend(page.entries());
            match next {
                Some(next) => url = next,
                None => break,
            }
        }
        entries.truncate(limit);
        Ok(entries)
    }

    /// The next page, on the registry and nowhere else: the token goes with it.
    fn next(&self, answer: &Response) -> Option<Url> {
        let link = answer.headers().get(header::LINK)?.to_str().ok()?;
        let (target, parameters) = link.strip_prefix('<')?.split_once('>')?;
        let next = answer.url().join(target).ok()?;
        let good = parameters.contains("rel=\"next\"") && next.origin() == self.registry.base().origin();
        good.then_some(next)
    }
}

/// A page of a listing.
pub(crate) trait Page {
    fn entries(self) -> Vec<String>;
}

#[cfg(test)]
mod tests {
    use super::Challenge;

    #[test]
    fn parses_a_challenge() {
        let value =
            r#"Bearer realm="http://127.0.0.1:5000/token",service="127.0.0.1:5000",error="invalid_token""#;
        let challenge = Challenge::parse(value).unwrap();
        assert_eq!(challenge.realm, "http://127.0.0.1:5000/token");
        assert_eq!(challenge.service, "127.0.0.1:5000");
        assert_eq!(Challenge::parse(r#"Basic realm="x",service="y""#), None);
        assert_eq!(Challenge::parse(r#"Bearer realm="x""#), None);
    }
}
