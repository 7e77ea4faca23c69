//! roadstead-auth as a process of its own.

use std::process::ExitCode;

use roadstead_auth::{Config, Deps};
use roadstead_rpc::Peer;
use roadstead_runtime::{Program, ServiceContext};

const PROGRAM: Program = Program {
    peer: Peer::Auth,
    calls: &[],
    needs_public_address: true,
};

fn main() -> ExitCode {
    roadstead_runtime::run(PROGRAM, async |config: Config, context: ServiceContext| {
        let deps = Deps {
            public: context.public()?,
            clock: context.clock,
            data_dir: context.data_dir,
            shutdown: context.shutdown,
        };
        Ok(roadstead_auth::build(config, deps).await?)
    })
}
