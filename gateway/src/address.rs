//! Which address answers name, and whose address a request comes from.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
};

use http::HeaderMap;
use ipnet::IpNet;
use roadstead_runtime::PublicAddress;

/// Decides about addresses. Nothing that a client can put into a request changes the outcome, with one exception: where
/// the public address was derived from a loopback listener, `localhost`, `127.0.0.1` and `[::1]` with our port are names
/// of one and the same thing, and the client gets back the one that it used, because some clients only trust that.
#[derive(Debug, Clone)]
pub struct Addresses {
    origin: String,
    service: String,
    /// The port for which loopback names are echoed.
    echo_port: Option<u16>,
    trusted_proxies: Vec<IpNet>,
}

impl Addresses {
    /// Takes the configured address and the proxies whose `X-Forwarded-For` counts.
    pub fn new(public: &PublicAddress, trusted_proxies: Vec<IpNet>) -> Self {
        let may_echo = !public.explicit && public.is_loopback();
        Self {
            origin: public.origin().to_owned(),
            service: public.service.clone(),
            echo_port: public.url.port_or_known_default().filter(|_| may_echo),
            trusted_proxies,
        }
    }

    /// The configured origin, for example `https://registry.example.com`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The `service` of challenges and tokens.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The origin under which this client reaches the registry. `X-Forwarded-Proto` and `X-Forwarded-Host` are not
    /// asked, not even of trusted proxies: behind a proxy `public_url` is set, and it alone decides.
    pub fn origin_for(&self, host: Option<&str>) -> Cow<'_, str> {
        match (self.echo_port, host) {
            (Some(port), Some(host)) if is_loopback_name(host, port) => Cow::Owned(format!("http://{host}")),
            _ => Cow::Borrowed(&self.origin),
        }
    }

    /// Whether the peer is a configured proxy.
    pub fn is_trusted(&self, peer: IpAddr) -> bool {
        !self.trusted_proxies.is_empty() && {
            let peer = peer.to_canonical();
            self.trusted_proxies.iter().any(|network| network.contains(&peer))
        }
    }

    /// The client's address: the peer, or what trusted proxies say stands behind them. `X-Forwarded-For` is read from its
    /// end, since everything before the first untrusted address may be made up.
    pub fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.ip().to_canonical();
        if !self.is_trusted(client) {
            return client;
        }
        let lines: Vec<&str> = headers
            .get_all("x-forwarded-for")
            .iter()
            .filter_map(|line| line.to_str().ok())
            .collect();
        for item in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
            let Some(address) = parse_address(item.trim()) else {
                break;
            };
            client = address;
            if !self.is_trusted(client) {
                break;
            }
        }
        client
    }
}

/// Whether `host` is exactly one of the three loopback names with this port.
pub fn is_loopback_name(host: &str, port: u16) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, digits)) if !name.is_empty() && !digits.ends_with(']') => {
            // `05000` is the same number, but nothing that a client of ours writes.
            if digits.parse() != Ok(port) || digits.starts_with(['0', '+']) {
                return false;
            }
            name
        }
        _ if port == 80 => host,
        _ => return false,
    };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

fn parse_address(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address: Option<IpAddr> = text
        .parse()
        .ok()
        .or_else(bracketed)
        .or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address| address.to_canonical())
}
