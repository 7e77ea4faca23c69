//! Wires every service into one process.
//!
//! This crate owns nothing but the wiring: which service is built after which, and who may call whom. Each edge of the
//! graph is a channel that carries the caller's identity, so that a service refuses here what it would refuse over the
//! network. It is the only crate that depends on more than one service.
//!
//! Invariants:
//!
//! - Services only reach each other through [`roadstead_rpc::RpcChannel`], never through a function or a type.
//! - Nothing listens but the gateway and, on loopback unless configured, the admin port.

mod edges;
mod listener;
mod seal;
mod wiring;

use std::net::SocketAddr;

use anyhow::Context as _;
use roadstead_runtime::shutdown::Lifecycle;
use roadstead_runtime::{ConfigError, ConfigTree, PublicAddress, RuntimeConfig, Telemetry, TelemetryConfig};
use roadstead_types::Clock;
use tokio_util::sync::CancellationToken;
use url::Url;

pub use edges::Edges;
pub use listener::BusyPort;

/// What the process is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The configuration of all services.
    pub tree: ConfigTree,
    /// What happens if the port of `gateway.listen` is taken.
    pub busy_port: BusyPort,
    /// The time.
    pub clock: Clock,
    /// How the services reach each other.
    pub edges: Edges,
}

impl Options {
    /// Starts with `tree` at the real time, refusing a port that is taken.
    pub fn new(tree: ConfigTree) -> Self {
        Self {
            tree,
            busy_port: BusyPort::Refuse,
            clock: Clock::system(),
            edges: Edges::default(),
        }
    }
}

/// The sections of all services, as the process reads them.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) gateway: roadstead_gateway::Config,
    pub(crate) auth: roadstead_auth::Config,
    pub(crate) metadata: roadstead_metadata::Config,
    pub(crate) blobs: roadstead_blobs::Config,
    pub(crate) events: roadstead_events::Config,
    pub(crate) runtime: RuntimeConfig,
    pub(crate) public: Option<PublicAddress>,
}

impl Settings {
    fn read(tree: &ConfigTree) -> Result<Self, ConfigError> {
        let mut reader = tree.reader();
        let settings = Self {
            gateway: reader.section("gateway"),
            auth: reader.section("auth"),
            metadata: reader.section("metadata"),
            blobs: reader.section("blobs"),
            events: reader.section("events"),
            runtime: reader.section("runtime"),
            public: PublicAddress::read(&mut reader),
        };
        let _: TelemetryConfig = reader.section("telemetry");
        reader.finish()?;
        Ok(settings)
    }
}

/// A registry that serves.
#[derive(Debug)]
pub struct Running {
    /// Where clients reach it on this machine.
    pub address: SocketAddr,
    /// What tokens and challenges call it.
    pub public_url: Url,
    /// Where `/livez`, `/readyz` and `/metrics` are.
    pub admin: SocketAddr,
    pub(crate) lifecycle: Lifecycle,
}

impl Running {
    /// Returns the line that tells whoever started the process where it serves.
    pub fn ready_line(&self) -> String {
        format!(
            "roadstead ready: {}",
            self.public_url.as_str().trim_end_matches('/')
        )
    }

    /// Returns the token that stops the registry when cancelled, for use while another task [waits](Self::wait).
    pub fn stop_token(&self) -> CancellationToken {
        self.lifecycle.stop_token()
    }

    /// Serves until SIGTERM, SIGINT or [`Running::stop_token`], then shuts down in order.
    ///
    /// # Errors
    ///
    /// If the gateway failed.
    pub async fn wait(self) -> anyhow::Result<()> {
        self.lifecycle.run().await
    }

    /// Shuts down in order.
    ///
    /// # Errors
    ///
    /// If the gateway failed.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.stop_token().cancel();
        self.wait().await
    }
}

/// Checks the configuration of every service.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn check(tree: &ConfigTree) -> Result<(), ConfigError> {
    Settings::read(tree).map(drop)
}

/// Starts the registry and returns when it is ready.
///
/// # Errors
///
/// If the configuration is refused, a port is taken or the data can't be opened.
pub async fn start(options: Options) -> anyhow::Result<Running> {
    #[cfg(feature = "failpoints")]
    roadstead_runtime::fail_points::arm();
    roadstead_runtime::install_crypto();
    let (listener, tree) = listener::bind(options.tree, options.busy_port).await?;
    let settings = Settings::read(&tree)?;
    let running = Box::pin(wiring::wire(settings, listener, options.clock, &options.edges)).await?;
    running.lifecycle.ready(wiring::START_LIMIT).await?;
    Ok(running)
}

/// Starts the registry as a program does: with telemetry, one line on stdout when ready, and an orderly end.
///
/// # Errors
///
/// As [`start`] and [`Running::wait`].
pub async fn serve(options: Options) -> anyhow::Result<()> {
    let telemetry = Telemetry::from_tree("roadstead", &options.tree).context("telemetry")?;
    let outcome = async {
        let mut running = Box::pin(start(options)).await?;
        running.lifecycle.watch_signals();
        println!("{}", running.ready_line());
        tracing::info!(address = %running.address, admin = %running.admin, "ready");
        running.wait().await
    }
    .await;
    telemetry.flush().await;
    outcome
}
