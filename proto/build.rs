//! Compiles the contracts with protox, so that no protoc has to be installed.

use std::{env, fs, path::PathBuf};

use prost::Message as _;

const CONTRACTS: [&str; 5] = [
    "roadstead/common/v1/common.proto",
    "roadstead/auth/v1/auth.proto",
    "roadstead/metadata/v1/metadata.proto",
    "roadstead/blobs/v1/blobs.proto",
    "roadstead/events/v1/events.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let descriptors = protox::compile(CONTRACTS, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // Contents travel as reference-counted buffers: a chunk decoded from a frame is a slice of that frame.
        .bytes(".")
        .compile_fds(descriptors)?;
    for contract in CONTRACTS {
        println!("cargo:rerun-if-changed={contract}");
    }
    Ok(())
}
