//! Who is built after whom, and who may call whom.

use std::time::Duration;

use anyhow::Context as _;
use roadstead_rpc::{CallPolicy, Peer, RpcChannel, RpcServer};
use roadstead_runtime::shutdown::Lifecycle;
use roadstead_runtime::{BuiltService, admin, create_data_dir};
use roadstead_types::Clock;
use tokio::net::TcpListener;

use crate::{Running, Settings, seal};

/// How long all services may take to become ready.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(30);

/// Builds the services in the order of their calls, which form no circle: auth and blobs call nobody, metadata calls
/// both, events calls auth and metadata, the gateway calls all four.
pub(crate) async fn wire(settings: Settings, listener: TcpListener, clock: Clock) -> anyhow::Result<Running> {
    let public = settings.public.context("gateway.public_url: is required")?;
    let data_dir = settings.runtime.data_dir;
    create_data_dir(&data_dir)?;
    let seal_key = seal::open(&data_dir)?;
    let mut lifecycle = Lifecycle::new(settings.runtime.drain_delay, settings.runtime.shutdown_grace);
    let shutdown = lifecycle.background_token();

    let auth = roadstead_auth::build(
        settings.auth,
        roadstead_auth::Deps {
            clock: clock.clone(),
            data_dir: data_dir.clone(),
            public: public.clone(),
            shutdown: shutdown.clone(),
        },
    )
    .await
    .context("auth")?;
    let auth = add(&mut lifecycle, "auth", auth);

    let blobs = roadstead_blobs::build(
        settings.blobs,
        roadstead_blobs::Deps {
            clock: clock.clone(),
            data_dir: data_dir.clone(),
            seal_key: seal_key.clone(),
            shutdown: shutdown.clone(),
        },
    )
    .await
    .context("blobs")?;
    let blobs = add(&mut lifecycle, "blobs", blobs);

    let metadata = roadstead_metadata::build(
        settings.metadata,
        roadstead_metadata::Deps {
            clock: clock.clone(),
            data_dir: data_dir.clone(),
            seal_key,
            auth: edge(Peer::Metadata, &auth),
            blobs: edge(Peer::Metadata, &blobs),
            shutdown: shutdown.clone(),
        },
    )
    .await
    .context("metadata")?;
    let metadata = add(&mut lifecycle, "metadata", metadata);

    let events = roadstead_events::build(
        settings.events,
        roadstead_events::Deps {
            clock: clock.clone(),
            data_dir,
            auth: edge(Peer::Events, &auth),
            metadata: edge(Peer::Events, &metadata),
            shutdown,
        },
    )
    .await
    .context("events")?;
    let events = add(&mut lifecycle, "events", events);

    let gateway = roadstead_gateway::build(
        settings.gateway,
        roadstead_gateway::Deps {
            clock,
            public: public.clone(),
            auth: edge(Peer::Gateway, &auth),
            metadata: edge(Peer::Gateway, &metadata),
            blobs: edge(Peer::Gateway, &blobs),
            events: edge(Peer::Gateway, &events),
            shutdown: lifecycle.accepting_token(),
        },
    )
    .await
    .context("gateway")?;
    lifecycle.add(("gateway", gateway.readiness.clone()), gateway.tasks.clone());

    let address = listener.local_addr()?;
    lifecycle.serve(async move { Ok(gateway.serve(listener).await?) });
    let admin = admin::bind(settings.runtime.admin_listen).await?;
    let admin_address = admin.local_addr()?;
    lifecycle.serve_admin(admin);
    Ok(Running {
        address,
        public_url: public.url,
        admin: admin_address,
        lifecycle,
    })
}

/// Takes a service's tasks into the process's life and leaves what the others reach it by.
fn add(lifecycle: &mut Lifecycle, name: &'static str, built: BuiltService) -> RpcServer {
    lifecycle.add((name, built.readiness), built.tasks);
    built.server
}

/// The channel by which `caller` reaches a service.
fn edge(caller: Peer, server: &RpcServer) -> RpcChannel {
    RpcChannel::in_process(server, caller, CallPolicy::default())
}
