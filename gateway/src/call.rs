//! One request, apart from its body.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header, request::Parts};
use roadstead_proto::common::v1::RequestContext;
use uuid::Uuid;

use crate::{address::Addresses, query::Query};

/// The header under which clients and logs find a request.
pub(crate) const REQUEST_ID: &str = "x-request-id";

/// Headers whose values must not stand in debug output, nor in the compression tables of the connections behind us.
const SECRETS: [HeaderName; 2] = [header::AUTHORIZATION, DEV_SECRET];

/// The header that shows the secret of the development issuer.
pub(crate) const DEV_SECRET: HeaderName = HeaderName::from_static("x-roadstead-dev");

/// The head of a request and where it came from.
#[derive(Debug)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub uri: Uri,
    /// All headers.
    pub headers: HeaderMap,
    /// Who holds the other end of the connection.
    pub peer: SocketAddr,
    /// The client, which is behind the peer where that is a trusted proxy.
    pub client: IpAddr,
    /// Names this request in logs, events and the answer.
    pub request_id: HeaderValue,
}

impl Call {
    /// Takes a request's head.
    pub fn new(mut parts: Parts, peer: SocketAddr, addresses: &Addresses) -> Self {
        for name in SECRETS {
            if let header::Entry::Occupied(mut values) = parts.headers.entry(name) {
                values.iter_mut().for_each(|value| value.set_sensitive(true));
            }
        }
        let client = addresses.client(peer, &parts.headers);
        let request_id = parts
            .headers
            .get(REQUEST_ID)
            .filter(|id| is_sane_id(id) && addresses.is_trusted(peer.ip()))
            .cloned()
            .unwrap_or_else(new_id);
        Self {
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
            peer,
            client,
            request_id,
        }
    }

    /// The host that the client believes to talk to; none when the request names two.
    pub fn host(&self) -> Option<&str> {
        let header = self.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        match (self.uri.authority().map(http::uri::Authority::as_str), header) {
            (Some(authority), Some(header)) if authority != header => None,
            (Some(authority), _) => Some(authority),
            (None, header) => header,
        }
    }

    /// The query.
    pub fn query(&self) -> Query<'_> {
        Query::new(self.uri.query().unwrap_or_default())
    }

    /// A header's text; none when it is absent or not visible ASCII.
    pub fn header(&self, name: &header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The `User-Agent`, cut to a sane length.
    pub fn user_agent(&self) -> &str {
        let text = self.header(&header::USER_AGENT).unwrap_or_default();
        // `header` gives visible ASCII, which can be cut anywhere.
        &text[..text.len().min(256)]
    }

    /// The request id as text.
    pub fn request_id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }

    /// What the services record about the request.
    pub fn context(&self) -> RequestContext {
        RequestContext {
            request_id: self.request_id().to_owned(),
            client_address: self.client.to_string(),
            user_agent: self.user_agent().to_owned(),
            operation_id: Uuid::now_v7().to_string(),
        }
    }
}

fn is_sane_id(id: &HeaderValue) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
    (1..=128).contains(&id.len()) && id.as_bytes().iter().all(allowed)
}

fn new_id() -> HeaderValue {
    let text = format!("{:032x}", rand::random::<u128>());
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests {
    use roadstead_runtime::{ConfigSources, ConfigTree, PublicAddress};

    use super::*;

    #[test]
    fn secrets_stand_in_no_debug_output() {
        let tree = ConfigTree::load(ConfigSources::default()).unwrap();
        let addresses = Addresses::new(&PublicAddress::from_tree(&tree).unwrap(), Vec::new());
        let request = http::Request::get("/")
            .header("authorization", "Bearer hidden")
            .header("authorization", "Basic hidden")
            .header("x-roadstead-dev", "hidden")
            .header("x-other", "shown");
        let parts = request.body(()).unwrap().into_parts().0;
        let call = Call::new(parts, "127.0.0.1:9".parse().unwrap(), &addresses);
        let output = format!("{call:?}");
        assert!(output.contains("shown") && !output.contains("hidden"), "{output}");
    }

    #[test]
    fn ids_of_proxies_must_be_plain() {
        for good in ["a", "4bf92f35-77b3", "req:1/2+3="] {
            assert!(is_sane_id(&HeaderValue::from_static(good)), "{good}");
        }
        for bad in ["", "a b", "{\"x\":1}", "a\tb"] {
            assert!(!is_sane_id(&HeaderValue::from_static(bad)), "{bad:?}");
        }
        assert!(!is_sane_id(&HeaderValue::try_from("a".repeat(129)).unwrap()));
        assert!(is_sane_id(&new_id()));
        assert_ne!(new_id(), new_id());
    }
}
