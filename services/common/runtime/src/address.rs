//! The one address that tokens, challenges and clients agree on.

use std::net::SocketAddr;

use url::Url;

use crate::config::{ConfigError, ConfigTree, Reader};

/// Where the gateway listens unless told otherwise.
pub const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5000);

/// The registry's public address. It decides the token realm, the issuer of tokens and their `service`; nothing in a
/// request ever does.
///
/// It is read from `gateway.public_url` and `gateway.listen`, by the gateway and by auth: the one case in which a
/// service reads another's section, because the two must not disagree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicAddress {
    /// `https://registry.example.com`, without a path.
    pub url: Url,
    /// The host, with its port unless that is the scheme's own: the `service` and audience of tokens.
    pub service: String,
    /// Whether `gateway.public_url` was set, rather than derived from a loopback listener.
    pub explicit: bool,
    /// Where the gateway listens.
    pub listen: SocketAddr,
}

impl PublicAddress {
    /// Reads the address from `tree`.
    ///
    /// # Errors
    ///
    /// As [`PublicAddress::read`].
    pub fn from_tree(tree: &ConfigTree) -> Result<Self, ConfigError> {
        let mut reader = tree.reader();
        let address = Self::read(&mut reader);
        reader.finish()?;
        address.ok_or_else(|| ConfigError::new("gateway.public_url: is required"))
    }

    /// Reads the address, leaving to `reader` what is wrong with it: an ill-formed URL, none for a listener beyond
    /// loopback, or a loopback port that is not known in advance.
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let listen_is_set = reader.contains("gateway.listen");
        let listen: Option<SocketAddr> = reader.key("gateway.listen");
        if listen_is_set && listen.is_none() {
            return None;
        }
        let listen = listen.unwrap_or(DEFAULT_LISTEN);
        let address = if reader.contains("gateway.public_url") {
            let text: String = reader.key("gateway.public_url")?;
            Self::parse(&text, listen)
        } else {
            Self::derive(listen)
        };
        address.map_err(|problem| reader.problem(problem)).ok()
    }

    /// Returns whether only this machine can reach the listener.
    pub fn is_loopback(&self) -> bool {
        self.listen.ip().is_loopback()
    }

    /// Returns the URL without the trailing slash that [`Url`] prints: `http://127.0.0.1:5000`.
    pub fn origin(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    fn parse(text: &str, listen: SocketAddr) -> Result<Self, String> {
        let refuse = |why: &str| format!("gateway.public_url: {why}");
        let url = Url::parse(text).map_err(|error| refuse(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refuse("must begin with http:// or https://"));
        }
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !bare || !url.username().is_empty() || url.password().is_some() {
            return Err(refuse(
                "must be a scheme and a host only, because clients ask for /v2/ at the root",
            ));
        }
        let service = service_of(&url).ok_or_else(|| refuse("has no host"))?;
        Ok(Self {
            url,
            service,
            explicit: true,
            listen,
        })
    }

    fn derive(listen: SocketAddr) -> Result<Self, String> {
        if !listen.ip().is_loopback() {
            return Err(format!(
                "gateway.public_url: is required when gateway.listen ({listen}) is not loopback, because tokens name it"
            ));
        }
        if listen.port() == 0 {
            return Err(
                "gateway.public_url: is required when gateway.listen leaves the port open".to_owned(),
            );
        }
        let url =
            Url::parse(&format!("http://{listen}")).map_err(|error| format!("gateway.listen: {error}"))?;
        let service = service_of(&url).ok_or("gateway.listen: has no host")?;
        Ok(Self {
            url,
            service,
            explicit: false,
            listen,
        })
    }
}

fn service_of(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(
        url.port()
            .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
    )
}
