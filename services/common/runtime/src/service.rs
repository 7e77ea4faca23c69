//! What a service hands to the process that runs it, and what the process hands to the service.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use anyhow::Context as _;
use roadstead_rpc::{
    CallPolicy, Endpoint, Peer, Readiness, RpcChannel, RpcServer, SealKey, TaskSet, TlsIdentity,
};
use roadstead_types::Clock;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::address::PublicAddress;
use crate::config::Endpoints;

/// A service, built and not yet reachable.
pub struct BuiltService {
    /// Answers its RPCs, in this process or over the network.
    pub server: RpcServer,
    /// Its background work.
    pub tasks: TaskSet,
    /// Whether it can serve.
    pub readiness: Readiness,
}

/// What a process built: a service that answers RPCs, or the front that answers clients.
pub struct Built {
    pub(crate) serves: Serves,
    pub(crate) tasks: TaskSet,
    pub(crate) readiness: Readiness,
}

pub(crate) type ServeFront =
    Box<dyn FnOnce(TcpListener) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>> + Send>;

pub(crate) enum Serves {
    Rpc(RpcServer),
    Clients(ServeFront),
}

impl Built {
    /// A front that serves clients on the listener it is given, until it is told to stop accepting and has finished
    /// what was in flight.
    pub fn front<F, Fut>(tasks: TaskSet, readiness: Readiness, serve: F) -> Self
    where
        F: FnOnce(TcpListener) -> Fut + Send + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let serve: ServeFront = Box::new(move |listener| Box::pin(serve(listener)));
        Self {
            serves: Serves::Clients(serve),
            tasks,
            readiness,
        }
    }
}

impl From<BuiltService> for Built {
    fn from(
        BuiltService {
            server,
            tasks,
            readiness,
        }: BuiltService,
    ) -> Self {
        Self {
            serves: Serves::Rpc(server),
            tasks,
            readiness,
        }
    }
}

/// What a service in a process of its own is built from.
pub struct ServiceContext {
    /// The time.
    pub clock: Clock,
    /// The directory that the services' own directories are in.
    pub data_dir: PathBuf,
    /// Cancelled when no further requests are to be accepted; for the gateway.
    pub stop_accepting: CancellationToken,
    /// Cancelled when background tasks are to stop; for everyone else.
    pub shutdown: CancellationToken,
    pub(crate) public: Option<PublicAddress>,
    pub(crate) endpoints: Endpoints,
    pub(crate) tls: TlsIdentity,
}

impl ServiceContext {
    /// Returns the registry's public address.
    ///
    /// # Errors
    ///
    /// If the service did not say that it needs it.
    pub fn public(&self) -> anyhow::Result<PublicAddress> {
        self.public.clone().context("this service has no public address")
    }

    /// Returns a channel to another service; it connects when first used.
    ///
    /// # Errors
    ///
    /// If `rpc.endpoints` does not say where the service is, or the certificates can't be used.
    pub fn channel(&self, server: Peer) -> anyhow::Result<RpcChannel> {
        let uri = self
            .endpoints
            .get(server)
            .with_context(|| format!("rpc.endpoints.{server}: is required"))?;
        let endpoint = Endpoint {
            uri: uri.to_string(),
            server,
        };
        RpcChannel::connect(endpoint, &self.tls, CallPolicy::default())
            .with_context(|| format!("rpc.endpoints.{server}"))
    }

    /// Reads the key that metadata and blobs seal locators, leases and receipts under.
    ///
    /// # Errors
    ///
    /// If no file is configured, or it doesn't hold a key.
    pub fn seal_key(&self, file: Option<&Path>) -> anyhow::Result<SealKey> {
        let file =
            file.context("seal_key_file: is required where metadata and blobs are separate processes")?;
        SealKey::from_file(file).with_context(|| format!("seal_key_file: {}", file.display()))
    }
}
