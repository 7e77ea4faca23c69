//! Bytes of blobs: takes them in, checks them, keeps them and streams them out.
//!
//! `blobs` owns the bytes and nothing else. It keeps no database: what it must remember of an upload travels with the
//! calls, sealed, and metadata's database is where it rests in between. It calls no other service.
//!
//! What always holds:
//!
//! - Nothing is named by a digest that its bytes were not found to have.
//! - A receipt is given only for bytes that survive a power failure.
//! - An object's key is used once, so that a late delete cannot hit a later push.
//! - An upload state is believed without reading its bytes again only when this process issued it and nobody has written
//!   since; a carrier that swaps states gets an error, never a receipt.
//! - The newest lease of a session wins, and the older stops before the newer starts; also after a restart an older one
//!   touches nothing of a newer.
//! - Reading takes a locator that metadata sealed; no name is ever taken from the caller.
//! - Memory for uploads is granted before bytes are sent, from one budget.

mod backend;
mod config;
mod error;
mod fs;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod hash;
mod memory;
mod object_key;
mod rpc;
mod seal;
mod session;

use std::{path::PathBuf, sync::Arc};

use roadstead_proto::blobs::v1::{
    blob_admin_service_server::BlobAdminServiceServer, blob_read_service_server::BlobReadServiceServer,
    blob_write_service_server::BlobWriteServiceServer,
};
use roadstead_rpc::{AllowList, MAX_MESSAGE_BYTES, Peer, Readiness, RpcServer, SealKey, TaskSet, bulk};
use roadstead_runtime::{BuiltService, DirectoryError};
use roadstead_types::Clock;
use tokio_util::sync::CancellationToken;

pub use crate::config::Config;
use crate::{backend::Backend, fs::FsBackend, rpc::Rpc, seal::Seals};

/// What blobs is given by whoever wires it up.
pub struct Deps {
    /// Tells when a locator has expired.
    pub clock: Clock,
    /// `runtime.data_dir`; bytes are in its `blobs` unless the configuration says otherwise.
    pub data_dir: PathBuf,
    /// The key that blobs shares with metadata.
    pub seal_key: SealKey,
    /// Cancelled when the process is to end.
    pub shutdown: CancellationToken,
}

/// Opens the storage and builds the service.
///
/// # Errors
///
/// [`DirectoryError::InUse`] when another process uses the directory.
#[expect(
    clippy::unused_async,
    reason = "every service is built in the same way, and a remote store will be asked"
)]
pub async fn build(config: Config, deps: Deps) -> Result<BuiltService, DirectoryError> {
    let Deps {
        clock,
        data_dir,
        seal_key,
        shutdown,
    } = deps;
    let tasks = TaskSet::new(shutdown);
    let root = config.root.clone().unwrap_or_else(|| data_dir.join("blobs"));
    let fs = FsBackend::open(&root, &config, tasks.clone())?;
    let rpc = Rpc {
        backend: Backend::Fs(fs),
        seals: Seals::new(seal_key, clock),
    };
    let readiness = Readiness::new();
    readiness.set_ready();
    let (reader, writer) = (Arc::new(rpc.clone()), Arc::new(rpc.clone()));
    let server = RpcServer::new(Peer::Blobs, allow_list())
        .with_readiness(readiness.clone())
        .add_service(
            BlobReadServiceServer::new(rpc.clone())
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
        )
        .add_service(
            BlobWriteServiceServer::new(rpc.clone())
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
        )
        .add_service(
            BlobAdminServiceServer::new(rpc)
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
        )
        .add_bulk::<bulk::Read, _, _>(move |requests| Arc::clone(&reader).read_bulk(requests))
        .add_bulk::<bulk::Append, _, _>(move |requests| Arc::clone(&writer).append_bulk(requests));
    Ok(BuiltService {
        server,
        tasks,
        readiness,
    })
}

fn allow_list() -> AllowList {
    AllowList::new()
        .allow("roadstead.blobs.v1.BlobReadService", &[Peer::Gateway])
        .allow("roadstead.blobs.v1.BlobWriteService", &[Peer::Gateway])
        // A gateway that was taken over can read and write what its callers may; it cannot delete objects.
        .allow("roadstead.blobs.v1.BlobAdminService", &[Peer::Metadata])
}
