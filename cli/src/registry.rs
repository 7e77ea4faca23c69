//! How to speak to a registry: scheme, address, trust.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::{Certificate, StatusCode, redirect};
use serde::Deserialize;
use url::{Host, Url};

use crate::{
    error::{Error, chain, printable},
    host::RegistryHost,
};

/// What a user may say about the way to a registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transport {
    /// Speak http to a host that is not this machine.
    pub plain_http: bool,
    /// A certificate authority to trust beside the system's.
    pub ca_file: Option<PathBuf>,
}

/// A registry and the connections to it.
#[derive(Debug, Clone)]
pub struct Registry {
    host: RegistryHost,
    base: Url,
    http: reqwest::Client,
}

impl Registry {
    /// Decides how the host is spoken to. On loopback it asks whether it answers over http; elsewhere nothing is sent
    /// and https is meant unless `plain_http` is set.
    pub async fn connect(host: &RegistryHost, transport: &Transport) -> Result<Self, Error> {
        let http = http_client(host.is_loopback(), transport.ca_file.as_deref())?;
        let with_base = |scheme: &str, authority: &str| {
            let base = Url::parse(&format!("{scheme}://{authority}/")).map_err(Error::internal)?;
            Ok(Self {
                host: host.clone(),
                base,
                http: http.clone(),
            })
        };
        if !host.is_loopback() {
            let scheme = if transport.plain_http { "http" } else { "https" };
            return with_base(scheme, &host.to_string());
        }
        let mut reason = String::new();
        for authority in host.authorities() {
            let registry: Self = with_base("http", &authority)?;
            match registry.http.get(registry.url("v2/")?).send().await {
                // Servers that want TLS answer 400 to plain http, or cut the connection.
                Ok(answer) if answer.status() != StatusCode::BAD_REQUEST => return Ok(registry),
                Err(error) if error.is_connect() => reason = chain(&error.without_url()),
                _ => return with_base("https", &host.to_string()),
            }
        }
        let reason =
            format!("{reason}\nIs it running? `roadstead serve --dev` starts one on 127.0.0.1:5000.");
        Err(Error::Unreachable {
            host: host.to_string(),
            reason,
        })
    }

    /// The registry's name.
    pub fn host(&self) -> &RegistryHost {
        &self.host
    }

    /// The root of its URLs, with a final slash.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// The connections. They follow no redirect, since a redirected POST would hand its token to another host.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Whether requests go in the clear.
    pub fn is_plain_http(&self) -> bool {
        self.base.scheme() == "http"
    }

    /// The URL of a path without leading slash.
    pub fn url(&self, path: &str) -> Result<Url, Error> {
        self.base.join(path).map_err(Error::internal)
    }

    /// A request that brought no answer.
    pub fn unreachable(&self, error: reqwest::Error) -> Error {
        let mut reason = chain(&error.without_url());
        if !self.is_plain_http() {
            reason.push_str(
                "\nIf its certificate is signed by your own authority, name it with --ca-file; if it speaks only http, say --plain-http.",
            );
        }
        Error::Unreachable {
            host: self.host.to_string(),
            reason,
        }
    }

    /// An answer with a status that was not hoped for.
    pub async fn refused(&self, request: impl Into<String>, answer: reqwest::Response) -> Error {
        let reason = explain(answer).await;
        Error::Refused {
            host: self.host.to_string(),
            request: request.into(),
            reason,
        }
    }
}

/// Whether a URL is of this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// A client for one host and those that a document of it names. It trusts the system's authorities, or those that
/// `SSL_CERT_FILE` and `SSL_CERT_DIR` name instead, and one more.
pub(crate) fn http_client(loopback: bool, ca_file: Option<&Path>) -> Result<reqwest::Client, Error> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("roadstead/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(Duration::from_mins(1))
        .redirect(redirect::Policy::none());
    if loopback {
        // A proxy named in the environment cannot reach this machine's loopback, and must not see its secrets.
        builder = builder.no_proxy();
    }
    if let Some(path) = ca_file {
        let pem = fs::read(path).map_err(Error::file("read", path))?;
        let authorities = Certificate::from_pem_bundle(&pem)
            .map_err(|error| Error::Usage(format!("{} holds no certificate: {error}", path.display())))?;
        if authorities.is_empty() {
            return Err(Error::Usage(format!(
                "{} holds no certificate in PEM form",
                path.display()
            )));
        }
        builder = authorities
            .into_iter()
            .fold(builder, reqwest::ClientBuilder::add_root_certificate);
    }
    builder.build().map_err(|error| Error::Internal(chain(&error)))
}

/// The body of an error: the distribution specification's, or OAuth's.
#[derive(Deserialize)]
struct ErrorBody {
    #[serde(default)]
    errors: Vec<ErrorItem>,
    error: Option<String>,
    error_description: Option<String>,
}

#[derive(Deserialize)]
struct ErrorItem {
    code: String,
    #[serde(default)]
    message: String,
}

/// Status and words of an answer, for a person.
pub(crate) async fn explain(answer: reqwest::Response) -> String {
    let status = answer.status();
    let said = answer.json::<ErrorBody>().await.ok().and_then(|body| {
        let item = body
            .errors
            .into_iter()
            .next()
            .map(|item| format!("{}: {}", item.code, item.message));
        item.or_else(|| match (body.error, body.error_description) {
            (Some(error), Some(description)) => Some(format!("{error}: {description}")),
            (error, description) => error.or(description),
        })
    });
    said.map_or_else(
        || status.to_string(),
        |said| format!("{} ({status})", printable(&said)),
    )
}
