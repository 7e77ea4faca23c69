//! Compiles the contracts with protox, so that no protoc has to be installed.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use prost::Message as _;
use protox::prost_reflect::prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet, OneofDescriptorProto,
};

const CONTRACTS: [&str; 6] = [
    "roadstead/common/v1/common.proto",
    "roadstead/auth/v1/auth.proto",
    "roadstead/auth/v1/iam.proto",
    "roadstead/metadata/v1/metadata.proto",
    "roadstead/blobs/v1/blobs.proto",
    "roadstead/events/v1/events.proto",
];

/// Fields of these names hold what lets whoever reads it in. They are not in the debug output of any message.
const SECRETS: [&str; 7] = [
    "access_token",
    "client_secret",
    "credential",
    "identity_token",
    "refresh_token",
    "registry_token",
    "token",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let descriptors = protox::compile(CONTRACTS, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    let redacted = redact(&descriptors, &out)?;
    tonic_prost_build::configure()
        // Contents travel as reference-counted buffers: a chunk decoded from a frame is a slice of that frame.
        .bytes(".")
        .skip_debug(redacted)
        .compile_fds(descriptors)?;
    for contract in CONTRACTS {
        println!("cargo:rerun-if-changed={contract}");
    }
    Ok(())
}

/// Writes the debug output of messages that hold secrets, and returns the names of those.
fn redact(descriptors: &FileDescriptorSet, out: &Path) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let (mut names, mut code) = (Vec::new(), String::new());
    for file in &descriptors.file {
        let module = file.package().trim_start_matches("roadstead.").replace('.', "::");
        for message in file.message_type.iter().filter(|message| holds_secret(message)) {
            names.push(format!("{}.{}", file.package(), message.name()));
            write_debug(&mut code, &module, message)?;
        }
    }
    fs::write(out.join("redacted.rs"), code)?;
    Ok(names)
}

fn holds_secret(message: &DescriptorProto) -> bool {
    message
        .field
        .iter()
        .any(|field| !is_variant(field) && SECRETS.contains(&field.name()))
}

/// The members of a oneof are variants of an enum; none is a secret. An optional field is a oneof to protobuf alone.
fn is_variant(field: &FieldDescriptorProto) -> bool {
    field.oneof_index.is_some() && !field.proto3_optional()
}

fn write_debug(code: &mut String, module: &str, message: &DescriptorProto) -> std::fmt::Result {
    let name = message.name();
    writeln!(code, "impl ::core::fmt::Debug for {module}::{name} {{")?;
    writeln!(
        code,
        "fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{"
    )?;
    write!(code, "f.debug_struct({name:?})")?;
    let plain = message.field.iter().filter(|field| !is_variant(field));
    let shown = plain
        .map(FieldDescriptorProto::name)
        .filter(|name| !SECRETS.contains(name));
    let variants = message.oneof_decl.iter().map(OneofDescriptorProto::name);
    // Protobuf names the oneof of an optional field with an underscore before the field's own name.
    for name in shown.chain(variants.filter(|name| !name.starts_with('_'))) {
        write!(code, ".field({name:?}, &self.{name})")?;
    }
    writeln!(code, ".finish_non_exhaustive() }} }}")
}
