//! An OpenID provider: discovery, its endpoints, and the check of what it gives.

use std::{error::Error as StdError, pin::Pin};

use openidconnect::{
    AdditionalProviderMetadata, AuthType, ClientId, ClientSecret, DeviceAuthorizationUrl, EndpointMaybeSet,
    EndpointNotSet, EndpointSet, HttpClientError, HttpRequest, HttpResponse, IssuerUrl, NonceVerifier,
    ProviderMetadata, RequestTokenError, Scope, TokenResponse as _,
    core::{
        CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClient, CoreClientAuthMethod, CoreGrantType,
        CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm,
        CoreJwsSigningAlgorithm, CoreResponseMode, CoreResponseType, CoreSubjectIdentifierType,
        CoreTokenResponse,
    },
};
use serde::{Deserialize, Serialize};
use url::Url;

use super::LoginIssuer;
use crate::{
    error::{Error, chain, printable},
    registry,
};

/// No document of an issuer is longer.
const LONGEST_ANSWER: usize = 1024 * 1024;

/// A client of the provider, before anything optional is set.
pub(super) type Client = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// What this program wants to know beside OpenID Connect Discovery.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Extensions {
    /// RFC 8628, section 4.
    device_authorization_endpoint: Option<DeviceAuthorizationUrl>,
    /// RFC 9207, section 3.
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl AdditionalProviderMetadata for Extensions {}

type Metadata = ProviderMetadata<
    Extensions,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// A provider that was discovered.
pub(super) struct Provider {
    http: reqwest::Client,
    pub(super) client: Client,
    pub(super) scopes: Vec<Scope>,
    pub(super) issuer: String,
    pub(super) device_endpoint: Option<DeviceAuthorizationUrl>,
    /// Whether redirects name the issuer.
    pub(super) names_itself: bool,
    signing: Vec<CoreJwsSigningAlgorithm>,
}

/// The URL of an issuer or of one of its endpoints. Passwords are typed there and codes sent there: https, or this very
/// machine.
pub(super) fn checked(url: &str) -> Result<Url, Error> {
    let parsed = Url::parse(url).ok().filter(|url| {
        let safe = url.scheme() == "https" || (url.scheme() == "http" && registry::is_loopback(url));
        safe && url.username().is_empty() && url.password().is_none() && url.fragment().is_none()
    });
    parsed.ok_or_else(|| {
        Error::Usage(format!(
            "the issuer's address {:?} is not https; nothing was sent there",
            printable(url)
        ))
    })
}

impl Provider {
    pub(super) async fn discover(http: reqwest::Client, login: &LoginIssuer) -> Result<Self, Error> {
        let refused = |reason: String| Error::LoginRefused {
            host: login.issuer.clone(),
            reason,
        };
        let issuer = IssuerUrl::new(login.issuer.clone()).map_err(|error| refused(error.to_string()))?;
        let send = bounded(http.clone());
        let metadata = Metadata::discover_async(issuer, &send)
            .await
            .map_err(|error| refused(format!("discovery failed: {}", chain(&error))))?;
        for url in [
            Some(metadata.authorization_endpoint().as_str()),
            metadata.token_endpoint().map(|url| url.as_str()),
        ]
        .into_iter()
        .flatten()
        {
            checked(url)?;
        }
        let extensions = metadata.additional_metadata().clone();
        let signing = metadata.id_token_signing_alg_values_supported().iter();
        let signing = signing.filter(|algorithm| is_asymmetric(algorithm)).cloned();
        let signing: Vec<_> = signing.collect();
        let by_body = login.client_secret.is_some() && wants_secret_in_body(&metadata);
        let secret = login
            .client_secret
            .as_ref()
            .map(|secret| ClientSecret::new(secret.expose().to_owned()));
        let mut client =
            CoreClient::from_provider_metadata(metadata, ClientId::new(login.client_id.clone()), secret);
        if by_body {
            client = client.set_auth_type(AuthType::RequestBody);
        }
        Ok(Self {
            http,
            client,
            scopes: login.scopes.iter().cloned().map(Scope::new).collect(),
            issuer: login.issuer.clone(),
            device_endpoint: extensions.device_authorization_endpoint,
            names_itself: extensions.authorization_response_iss_parameter_supported,
            signing,
        })
    }

    /// Sends requests to the provider.
    pub(super) fn http(&self) -> impl Fn(HttpRequest) -> Sending + use<> {
        bounded(self.http.clone())
    }

    pub(super) fn refused(&self, reason: impl Into<String>) -> Error {
        Error::LoginRefused {
            host: self.issuer.clone(),
            reason: reason.into(),
        }
    }

    /// Why a token was not given, in the provider's words.
    pub(super) fn no_token<RE, T>(&self, error: &RequestTokenError<RE, T>) -> Error
    where
        RE: StdError + 'static,
        T: openidconnect::ErrorResponse + std::fmt::Display + 'static,
    {
        let reason = match error {
            RequestTokenError::ServerResponse(said) => printable(&said.to_string()),
            // What does not fit may be a token, so only its place is told.
            RequestTokenError::Parse(error, _) => {
                format!(
                    "its answer is not understood at {}",
                    printable(&error.path().to_string())
                )
            }
            other => chain(other),
        };
        self.refused(reason)
    }

    /// The identity token of an answer, after a check of its signature, issuer, audience, times and nonce. The registry
    /// checks again; what fails here has gone to nobody.
    pub(super) fn verified(
        &self,
        answer: &CoreTokenResponse,
        nonce: impl NonceVerifier,
    ) -> Result<String, Error> {
        let token = answer.id_token().ok_or_else(|| {
            self.refused("it gave no identity token; is the client registered for the scope openid?")
        })?;
        let verifier = self
            .client
            .id_token_verifier()
            .set_allowed_algs(self.signing.clone());
        token
            .claims(&verifier, nonce)
            .map_err(|error| self.refused(format!("its identity token is not good: {}", chain(&error))))?;
        Ok(token.to_string())
    }
}

fn is_asymmetric(algorithm: &CoreJwsSigningAlgorithm) -> bool {
    use CoreJwsSigningAlgorithm as Jws;
    !matches!(
        algorithm,
        Jws::HmacSha256 | Jws::HmacSha384 | Jws::HmacSha512 | Jws::None
    )
}

/// Whether the provider takes a client's secret in the form and not in a header.
fn wants_secret_in_body(metadata: &Metadata) -> bool {
    metadata
        .token_endpoint_auth_methods_supported()
        .is_some_and(|methods| {
            methods.contains(&CoreClientAuthMethod::ClientSecretPost)
                && !methods.contains(&CoreClientAuthMethod::ClientSecretBasic)
        })
}

pub(super) type Failure = HttpClientError<reqwest::Error>;
type Sending = Pin<Box<dyn Future<Output = Result<HttpResponse, Failure>> + Send>>;

/// Sends a request where it is safe to, and reads no more of the answer than a document of an issuer can have.
fn bounded(http: reqwest::Client) -> impl Fn(HttpRequest) -> Sending {
    move |request| {
        let http = http.clone();
        Box::pin(async move {
            let request: reqwest::Request = request.try_into().map_err(Box::new)?;
            checked(request.url().as_str()).map_err(|error| Failure::Other(error.to_string()))?;
            let mut answer = http.execute(request).await.map_err(Box::new)?;
            let mut response = http::Response::builder().status(answer.status());
            for (name, value) in answer.headers() {
                response = response.header(name, value);
            }
            let mut body = Vec::new();
            while let Some(chunk) = answer.chunk().await.map_err(Box::new)? {
                if body.len() + chunk.len() > LONGEST_ANSWER {
                    return Err(Failure::Other("the answer is too long".to_owned()));
                }
                body.extend_from_slice(&chunk);
            }
            Ok(response.body(body)?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::checked;

    #[test]
    fn an_issuer_is_https_or_on_this_machine() {
        for good in [
            "https://login.example.com/realms/a",
            "http://127.0.0.1:9000",
            "http://localhost:9000/x",
            "http://[::1]:9000",
        ] {
            assert!(checked(good).is_ok(), "{good}");
        }
        for bad in [
            "http://login.example.com",
            "http://localhost.example.com",
            "https://user@login.example.com",
            "https://login.example.com#x",
            "file:///etc/passwd",
            "login.example.com",
            "http://10.0.0.1",
        ] {
            assert!(checked(bad).is_err(), "{bad}");
        }
    }
}
