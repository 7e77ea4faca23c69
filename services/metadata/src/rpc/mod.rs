//! The gRPC services: parse, call, encode.

/// Runs `$body` of the service's core in a task of its own: a cancelled call does not cut a write in half.
macro_rules! whole {
    ($service:expr, $body:ident, $request:expr) => {{
        let core = $service.0.clone();
        let request = $request.into_inner();
        let result = roadstead_rpc::run_to_completion(async move { $body(&core, request).await }).await;
        Ok(Response::new(result?))
    }};
}

mod admin;
mod outbox;
mod parse;
mod read;
mod upload;
mod write;

use std::sync::Arc;

use roadstead_proto::metadata::v1::outbox_service_server::OutboxServiceServer;
use roadstead_proto::metadata::v1::read_service_server::ReadServiceServer;
use roadstead_proto::metadata::v1::repository_admin_service_server::RepositoryAdminServiceServer;
use roadstead_proto::metadata::v1::upload_service_server::UploadServiceServer;
use roadstead_proto::metadata::v1::write_service_server::WriteServiceServer;
use roadstead_rpc::{AllowList, MAX_MESSAGE_BYTES, Peer, Readiness, RpcServer};

use crate::Core;

/// Who may call what: the gateway reads and writes, events drains the outbox, and nobody does both.
fn allow_list() -> AllowList {
    let gateway = &[Peer::Gateway];
    AllowList::new()
        .allow("roadstead.metadata.v1.ReadService", gateway)
        .allow("roadstead.metadata.v1.WriteService", gateway)
        .allow("roadstead.metadata.v1.UploadService", gateway)
        .allow("roadstead.metadata.v1.RepositoryAdminService", gateway)
        .allow("roadstead.metadata.v1.OutboxService", &[Peer::Events])
}

/// Puts the services of `core` on a server.
pub(crate) fn server(core: &Arc<Core>, readiness: Readiness) -> RpcServer {
    macro_rules! sized {
        ($server:expr) => {
            $server
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES)
        };
    }
    RpcServer::new(Peer::Metadata, allow_list())
        .add_service(sized!(ReadServiceServer::new(read::Service(core.clone()))))
        .add_service(sized!(WriteServiceServer::new(write::Service(core.clone()))))
        .add_service(sized!(UploadServiceServer::new(upload::Service(core.clone()))))
        .add_service(sized!(RepositoryAdminServiceServer::new(admin::Service(
            core.clone()
        ))))
        .add_service(sized!(OutboxServiceServer::new(outbox::Service(core.clone()))))
        .with_readiness(readiness)
}
