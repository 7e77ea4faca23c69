//! Who is built after whom, and who may call whom.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use roadstead_rpc::{Peer, RpcServer};
use roadstead_runtime::shutdown::Lifecycle;
use roadstead_runtime::{BuiltService, PublicAddress, admin, create_data_dir};
use roadstead_types::Clock;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{Edges, Running, Settings, seal};

/// How long all services may take to become ready.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(30);

/// The services behind the gateway, as their callers reach them.
struct Backends {
    auth: RpcServer,
    metadata: RpcServer,
    blobs: RpcServer,
    events: RpcServer,
}

/// Builds everything in the order of the calls, which form no circle: auth and blobs call nobody, metadata calls both,
/// events calls auth and metadata, the gateway calls all four.
pub(crate) async fn wire(
    settings: Settings,
    listener: TcpListener,
    clock: Clock,
    edges: &Edges,
) -> anyhow::Result<Running> {
    let Settings {
        gateway,
        auth,
        metadata,
        blobs,
        events,
        runtime,
        public,
    } = settings;
    let public = public.context("gateway.public_url: is required")?;
    create_data_dir(&runtime.data_dir)?;
    let mut lifecycle = Lifecycle::new(runtime.drain_delay, runtime.shutdown_grace);
    let place = Place {
        clock: clock.clone(),
        data_dir: runtime.data_dir,
        public: public.clone(),
        shutdown: lifecycle.background_token(),
    };
    let backends = backends((auth, metadata, blobs, events), place, edges, &mut lifecycle).await?;
    let deps = roadstead_gateway::Deps {
        clock,
        public: public.clone(),
        auth: edges.connect(Peer::Gateway, &backends.auth),
        metadata: edges.connect(Peer::Gateway, &backends.metadata),
        blobs: edges.connect(Peer::Gateway, &backends.blobs),
        events: edges.connect(Peer::Gateway, &backends.events),
        shutdown: lifecycle.accepting_token(),
    };
    let gateway = roadstead_gateway::build(gateway, deps).await.context("gateway")?;
    lifecycle.add(("gateway", gateway.readiness.clone()), gateway.tasks.clone());

    let address = listener.local_addr()?;
    lifecycle.serve(async move { Ok(gateway.serve(listener).await?) });
    let admin = admin::bind(runtime.admin_listen).await?;
    let admin_address = admin.local_addr()?;
    lifecycle.serve_admin(admin);
    Ok(Running {
        address,
        public_url: public.url,
        admin: admin_address,
        lifecycle,
    })
}

/// What every service is built from.
struct Place {
    clock: Clock,
    data_dir: PathBuf,
    public: PublicAddress,
    shutdown: CancellationToken,
}

type BackendConfigs = (
    roadstead_auth::Config,
    roadstead_metadata::Config,
    roadstead_blobs::Config,
    roadstead_events::Config,
);

async fn backends(
    configs: BackendConfigs,
    place: Place,
    edges: &Edges,
    lifecycle: &mut Lifecycle,
) -> anyhow::Result<Backends> {
    let (auth, metadata, blobs, events) = configs;
    let Place {
        clock,
        data_dir,
        public,
        shutdown,
    } = place;
    let seal_key = seal::open(&data_dir)?;

    let deps = roadstead_auth::Deps {
        clock: clock.clone(),
        data_dir: data_dir.clone(),
        public,
        shutdown: shutdown.clone(),
    };
    let auth = add(
        lifecycle,
        "auth",
        roadstead_auth::build(auth, deps).await.context("auth")?,
    );

    let deps = roadstead_blobs::Deps {
        clock: clock.clone(),
        data_dir: data_dir.clone(),
        seal_key: seal_key.clone(),
        shutdown: shutdown.clone(),
    };
    let blobs = add(
        lifecycle,
        "blobs",
        roadstead_blobs::build(blobs, deps).await.context("blobs")?,
    );

    let deps = roadstead_metadata::Deps {
        clock: clock.clone(),
        data_dir: data_dir.clone(),
        seal_key,
        auth: edges.connect(Peer::Metadata, &auth),
        blobs: edges.connect(Peer::Metadata, &blobs),
        shutdown: shutdown.clone(),
    };
    let metadata = add(
        lifecycle,
        "metadata",
        roadstead_metadata::build(metadata, deps)
            .await
            .context("metadata")?,
    );

    let deps = roadstead_events::Deps {
        clock,
        data_dir,
        auth: edges.connect(Peer::Events, &auth),
        metadata: edges.connect(Peer::Events, &metadata),
        shutdown,
    };
    let events = add(
        lifecycle,
        "events",
        roadstead_events::build(events, deps).await.context("events")?,
    );
    Ok(Backends {
        auth,
        metadata,
        blobs,
        events,
    })
}

/// Takes a service's tasks into the process's life and leaves what the others reach it by.
fn add(lifecycle: &mut Lifecycle, name: &'static str, built: BuiltService) -> RpcServer {
    lifecycle.add((name, built.readiness), built.tasks);
    built.server
}
