//! roadstead-metadata as a process of its own.

use std::process::ExitCode;

use roadstead_metadata::{Config, Deps};
use roadstead_rpc::Peer;
use roadstead_runtime::{Program, ServiceContext};

const PROGRAM: Program = Program {
    peer: Peer::Metadata,
    calls: &[Peer::Auth, Peer::Blobs],
    needs_public_address: false,
};

fn main() -> ExitCode {
    roadstead_runtime::run(PROGRAM, async |config: Config, context: ServiceContext| {
        let deps = Deps {
            seal_key: context.seal_key(config.seal_key_file.as_deref())?,
            auth: context.channel(Peer::Auth)?,
            blobs: context.channel(Peer::Blobs)?,
            clock: context.clock,
            data_dir: context.data_dir,
            shutdown: context.shutdown,
        };
        Ok(roadstead_metadata::build(config, deps).await?)
    })
}
