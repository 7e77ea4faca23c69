//! roadstead-blobs as a process of its own.

use std::process::ExitCode;

use roadstead_blobs::{Config, Deps};
use roadstead_rpc::Peer;
use roadstead_runtime::{Program, ServiceContext};

const PROGRAM: Program = Program {
    peer: Peer::Blobs,
    calls: &[],
    needs_public_address: false,
};

fn main() -> ExitCode {
    roadstead_runtime::run(PROGRAM, async |config: Config, context: ServiceContext| {
        let deps = Deps {
            seal_key: context.seal_key(config.seal_key_file.as_deref())?,
            clock: context.clock,
            data_dir: context.data_dir,
            shutdown: context.shutdown,
        };
        Ok(roadstead_blobs::build(config, deps).await?)
    })
}
