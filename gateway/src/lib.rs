//! Renders the OCI distribution API over the services.
//!
//! The gateway turns HTTP into RPCs and their answers into HTTP, and owns no state: no repository, no session, no key and
//! no cached answer about what exists. Any number of gateways can stand side by side, and any of them can continue what
//! another began.
//!
//! Requests pass [`stack`](self) (identification, span, metrics, limits), are routed by [`path`], and end in a module of
//! `routes`: parsed names, one RPC, an answer. Uploads take several RPCs, because a gateway carries bytes between the
//! client and blobs, and checkpoints between blobs and metadata.
//!
//! What it never does: decide what exists or what is public (metadata does), hash or vouch for content (blobs does),
//! grant anything (auth does), or believe an address that a client names.
//!
//! Invariants:
//!
//! - Every [`ErrorReason`](roadstead_rpc::ErrorReason) becomes a status and a code in one place, [`reason`].
//! - A request body is read only against credit from blobs, and committed only if all of it came.
//! - A write carries the caller's own token, so that metadata believes the caller and not the gateway.
//! - Tokens stand in no log, span or event.

pub mod address;
mod app;
mod auth;
mod blob_body;
mod body;
pub mod call;
mod conditional;
mod config;
pub mod credentials;
pub mod dev_secret;
pub mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod grpc;
mod in_flight;
mod multipart;
pub mod path;
mod publisher;
mod pull_events;
pub mod query;
pub mod range;
pub mod reason;
mod refusals;
mod respond;
mod routes;
mod rpcs;
mod server;
mod stack;
pub mod surface;

use std::sync::{Arc, OnceLock};

use roadstead_authn::Verifier;
use roadstead_rpc::{Readiness, RpcChannel, TaskSet};
use roadstead_runtime::PublicAddress;
use roadstead_types::Clock;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use config::Config;

use crate::{
    address::Addresses,
    app::{App, Channels, Services},
    dev_secret::DevSecret,
    pull_events::PullEvents,
    refusals::Refusals,
    stack::Stack,
};

/// What the gateway is built from.
#[derive(Debug)]
pub struct Deps {
    /// The time.
    pub clock: Clock,
    /// The address that clients know.
    pub public: PublicAddress,
    /// The way to auth.
    pub auth: RpcChannel,
    /// The way to metadata.
    pub metadata: RpcChannel,
    /// The way to blobs.
    pub blobs: RpcChannel,
    /// The way to events.
    pub events: RpcChannel,
    /// Cancelled when no further connections are to be accepted.
    pub shutdown: CancellationToken,
}

/// Why the gateway does not start or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The development issuer is meant for this machine only.
    #[error("gateway.dev is refused: gateway.listen ({0}) is not a loopback address")]
    DevNeedsLoopback(std::net::SocketAddr),
    /// The listener's address is unknown.
    #[error("the listener failed: {0}")]
    Listener(#[source] std::io::Error),
    /// The secret of the development issuer cannot be written.
    #[error("cannot write the secret of the development issuer: {0}")]
    DevSecret(#[source] std::io::Error),
}

/// The gateway, ready to serve.
pub struct BuiltGateway {
    /// Its background work: fetching keys, publishing pulls and refusals. It goes on until the last request is answered.
    pub tasks: TaskSet,
    /// Whether it can serve.
    pub readiness: Readiness,
    app: Arc<App>,
    shutdown: CancellationToken,
}

impl std::fmt::Debug for BuiltGateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BuiltGateway")
            .field("readiness", &self.readiness)
            .finish_non_exhaustive()
    }
}

/// Builds the gateway. It is ready as soon as it has keys to verify tokens with.
///
/// # Errors
///
/// When the development issuer is asked for beyond loopback.
#[expect(clippy::unused_async, reason = "all services are built alike")]
pub async fn build(config: Config, deps: Deps) -> Result<BuiltGateway, Error> {
    let Deps {
        clock,
        public,
        auth,
        metadata,
        blobs,
        events,
        shutdown,
    } = deps;
    if config.dev && !public.is_loopback() {
        return Err(Error::DevNeedsLoopback(public.listen));
    }
    // Not under `shutdown`: requests in flight still need keys, and report pulls and refusals.
    let tasks = TaskSet::new(CancellationToken::new());
    let readiness = Readiness::new();
    let verifier = Verifier::new(auth.clone(), clock.clone(), &tasks);
    let app = Arc::new(App {
        addresses: Addresses::new(&public, config.trusted_proxies.clone()),
        services: Services::new(&auth, &metadata, &blobs),
        pull_events: PullEvents::start(&events, config.pull_event_buffer, &tasks),
        refusals: Refusals::start(&events, config.refusal_event_interval, clock.clone(), &tasks),
        channels: Channels {
            auth,
            blobs,
            metadata,
            events,
        },
        dev_secret: OnceLock::new(),
        verifier: verifier.clone(),
        config,
        clock,
    });
    let (ready, stop) = (readiness.clone(), tasks.token().clone());
    tasks.spawn("gateway-readiness", async move {
        if stop.run_until_cancelled(verifier.wait_ready()).await.is_some() {
            ready.set_ready();
        }
    });
    Ok(BuiltGateway {
        tasks,
        readiness,
        app,
        shutdown,
    })
}

impl BuiltGateway {
    /// Serves clients on the listener until [`Deps::shutdown`] is cancelled, then finishes what is in flight.
    ///
    /// # Errors
    ///
    /// When the listener does not fit the configuration, or the secret of the development issuer cannot be written.
    pub async fn serve(&self, listener: TcpListener) -> Result<(), Error> {
        let address = listener.local_addr().map_err(Error::Listener)?;
        // Removes its file at the end of this function, however it ends.
        let _dev_secret = self
            .app
            .config
            .dev
            .then(|| self.open_dev_secret(address))
            .transpose()?;
        server::serve(
            listener,
            Stack::new(self.app.clone()),
            &self.app.config,
            self.shutdown.clone(),
        )
        .await;
        Ok(())
    }

    fn open_dev_secret(&self, address: std::net::SocketAddr) -> Result<DevSecretFile, Error> {
        if !address.ip().is_loopback() {
            return Err(Error::DevNeedsLoopback(address));
        }
        let secret = Arc::new(DevSecret::create(address.port()).map_err(Error::DevSecret)?);
        // A gateway serves once; a second call would keep the first secret.
        let secret = self.app.dev_secret.get_or_init(|| secret).clone();
        Ok(DevSecretFile(secret))
    }
}

/// Removes the file when serving ends, although requests in flight may still hold the secret.
struct DevSecretFile(Arc<DevSecret>);

impl Drop for DevSecretFile {
    fn drop(&mut self) {
        self.0.remove();
    }
}
