//! Which registry is meant.

use std::{fmt, net::IpAddr, str::FromStr};

use http::uri::Authority;
use url::Url;

use crate::error::Error;

/// `host[:port]` of a registry, as image names carry it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryHost {
    /// In lower case; an IPv6 address in brackets.
    name: String,
    port: Option<u16>,
}

impl RegistryHost {
    /// Parses `host[:port]`. A scheme and a path, as container clients give them to credential helpers, are dropped.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let invalid = || Error::Usage(format!("{text:?} is not a registry: expected HOST or HOST:PORT"));
        let bare = text.trim();
        let bare = bare
            .strip_prefix("https://")
            .or_else(|| bare.strip_prefix("http://"))
            .unwrap_or(bare);
        let bare = bare.split('/').next().unwrap_or_default();
        // An authority may carry `user@`; a registry may not, since it would look like another host.
        if bare.contains('@') {
            return Err(invalid());
        }
        let authority = Authority::from_str(bare).map_err(|_| invalid())?;
        let name = authority.host().to_ascii_lowercase();
        let bracketed = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let valid = match bracketed {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            // The name is also a directory of the cache: it must not be `..`.
            None => name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain),
        };
        // `host:` and `host:99999` parse as authorities without a usable port.
        if !valid || (authority.port_u16().is_none() && authority.as_str().len() != name.len()) {
            return Err(invalid());
        }
        let url = Url::parse(&format!("http://{name}")).map_err(|_| invalid())?;
        let in_url = url.host_str().unwrap_or_default();
        // `127.1` and `0x7f000001` are 127.0.0.1 in a URL: the host that is asked must be the one that was named.
        if bracketed.is_none() && in_url != name {
            return Err(invalid());
        }
        Ok(Self {
            name: in_url.to_owned(),
            port: authority.port_u16(),
        })
    }

    /// Whether the host is this machine by name or number.
    pub fn is_loopback(&self) -> bool {
        let bare = self.name.trim_start_matches('[').trim_end_matches(']');
        self.name == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// The port of the development issuer that may be meant: plain http where none is named. It answers to three names
    /// only, so what listens on any other address of this machine is somebody else's, and its secret must not get there.
    pub(crate) fn dev_port(&self) -> Option<u16> {
        let answers = matches!(self.name.as_str(), "localhost" | "127.0.0.1" | "[::1]");
        answers.then_some(self.port.unwrap_or(80))
    }

    /// The name under which tokens are kept: `localhost` and `127.0.0.1` with one port are one registry.
    pub(crate) fn cache_name(&self) -> String {
        let name = if self.name == "localhost" {
            "127.0.0.1"
        } else {
            &self.name
        };
        join(name, self.port)
    }

    /// Addresses to try, most likely first. `localhost` is spelled as numbers: another user's listener on the other
    /// address family must not be given what is meant for this one just because a resolver prefers it.
    pub(crate) fn authorities(&self) -> Vec<String> {
        if self.name == "localhost" {
            vec![join("127.0.0.1", self.port), join("[::1]", self.port)]
        } else {
            vec![self.to_string()]
        }
    }

    /// Every name that clients may use for the same registry.
    pub(crate) fn aliases(&self) -> Vec<String> {
        if matches!(self.name.as_str(), "localhost" | "127.0.0.1") {
            vec![join("127.0.0.1", self.port), join("localhost", self.port)]
        } else {
            vec![self.to_string()]
        }
    }
}

fn join(name: &str, port: Option<u16>) -> String {
    port.map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"))
}

impl fmt::Display for RegistryHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&join(&self.name, self.port))
    }
}

impl FromStr for RegistryHost {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::RegistryHost;

    #[test]
    fn parses_what_clients_send() {
        for (given, host) in [
            ("localhost:5000", "localhost:5000"),
            ("https://Registry.Example.com/v2/", "registry.example.com"),
            ("http://127.0.0.1:5000\n", "127.0.0.1:5000"),
            ("[::1]:5000", "[::1]:5000"),
            ("[0:0:0:0:0:0:0:1]:5000", "[::1]:5000"),
        ] {
            assert_eq!(RegistryHost::parse(given).unwrap().to_string(), host, "{given}");
        }
    }

    #[test]
    fn refuses_what_is_no_host() {
        for given in [
            "",
            "..",
            "a@b",
            "host:",
            "host:99999",
            "host:x",
            "[::1",
            "a b",
            "-x",
            "[..]",
            "127.1",
            "0x7f000001",
            "2130706433",
            "a.0",
        ] {
            assert!(RegistryHost::parse(given).is_err(), "{given}");
        }
    }

    #[test]
    fn loopback_is_by_whole_name() {
        for (given, loopback) in [
            ("localhost", true),
            ("127.8.0.1:1", true),
            ("[::1]:1", true),
            ("localhost.example.com", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(
                RegistryHost::parse(given).unwrap().is_loopback(),
                loopback,
                "{given}"
            );
        }
    }
}
