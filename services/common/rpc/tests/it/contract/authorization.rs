//! Who may call what; health and reflection.

use prost::Message as _;
use prost_types::FileDescriptorSet;
use roadstead_proto::DESCRIPTORS;
use roadstead_rpc::{CallPolicy, ErrorReason, Peer, RpcChannel, reason};
use rstest::rstest;
use tonic::{Code, Request, Status, client::GrpcService, codegen::StdError};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::support::{Transport, World, command, writer_over};

use Transport::{InProcess, Pipe, Tcp};

/// The path of every RPC in every contract.
pub(crate) fn every_rpc() -> Vec<String> {
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let mut paths = Vec::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                paths.push(format!(
                    "/{}.{}/{}",
                    file.package(),
                    service.name(),
                    method.name()
                ));
            }
        }
    }
    assert!(paths.len() > 20, "the descriptors are incomplete: {paths:?}");
    paths
}

/// Calls an RPC with an empty message, whatever its types.
pub(crate) async fn call_blindly<T>(channel: T, path: &str) -> Result<(), Status>
where
    T: GrpcService<tonic::body::Body>,
    T::Error: Into<StdError>,
    T::ResponseBody: Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<StdError> + Send,
{
    let mut client = tonic::client::Grpc::new(channel);
    client
        .ready()
        .await
        .map_err(|error| Status::unavailable(error.into().to_string()))?;
    let codec = ProstCodec::<(), ()>::default();
    client
        .unary(Request::new(()), path.parse().unwrap(), codec)
        .await
        .map(drop)
}

pub(crate) async fn assert_refused_everywhere(channel: RpcChannel) {
    for path in every_rpc() {
        let error = call_blindly(channel.clone(), &path).await.unwrap_err();
        assert_eq!(
            (error.code(), reason(&error)),
            (Code::PermissionDenied, ErrorReason::PeerRefused),
            "{path}: {error:?}"
        );
    }
}

#[rstest]
#[tokio::test]
async fn a_peer_that_is_not_listed_is_refused_on_every_rpc(
    #[values(InProcess, Pipe, Tcp)] transport: Transport,
    #[values(Peer::Auth, Peer::Metadata, Peer::Blobs, Peer::Events, Peer::Operator)] peer: Peer,
) {
    let world = World::new(transport).await;
    assert_refused_everywhere(world.channel_as(peer, CallPolicy::default())).await;
    assert_eq!(world.calls(), 0);
}

#[rstest]
#[tokio::test]
async fn a_listed_peer_may_call_only_what_it_is_listed_for(
    #[values(InProcess, Pipe, Tcp)] transport: Transport,
) {
    let world = World::new(transport).await;
    world.writer().finish(command("")).await.unwrap();
    // Not on the list, and not served either: a stranger to a service cannot tell.
    let error = call_blindly(
        world.channel(),
        "/roadstead.blobs.v1.BlobAdminService/DeleteObjects",
    )
    .await;
    assert_eq!(reason(&error.unwrap_err()), ErrorReason::PeerRefused);
    let error = call_blindly(world.channel(), "/roadstead.blobs.v1.BlobReadService/NoSuch")
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Unimplemented);
}

#[rstest]
#[tokio::test]
async fn metadata_does_not_make_a_peer(#[values(InProcess, Pipe, Tcp)] transport: Transport) {
    let world = World::new(transport).await;
    let mut request = Request::new(command(""));
    for header in ["x-peer", "peer", "x-forwarded-client-cert", "authority"] {
        request
            .metadata_mut()
            .insert(header, Peer::Gateway.dns_name().parse().unwrap());
    }
    let channel = world.channel_as(Peer::Events, CallPolicy::default());
    let error = writer_over(channel).finish(request).await.unwrap_err();
    assert_eq!(reason(&error), ErrorReason::PeerRefused);
}

#[rstest]
#[tokio::test]
async fn health_follows_readiness_and_is_open_to_every_peer(
    #[values(InProcess, Pipe, Tcp)] transport: Transport,
) {
    let world = World::new(transport).await;
    let mut health = HealthClient::new(world.channel_as(Peer::Operator, CallPolicy::default()));
    let about = |service: &str| HealthCheckRequest {
        service: service.to_owned(),
    };
    let status =
        |response: tonic::Response<tonic_health::pb::HealthCheckResponse>| response.into_inner().status();

    assert_eq!(
        status(health.check(about("")).await.unwrap()),
        ServingStatus::NotServing
    );
    let mut changes = health.watch(about("")).await.unwrap().into_inner();
    assert_eq!(
        changes.message().await.unwrap().unwrap().status(),
        ServingStatus::NotServing
    );
    world.readiness.set_ready();
    assert_eq!(
        changes.message().await.unwrap().unwrap().status(),
        ServingStatus::Serving
    );
    let known = about("roadstead.blobs.v1.BlobReadService");
    assert_eq!(status(health.check(known).await.unwrap()), ServingStatus::Serving);
    assert_eq!(
        health.check(about("no.such.Service")).await.unwrap_err().code(),
        Code::NotFound
    );
    world.readiness.set_not_ready("leaving");
    assert_eq!(
        changes.message().await.unwrap().unwrap().status(),
        ServingStatus::NotServing
    );
}

#[rstest]
#[tokio::test]
async fn reflection_lists_what_is_served(#[values(InProcess, Pipe, Tcp)] transport: Transport) {
    let world = World::new(transport).await;
    let mut reflection = ServerReflectionClient::new(world.channel_as(Peer::Operator, CallPolicy::default()));
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let requests = futures::stream::iter([list]);
    let mut responses = reflection
        .server_reflection_info(requests)
        .await
        .unwrap()
        .into_inner();
    let response = responses.message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(services)) = response.message_response else {
        panic!("{response:?}")
    };
    let mut names: Vec<_> = services.service.into_iter().map(|service| service.name).collect();
    names.sort();
    let expected = [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "roadstead.auth.v1.DevIssuerService",
        "roadstead.blobs.v1.BlobReadService",
        "roadstead.blobs.v1.BlobWriteService",
    ];
    assert_eq!(names, expected);
}
