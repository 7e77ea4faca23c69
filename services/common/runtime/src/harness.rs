//! The main function of a service in a process of its own.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use roadstead_rpc::{Peer, TlsIdentity};
use roadstead_types::Clock;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;

use crate::address::PublicAddress;
use crate::admin;
use crate::config::{
    ConfigSources, ConfigTree, RpcConfig, RuntimeConfig, TelemetryConfig, Validate, parse_assignment,
};
use crate::service::{Built, Serves, ServiceContext};
use crate::shutdown::Lifecycle;
use crate::telemetry::Telemetry;

/// A service's place among the others, as far as its process must know it.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// Who it is.
    pub peer: Peer,
    /// Whom it calls; `rpc.endpoints` must name them.
    pub calls: &'static [Peer],
    /// Whether it needs the [`PublicAddress`].
    pub needs_public_address: bool,
}

#[derive(Debug, Parser)]
struct Flags {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets one key, over file and environment; the value is TOML or a bare string.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
}

struct Settings<C> {
    service: C,
    runtime: RuntimeConfig,
    telemetry: TelemetryConfig,
    rpc: RpcConfig,
    public: Option<PublicAddress>,
}

/// Runs a service as a program: flags, configuration, telemetry, the service itself, the admin port, signals, shutdown.
pub fn run<C, F, Fut, B>(program: Program, build: F) -> ExitCode
where
    C: DeserializeOwned + Default + Validate,
    F: FnOnce(C, ServiceContext) -> Fut,
    Fut: Future<Output = anyhow::Result<B>>,
    B: Into<Built>,
{
    #[cfg(feature = "failpoints")]
    crate::fail_points::arm();
    let flags = Flags::parse();
    let outcome = settings(program, flags).and_then(|settings| {
        install_crypto();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("starting tokio")?;
        runtime.block_on(Box::pin(serve(program, settings, build)))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("roadstead-{}: {error:#}", program.peer);
            ExitCode::FAILURE
        }
    }
}

/// Makes aws-lc the process's TLS implementation. Calling it again does nothing.
pub fn install_crypto() {
    // An error says that one is installed already, by us: deny.toml keeps every other implementation out.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Creates the data directory, readable by its owner only.
///
/// # Errors
///
/// If it can't be created.
pub fn create_data_dir(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("runtime.data_dir: {}", path.display()))
}

fn settings<C: DeserializeOwned + Default + Validate>(
    program: Program,
    flags: Flags,
) -> anyhow::Result<Settings<C>> {
    let mut sources = ConfigSources::from_file(flags.config);
    sources.overrides = flags
        .set
        .iter()
        .map(|text| parse_assignment(text))
        .collect::<Result<_, _>>()?;
    let tree = ConfigTree::load(sources)?;
    let mut reader = tree.reader();
    let settings = Settings {
        service: reader.section(&program.peer.to_string()),
        runtime: reader.section("runtime"),
        telemetry: reader.section("telemetry"),
        rpc: reader.section("rpc"),
        public: if program.needs_public_address {
            PublicAddress::read(&mut reader)
        } else {
            None
        },
    };
    if settings.rpc.tls.is_none() && !reader.contains("rpc.tls") {
        reader.problem("rpc.tls: is required: services only speak mutual TLS");
    }
    if settings.rpc.listen.is_none() && !reader.contains("rpc.listen") && program.peer != Peer::Gateway {
        reader.problem("rpc.listen: is required");
    }
    for peer in program.calls {
        let key = format!("rpc.endpoints.{peer}");
        if settings.rpc.endpoints.get(*peer).is_none() && !reader.contains(&key) {
            reader.problem(format!("{key}: is required"));
        }
    }
    reader.finish()?;
    Ok(settings)
}

async fn serve<C, F, Fut, B>(program: Program, settings: Settings<C>, build: F) -> anyhow::Result<()>
where
    F: FnOnce(C, ServiceContext) -> Fut,
    Fut: Future<Output = anyhow::Result<B>>,
    B: Into<Built>,
{
    let Settings {
        service,
        runtime,
        telemetry,
        rpc,
        public,
    } = settings;
    let name = format!("roadstead-{}", program.peer);
    let telemetry = Telemetry::init(&name, &telemetry, &runtime)?;
    create_data_dir(&runtime.data_dir)?;
    let files = rpc.tls.context("rpc.tls: is required")?;
    let tls = TlsIdentity::from_files(&files).context("rpc.tls")?;
    // Bound before anything is built: a port in use is the likeliest failure and should not leave work half done.
    // auth reads the gateway's address as well, to name it, and listens at its own.
    let address = public
        .as_ref()
        .map(|public| public.listen)
        .filter(|_| program.peer == Peer::Gateway)
        .or(rpc.listen);
    let address = address.context("rpc.listen: is required")?;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("binding {address}"))?;
    let admin = admin::bind(runtime.admin_listen).await?;

    let mut lifecycle = Lifecycle::new(runtime.drain_delay, runtime.shutdown_grace);
    let context = ServiceContext {
        clock: Clock::system(),
        data_dir: runtime.data_dir,
        stop_accepting: lifecycle.accepting_token(),
        shutdown: lifecycle.background_token(),
        public,
        endpoints: rpc.endpoints,
        tls: tls.clone(),
    };
    let Built {
        serves,
        tasks,
        readiness,
    } = build(service, context).await?.into();
    let admin_address = admin.local_addr()?;
    let line = ready_line(&name, &serves, listener.local_addr()?, admin_address);
    lifecycle.add((peer_name(program.peer), readiness), tasks);
    lifecycle.announce(line);
    lifecycle.serve_admin(admin);
    let (accepting, grace) = (lifecycle.accepting_token(), runtime.shutdown_grace);
    match serves {
        Serves::Clients(serve) => lifecycle.serve(serve(listener)),
        Serves::Rpc(server) => {
            lifecycle.serve(async move { Ok(server.serve(listener, &tls, accepting, grace).await?) });
        }
    }
    let outcome = lifecycle.run().await;
    telemetry.flush().await;
    outcome
}

fn ready_line(name: &str, serves: &Serves, address: SocketAddr, admin: SocketAddr) -> String {
    let what = match serves {
        Serves::Rpc(_) => "rpc",
        Serves::Clients(_) => "http",
    };
    format!("{name} ready: {what} {address} admin {admin}")
}

fn peer_name(peer: Peer) -> &'static str {
    match peer {
        Peer::Gateway => "gateway",
        Peer::Auth => "auth",
        Peer::Metadata => "metadata",
        Peer::Blobs => "blobs",
        Peer::Events => "events",
        Peer::Operator => "operator",
    }
}
