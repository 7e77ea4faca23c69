//! What an operator can set under `[gateway]`.

use std::{net::SocketAddr, time::Duration};

use ipnet::IpNet;
use roadstead_runtime::Validate;
use serde::Deserialize;

/// The section `[gateway]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where clients connect: HTTP/1.1, HTTP/2 without TLS, gRPC and gRPC-Web on one port.
    pub listen: SocketAddr,
    /// The address that clients know the registry by, for example `https://registry.example.com`. It decides the token
    /// realm, the issuer and the `service`. Required unless `listen` is loopback.
    // Here for the key to be known. It is read as a `PublicAddress`, since auth needs it too.
    pub public_url: Option<String>,
    /// Serves `/dev/token`, which gives identity tokens to this machine's user. Only on a loopback listener.
    pub dev: bool,
    /// Networks of proxies whose `X-Forwarded-For` and `X-Request-Id` are believed, for example `["10.0.0.0/8"]`.
    pub trusted_proxies: Vec<IpNet>,
    /// The largest manifest taken, in bytes. Clients refuse to pull more than 4 MiB, so more helps nobody.
    pub manifest_size_limit: usize,
    /// How long a body may stand still while the gateway waits for the client to send more of an upload, or to take more
    /// of a download. There is no limit on the whole body.
    #[serde(with = "humantime_serde")]
    pub body_idle_timeout: Duration,
    /// How long a connection may take to send the head of a request; also how long it may stay idle between requests,
    /// after which it is closed within as long again.
    /// Go's clients keep idle connections for 90 s.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// The most bytes of names and values in a request's headers. A multi-range request of a partial pull has many.
    pub max_header_bytes: usize,
    /// Connections served at once; further ones wait in the kernel's queue.
    pub max_connections: usize,
    /// The most ranges that one GET of a blob may name. More are refused with 400, upon which partial pulls ask for
    /// fewer.
    pub max_ranges: usize,
    /// The most tags, or repositories, in one answer; also how many there are when the client does not say.
    pub page_size: u32,
    /// The most tags that one manifest PUT may set with `?tag=`.
    pub max_tags_per_push: usize,
    /// Pull events that wait for the events service. What does not fit is counted and dropped.
    pub pull_event_buffer: usize,
    /// How long refusals of one identity are counted before they become events, one for each repository and action.
    #[serde(with = "humantime_serde")]
    pub refusal_event_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: roadstead_runtime::DEFAULT_LISTEN,
            public_url: None,
            dev: false,
            trusted_proxies: Vec::new(),
            manifest_size_limit: roadstead_types::MANIFEST_SIZE_LIMIT,
            body_idle_timeout: Duration::from_mins(1),
            header_timeout: Duration::from_mins(2),
            max_header_bytes: 64 * 1024,
            max_connections: 8192,
            max_ranges: 1024,
            page_size: 1000,
            max_tags_per_push: 64,
            pull_event_buffer: 10_000,
            refusal_event_interval: Duration::from_mins(1),
        }
    }
}

impl Validate for Config {
    fn validate(&self, problems: &mut Vec<String>) {
        if self.dev && !self.listen.ip().is_loopback() {
            problems.push(format!(
                "dev: gives tokens to whoever can connect, so listen must be a loopback address, not {}",
                self.listen
            ));
        }
        if !(1..=roadstead_types::MANIFEST_SIZE_LIMIT).contains(&self.manifest_size_limit) {
            problems.push(format!(
                "manifest_size_limit: must be between 1 and {}",
                roadstead_types::MANIFEST_SIZE_LIMIT
            ));
        }
        let positive_durations = [
            ("body_idle_timeout", self.body_idle_timeout),
            ("header_timeout", self.header_timeout),
            ("refusal_event_interval", self.refusal_event_interval),
        ];
        for (key, value) in positive_durations {
            if value.is_zero() {
                problems.push(format!("{key}: must be more than 0"));
            }
        }
        if !(8 * 1024..=1024 * 1024).contains(&self.max_header_bytes) {
            problems.push("max_header_bytes: must be between 8192 and 1048576".to_owned());
        }
        if !(1..=10_000).contains(&self.page_size) {
            problems.push("page_size: must be between 1 and 10000".to_owned());
        }
        let positive_counts = [
            ("max_connections", self.max_connections),
            ("max_ranges", self.max_ranges),
            ("pull_event_buffer", self.pull_event_buffer),
        ];
        for (key, value) in positive_counts {
            if value == 0 {
                problems.push(format!("{key}: must be at least 1"));
            }
        }
        if self.max_tags_per_push < 10 {
            problems
                .push("max_tags_per_push: must be at least 10, which the specification asks for".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(config: &Config) -> Vec<String> {
        let mut problems = Vec::new();
        config.validate(&mut problems);
        problems
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(problems_of(&Config::default()), Vec::<String>::new());
    }

    #[test]
    fn the_dev_issuer_needs_loopback() {
        let listen = "0.0.0.0:5000".parse().unwrap();
        let problems = problems_of(&Config {
            dev: true,
            listen,
            ..Config::default()
        });
        assert!(problems[0].starts_with("dev:"), "{problems:?}");
    }

    #[test]
    fn every_problem_is_reported() {
        let config = Config {
            manifest_size_limit: 0,
            body_idle_timeout: Duration::ZERO,
            header_timeout: Duration::ZERO,
            max_header_bytes: 1,
            max_connections: 0,
            max_ranges: 0,
            page_size: 0,
            max_tags_per_push: 9,
            pull_event_buffer: 0,
            refusal_event_interval: Duration::ZERO,
            ..Config::default()
        };
        assert_eq!(problems_of(&config).len(), 10);
    }
}
