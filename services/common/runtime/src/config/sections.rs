//! The sections that every process reads.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use roadstead_rpc::{Peer, TlsConfig};
use serde::Deserialize;
use url::Url;

use super::Validate;

/// `[runtime]`: what a process needs whatever it serves.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuntimeConfig {
    /// Where services keep their data; each has a directory of its own in it.
    pub data_dir: PathBuf,
    /// Where `/livez`, `/readyz` and `/metrics` are served. Left out, it is 127.0.0.1:9900, or any free port of
    /// loopback if that one is taken.
    pub admin_listen: Option<SocketAddr>,
    /// How long requests in flight may take to finish at shutdown.
    #[serde(with = "humantime_serde")]
    pub shutdown_grace: Duration,
    /// How long the process goes on accepting after it has reported itself as not ready, so that load balancers notice.
    #[serde(with = "humantime_serde")]
    pub drain_delay: Duration,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines are written, in the syntax of `RUST_LOG`.
    pub log_filter: String,
}

impl RuntimeConfig {
    /// The admin address where none is configured.
    pub const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9900);
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./roadstead-data"),
            admin_listen: None,
            shutdown_grace: Duration::from_secs(30),
            // Nothing watches readiness of a process on one machine; orchestrated deployments set a few seconds.
            drain_delay: Duration::ZERO,
            log_format: LogFormat::Auto,
            log_filter: "info".to_owned(),
        }
    }
}

impl Validate for RuntimeConfig {
    fn validate(&self, problems: &mut Vec<String>) {
        if self.data_dir.as_os_str().is_empty() {
            problems.push("data_dir: must not be empty".to_owned());
        }
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&self.log_filter) {
            problems.push(format!("log_filter: {error}"));
        }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// `[telemetry]`: what the standard `OTEL_*` variables don't say.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// How long flushing spans may take at shutdown. It adds to the rest of the end, which users are promised to be short.
    #[serde(with = "humantime_serde")]
    pub flush_timeout: Duration,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            flush_timeout: Duration::from_secs(1),
        }
    }
}

impl Validate for TelemetryConfig {
    fn validate(&self, problems: &mut Vec<String>) {
        if self.flush_timeout.is_zero() {
            problems.push("flush_timeout: must be more than zero".to_owned());
        }
    }
}

/// `[rpc]`: this process's place among the services when they run separately.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RpcConfig {
    /// Where this service answers RPCs. The gateway answers none.
    pub listen: Option<SocketAddr>,
    /// Where the others answer.
    pub endpoints: Endpoints,
    /// Who this process is, and whom it trusts. There is no way to run without.
    pub tls: Option<TlsConfig>,
}

/// `[rpc.endpoints]`: `https://host:port` of each service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Endpoints {
    /// roadstead-auth.
    pub auth: Option<Url>,
    /// roadstead-metadata.
    pub metadata: Option<Url>,
    /// roadstead-blobs.
    pub blobs: Option<Url>,
    /// roadstead-events.
    pub events: Option<Url>,
}

impl Endpoints {
    /// Returns where `peer` answers.
    pub fn get(&self, peer: Peer) -> Option<&Url> {
        match peer {
            Peer::Auth => self.auth.as_ref(),
            Peer::Metadata => self.metadata.as_ref(),
            Peer::Blobs => self.blobs.as_ref(),
            Peer::Events => self.events.as_ref(),
            // Nobody calls these two by RPC.
            Peer::Gateway | Peer::Operator => None,
        }
    }
}

impl Validate for RpcConfig {
    fn validate(&self, problems: &mut Vec<String>) {
        let Endpoints {
            auth,
            metadata,
            blobs,
            events,
        } = &self.endpoints;
        for (name, url) in [
            ("auth", auth),
            ("metadata", metadata),
            ("blobs", blobs),
            ("events", events),
        ] {
            if url
                .as_ref()
                .is_some_and(|url| url.scheme() != "https" || url.host().is_none())
            {
                problems.push(format!(
                    "endpoints.{name}: must be https://host:port; services only speak mutual TLS"
                ));
            }
        }
        if let Some(tls) = &self.tls {
            for (name, path) in [
                ("ca_file", &tls.ca_file),
                ("cert_file", &tls.cert_file),
                ("key_file", &tls.key_file),
            ] {
                if !path.is_file() {
                    problems.push(format!("tls.{name}: there is no file {}", path.display()));
                }
            }
        }
    }
}
