//! Fetching an issuer's keys.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use openidconnect::{
    DiscoveryError, HttpRequest, HttpResponse, IssuerUrl, JsonWebKeySetUrl,
    core::CoreJsonWebKeySet,
    http::{Response, header::CONTENT_TYPE},
};
use reqwest::{
    Certificate, Client,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};
use serde::Deserialize;
use url::{Host, Url};

use super::address::AddressPolicy;
use crate::config::{IssuerConfig, is_loopback};

/// The largest document that is read from an issuer, in bytes. Real ones are a few thousand.
const DOCUMENT_LIMIT: usize = 100 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Two documents and their connections fit in the ten seconds that an exchange may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);

/// Why an issuer cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("{path}: {source}")]
    RootsFile { path: PathBuf, source: std::io::Error },
    #[error("{path}: no certificates in PEM")]
    Roots { path: PathBuf },
    #[error("the issuer {0} is not a URL")]
    Issuer(String),
    #[error("the HTTP client cannot be made")]
    Build(#[from] reqwest::Error),
}

/// Why an issuer's keys were not had this time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("the address of the document is not one that may be asked: {0}")]
    Refused(Url),
    #[error("the request failed")]
    Request(#[from] reqwest::Error),
    #[error("the document is larger than {DOCUMENT_LIMIT} bytes")]
    TooLarge,
    #[error("the answer is not HTTP")]
    Http(#[from] openidconnect::http::Error),
    #[error("the discovery document's address cannot be formed")]
    Address(#[from] url::ParseError),
    #[error("discovery was answered {0}")]
    Status(u16),
    #[error("the discovery document is not one")]
    Document(#[from] serde_json::Error),
    #[error("the discovery document is of the issuer {0}")]
    OtherIssuer(String),
}

/// What is needed of a discovery document. The full metadata type demands an authorization endpoint, and issuers of
/// workload identities, such as build services, have none.
#[derive(Deserialize)]
struct Discovery {
    issuer: IssuerUrl,
    jwks_uri: JsonWebKeySetUrl,
}

/// Asks one issuer.
#[derive(Debug)]
pub(crate) struct IssuerClient {
    issuer: IssuerUrl,
    documents: Documents,
}

/// Gets documents from where they may be got.
#[derive(Clone, Debug)]
struct Documents {
    http: Client,
    addresses: AddressPolicy,
    plain_loopback: bool,
}

impl IssuerClient {
    /// Makes a client. `plain_loopback` admits `http://` on this machine.
    pub(crate) fn new(config: &IssuerConfig, plain_loopback: bool) -> Result<Self, ClientError> {
        let issuer =
            IssuerUrl::new(config.issuer.clone()).map_err(|_| ClientError::Issuer(config.issuer.clone()))?;
        let addresses = if config.allow_private {
            AddressPolicy::AllowPrivate
        } else {
            AddressPolicy::PublicOnly
        };
        let mut builder = Client::builder()
            // A redirect could lead where the address of the document may not; issuers need none.
            .redirect(redirect::Policy::none())
            // A proxy would resolve names itself, beyond the reach of the address policy.
            .no_proxy()
            .dns_resolver(std::sync::Arc::new(PolicyResolver(addresses)))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .pool_max_idle_per_host(1)
            .user_agent(concat!("roadstead/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &config.ca_file {
            builder = builder.tls_built_in_root_certs(false);
            for certificate in read_roots(path)? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        Ok(Self {
            issuer,
            documents: Documents {
                http: builder.build()?,
                addresses,
                plain_loopback,
            },
        })
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Fetches the discovery document and the keys that it leads to.
    pub(crate) async fn fetch(&self) -> Result<CoreJsonWebKeySet, DiscoveryError<FetchError>> {
        let jwks_uri = self.discover().await.map_err(DiscoveryError::Request)?;
        let documents = self.documents.clone();
        let get = move |request: HttpRequest| documents.clone().get(request);
        CoreJsonWebKeySet::fetch_async(&jwks_uri, &get).await
    }

    async fn discover(&self) -> Result<JsonWebKeySetUrl, FetchError> {
        let url = self.issuer.join(".well-known/openid-configuration")?;
        let request = openidconnect::http::Request::get(url.as_str()).body(Vec::new())?;
        let response = self.documents.clone().get(request).await?;
        if response.status() != openidconnect::http::StatusCode::OK {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let document: Discovery = serde_json::from_slice(response.body())?;
        // Compared as text: URLs that differ in a slash, a dot or case are different issuers.
        if *document.issuer != *self.issuer {
            return Err(FetchError::OtherIssuer(document.issuer.to_string()));
        }
        Ok(document.jwks_uri)
    }
}

impl Documents {
    async fn get(self, request: HttpRequest) -> Result<HttpResponse, FetchError> {
        let request: reqwest::Request = request.try_into()?;
        if !self.may_ask(request.url()) {
            return Err(FetchError::Refused(request.url().clone()));
        }
        let mut answer = self.http.execute(request).await?;
        let mut response = Response::builder().status(answer.status());
        if let Some(content_type) = answer.headers().get(CONTENT_TYPE) {
            response = response.header(CONTENT_TYPE, content_type);
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            if body.len() + chunk.len() > DOCUMENT_LIMIT {
                return Err(FetchError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(response.body(body)?)
    }

    /// Checks what the resolver does not see: the scheme, and hosts that are addresses already.
    fn may_ask(&self, url: &Url) -> bool {
        let scheme = match url.scheme() {
            "https" => true,
            "http" => self.plain_loopback && is_loopback(url),
            _ => false,
        };
        let host = match url.host() {
            Some(Host::Domain(_)) => true,
            Some(Host::Ipv4(address)) => self.addresses.permits(address.into()),
            Some(Host::Ipv6(address)) => self.addresses.permits(address.into()),
            None => false,
        };
        scheme && host
    }
}

fn read_roots(path: &PathBuf) -> Result<Vec<Certificate>, ClientError> {
    let pem = fs::read(path).map_err(|source| ClientError::RootsFile {
        path: path.clone(),
        source,
    })?;
    let roots = Certificate::from_pem_bundle(&pem).map_err(|_| ClientError::Roots { path: path.clone() })?;
    if roots.is_empty() {
        Err(ClientError::Roots { path: path.clone() })
    } else {
        Ok(roots)
    }
}

/// Gives only the addresses of a name that the policy permits: at the moment of connecting, so that a name cannot
/// change its addresses between a check and its use.
#[derive(Debug)]
struct PolicyResolver(AddressPolicy);

impl Resolve for PolicyResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let permitted: Vec<SocketAddr> = found.filter(|address| policy.permits(address.ip())).collect();
            if permitted.is_empty() {
                return Err(format!("{} has no address that may be connected to", name.as_str()).into());
            }
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}
