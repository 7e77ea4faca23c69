//! What only a network has: certificates, connections, draining.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use roadstead_proto::blobs::v1::blob_read_service_client::BlobReadServiceClient;
use roadstead_rpc::{
    CallPolicy, Endpoint, ErrorReason, Peer, RpcChannel, RpcError, TlsConfig, TlsIdentity, reason,
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Request,
    transport::{Certificate, ClientTlsConfig, Endpoint as TonicEndpoint},
};

use crate::{
    contract::{assert_refused_everywhere, call_blindly, every_rpc},
    support::{Transport, World, command, eventually, read, writer_over},
    tls::Authority,
};

fn channel(world: &World, identity: &TlsIdentity) -> RpcChannel {
    let endpoint = Endpoint {
        uri: world.uri.clone(),
        server: Peer::Blobs,
    };
    RpcChannel::connect(endpoint, identity, CallPolicy::default()).unwrap()
}

#[tokio::test]
async fn a_caller_without_a_certificate_is_refused_on_every_rpc() {
    let world = World::new(Transport::Tcp).await;
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(world.authority.ca_pem()))
        .domain_name(Peer::Blobs.dns_name());
    let channel = TonicEndpoint::from_shared(world.uri.clone())
        .unwrap()
        .tls_config(tls)
        .unwrap()
        .connect_lazy();
    let mut paths = every_rpc();
    paths.push("/grpc.health.v1.Health/Check".to_owned());
    paths.push("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo".to_owned());
    for path in paths {
        let error = call_blindly(channel.clone(), &path).await.unwrap_err();
        assert_eq!(
            (error.code(), reason(&error)),
            (Code::PermissionDenied, ErrorReason::PeerRefused),
            "{path}: {error:?}"
        );
    }
    assert_eq!(world.calls(), 0);
}

#[tokio::test]
async fn a_caller_without_a_certificate_is_not_kept() {
    let world = World::new(Transport::Tcp).await;
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(world.authority.ca_pem().as_bytes()).unwrap())
        .unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(world.uri.trim_start_matches("https://"))
        .await
        .unwrap();
    let name = Peer::Blobs.dns_name().try_into().unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, stream).await.unwrap();
    // Nothing happens from here on but the passing of time, so the clock may run ahead.
    tokio::time::pause();
    let closed = async {
        // What the server says first, and then an end of any kind.
        let mut buffer = [0; 1024];
        while !matches!(stream.read(&mut buffer).await, Ok(0) | Err(_)) {}
    };
    tokio::time::timeout(Duration::from_mins(1), closed)
        .await
        .expect("the connection is closed");
}

#[tokio::test]
async fn a_certificate_of_another_authority_does_not_get_in() {
    let world = World::new(Transport::Tcp).await;
    let stranger = Authority::new().identity_trusting(&[Peer::Gateway.dns_name()], &world.authority);
    let channel = channel(&world, &stranger);
    for path in every_rpc() {
        let error = call_blindly(channel.clone(), &path).await.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{path}: {error:?}");
    }
    assert_eq!(world.calls(), 0);
    world.writer().finish(command("")).await.unwrap();
}

#[tokio::test]
async fn a_certificate_with_an_unknown_name_is_refused_on_every_rpc() {
    let world = World::new(Transport::Tcp).await;
    for names in [
        &["stranger.roadstead.internal"][..],
        &["gateway.roadstead.internal.example"],
        &["localhost"],
        // Two peers in one: it may do what neither alone is trusted to combine.
        &[Peer::Gateway.dns_name(), Peer::Metadata.dns_name()],
    ] {
        let channel = channel(&world, &world.authority.identity(names));
        assert_refused_everywhere(channel.clone()).await;
        let health = call_blindly(channel, "/grpc.health.v1.Health/Check")
            .await
            .unwrap_err();
        assert_eq!(reason(&health), ErrorReason::PeerRefused, "{names:?}");
    }
    assert_eq!(world.calls(), 0);
}

#[tokio::test]
async fn other_names_beside_the_peers_do_no_harm() {
    let world = World::new(Transport::Tcp).await;
    let identity = world
        .authority
        .identity(&["localhost", Peer::Gateway.dns_name(), "gateway.example"]);
    writer_over(channel(&world, &identity))
        .finish(command(""))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_server_that_is_another_peer_is_not_believed() {
    let world = World::new(Transport::Tcp).await;
    let endpoint = Endpoint {
        uri: world.uri.clone(),
        server: Peer::Metadata,
    };
    let identity = world.authority.identity(&[Peer::Gateway.dns_name()]);
    let channel = RpcChannel::connect(endpoint, &identity, CallPolicy::default()).unwrap();
    let error = writer_over(channel).finish(command("")).await.unwrap_err();
    assert_eq!(
        (error.code(), reason(&error)),
        (Code::Unavailable, ErrorReason::Unavailable)
    );
    assert_eq!(world.calls(), 0);
}

#[tokio::test]
async fn a_channel_is_made_before_its_server_and_survives_it() {
    let world = World::new(Transport::Pipe).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let endpoint = Endpoint {
        uri: format!("https://{address}"),
        server: Peer::Blobs,
    };
    let identity = world.authority.identity(&[Peer::Gateway.dns_name()]);
    let channel = RpcChannel::connect(endpoint, &identity, CallPolicy::default()).unwrap();
    let error = writer_over(channel.clone())
        .finish(command(""))
        .await
        .unwrap_err();
    assert_eq!(
        (error.code(), reason(&error)),
        (Code::Unavailable, ErrorReason::Unavailable)
    );

    for _ in 0..2 {
        let listener = TcpListener::bind(address).await.unwrap();
        let stop = CancellationToken::new();
        let serving = serve(&world, listener, stop.clone(), Duration::from_secs(5));
        eventually_answers(&channel).await;
        stop.cancel();
        serving.await.unwrap().unwrap();
    }
}

async fn eventually_answers(channel: &RpcChannel) {
    let started = Instant::now();
    while let Err(error) = writer_over(channel.clone()).finish(command("")).await {
        assert_eq!(error.code(), Code::Unavailable, "{error:?}");
        assert!(started.elapsed() < Duration::from_secs(10), "{error:?}");
    }
}

fn serve(
    world: &World,
    listener: TcpListener,
    stop: CancellationToken,
    drain: Duration,
) -> tokio::task::JoinHandle<Result<(), RpcError>> {
    let identity = world.authority.identity(&[Peer::Blobs.dns_name()]);
    let server = world.server.clone();
    #[allow(clippy::disallowed_methods)]
    tokio::spawn(async move { server.serve(listener, &identity, stop, drain).await })
}

/// A server of its own, whose end the test decides.
async fn stoppable(
    world: &World,
    drain: Duration,
) -> (
    RpcChannel,
    CancellationToken,
    tokio::task::JoinHandle<Result<(), RpcError>>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint {
        uri: format!("https://{}", listener.local_addr().unwrap()),
        server: Peer::Blobs,
    };
    let stop = CancellationToken::new();
    let serving = serve(world, listener, stop.clone(), drain);
    let identity = world.authority.identity(&[Peer::Gateway.dns_name()]);
    let channel = RpcChannel::connect(endpoint, &identity, CallPolicy::default()).unwrap();
    (channel, stop, serving)
}

#[tokio::test]
async fn calls_under_way_finish_before_the_server_ends() {
    let world = World::new(Transport::Pipe).await;
    let (channel, stop, serving) = stoppable(&world, Duration::from_secs(10)).await;
    let mut writer = writer_over(channel);
    #[allow(clippy::disallowed_methods)]
    let call = tokio::spawn(async move { writer.finish(command("commit")).await });
    eventually("call started", || world.seen.started.load(Ordering::SeqCst) == 1).await;
    stop.cancel();
    world.seen.gate.notify_one();
    call.await.unwrap().unwrap();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn calls_that_outlast_the_drain_are_cut_off() {
    let world = World::new(Transport::Pipe).await;
    let (channel, stop, serving) = stoppable(&world, Duration::from_millis(100)).await;
    let mut writer = writer_over(channel);
    #[allow(clippy::disallowed_methods)]
    let call = tokio::spawn(async move {
        let mut request = Request::new(command("hang"));
        request.set_timeout(Duration::from_secs(20));
        writer.finish(request).await
    });
    eventually("call started", || world.seen.started.load(Ordering::SeqCst) == 1).await;
    let cut = Instant::now();
    stop.cancel();
    serving.await.unwrap().unwrap();
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(
        (error.code(), reason(&error)),
        (Code::Unavailable, ErrorReason::Unavailable)
    );
    assert!(
        cut.elapsed() < Duration::from_secs(10),
        "the call ended by its deadline"
    );
    eventually("handler dropped", || {
        world.seen.dropped.load(Ordering::SeqCst) == 1
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_is_cut_off_is_no_end_of_the_stream() {
    let world = World::new(Transport::Pipe).await;
    let (channel, stop, serving) = stoppable(&world, Duration::ZERO).await;
    let mut reader = BlobReadServiceClient::new(channel);
    let mut chunks = reader.read(read("then-hang", 1)).await.unwrap().into_inner();
    assert!(chunks.message().await.unwrap().is_some());
    stop.cancel();
    serving.await.unwrap().unwrap();
    let error = chunks.message().await.unwrap_err();
    assert_eq!(
        (error.code(), reason(&error)),
        (Code::Unavailable, ErrorReason::Unavailable)
    );
}

#[tokio::test]
async fn a_server_does_not_start_with_the_certificate_of_another_peer() {
    let world = World::new(Transport::Pipe).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let identity = world.authority.identity(&[Peer::Metadata.dns_name()]);
    let served = world
        .server
        .clone()
        .serve(listener, &identity, CancellationToken::new(), Duration::ZERO)
        .await;
    assert!(matches!(served, Err(RpcError::Tls(_))), "{served:?}");
}

#[tokio::test]
async fn an_address_without_tls_is_refused() {
    let authority = Authority::new();
    let endpoint = Endpoint {
        uri: "http://127.0.0.1:1".to_owned(),
        server: Peer::Blobs,
    };
    let identity = authority.identity(&[Peer::Gateway.dns_name()]);
    let error = RpcChannel::connect(endpoint, &identity, CallPolicy::default()).unwrap_err();
    assert!(matches!(error, RpcError::Endpoint { .. }), "{error}");
}

#[tokio::test]
async fn an_unusable_identity_is_an_error_at_the_start() {
    let world = World::new(Transport::Pipe).await;
    let good = world.authority.ca_pem();
    for (ca, cert, key) in [
        ("", "", ""),
        (&good, "", ""),
        (&good, &good, "no key"),
        ("no pem", &good, ""),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let identity = TlsIdentity::from_pem(ca, cert, key);
        let token = CancellationToken::new();
        let served = world
            .server
            .clone()
            .serve(listener, &identity, token, Duration::ZERO)
            .await;
        assert!(matches!(served, Err(RpcError::Tls(_))), "{served:?}");
    }
    let missing = TlsConfig {
        ca_file: "/no/such/file".into(),
        ..TlsConfig::default()
    };
    assert!(matches!(
        TlsIdentity::from_files(&missing),
        Err(RpcError::File { .. })
    ));
}
