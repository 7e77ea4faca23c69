//! roadstead-events as a process of its own.

use std::process::ExitCode;

use roadstead_events::{Config, Deps};
use roadstead_rpc::Peer;
use roadstead_runtime::{Program, ServiceContext};

const PROGRAM: Program = Program {
    peer: Peer::Events,
    calls: &[Peer::Auth, Peer::Metadata],
    needs_public_address: false,
};

fn main() -> ExitCode {
    roadstead_runtime::run(PROGRAM, async |config: Config, context: ServiceContext| {
        let deps = Deps {
            auth: context.channel(Peer::Auth)?,
            metadata: context.channel(Peer::Metadata)?,
            clock: context.clock,
            data_dir: context.data_dir,
            shutdown: context.shutdown,
        };
        Ok(roadstead_events::build(config, deps).await?)
    })
}
