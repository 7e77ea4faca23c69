//! roadstead-gateway as a process of its own.

use std::process::ExitCode;

use roadstead_gateway::{Config, Deps};
use roadstead_rpc::Peer;
use roadstead_runtime::{Built, Program, ServiceContext};

const PROGRAM: Program = Program {
    peer: Peer::Gateway,
    calls: &[Peer::Auth, Peer::Metadata, Peer::Blobs, Peer::Events],
    needs_public_address: true,
};

fn main() -> ExitCode {
    roadstead_runtime::run(PROGRAM, async |config: Config, context: ServiceContext| {
        let deps = Deps {
            public: context.public()?,
            auth: context.channel(Peer::Auth)?,
            metadata: context.channel(Peer::Metadata)?,
            blobs: context.channel(Peer::Blobs)?,
            events: context.channel(Peer::Events)?,
            clock: context.clock,
            shutdown: context.stop_accepting,
        };
        let gateway = roadstead_gateway::build(config, deps).await?;
        let (tasks, readiness) = (gateway.tasks.clone(), gateway.readiness.clone());
        Ok(Built::front(tasks, readiness, async move |listener| {
            Ok(gateway.serve(listener).await?)
        }))
    })
}
