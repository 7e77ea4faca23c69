//! Certificates for one run, used by a real server and a real client.

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use roadstead_rpc::{
    AllowList, CallPolicy, Endpoint, Peer, Readiness, RpcChannel, RpcServer, TlsConfig, TlsIdentity,
};
use roadstead_runtime::{certificates, install_crypto};
use roadstead_types::Clock;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

pub(crate) fn identity(dir: &Path, name: &str) -> TlsIdentity {
    TlsIdentity::from_files(&TlsConfig {
        ca_file: dir.join("ca.pem"),
        cert_file: dir.join(format!("{name}.pem")),
        key_file: dir.join(format!("{name}.key")),
    })
    .expect("an identity")
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "the test owns the task")]
async fn peers_of_one_run_reach_each_other_and_those_of_another_do_not() {
    install_crypto();
    let (run, other) = (
        tempfile::tempdir().expect("directory"),
        tempfile::tempdir().expect("directory"),
    );
    for dir in [&run, &other] {
        certificates::mint(dir.path(), &Clock::system()).expect("mints");
    }
    let readiness = Readiness::new();
    readiness.set_ready();
    let server = RpcServer::new(Peer::Metadata, AllowList::new()).with_readiness(readiness);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a free port");
    let uri = format!("https://{}", listener.local_addr().expect("bound"));
    let (tls, stop) = (identity(run.path(), "metadata"), CancellationToken::new());
    let serving = tokio::spawn({
        let stop = stop.clone();
        async move { server.serve(listener, &tls, stop, Duration::from_secs(1)).await }
    });

    let check = async |dir: &Path, name: &str, server: Peer| {
        let endpoint = Endpoint {
            uri: uri.clone(),
            server,
        };
        let channel =
            RpcChannel::connect(endpoint, &identity(dir, name), CallPolicy::default()).expect("a channel");
        HealthClient::new(channel)
            .check(HealthCheckRequest::default())
            .await
    };
    for name in ["gateway", "events", "operator"] {
        let answer = check(run.path(), name, Peer::Metadata)
            .await
            .expect("answers")
            .into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
    assert!(
        check(other.path(), "gateway", Peer::Metadata).await.is_err(),
        "another run's authority"
    );
    assert!(
        check(run.path(), "gateway", Peer::Blobs).await.is_err(),
        "the certificate is metadata's"
    );
    stop.cancel();
    serving.await.expect("no panic").expect("an orderly end");
}

#[test]
fn keys_are_private_and_nothing_is_overwritten() {
    let dir = tempfile::tempdir().expect("directory");
    certificates::mint(dir.path(), &Clock::system()).expect("mints");
    let names: Vec<_> = std::fs::read_dir(dir.path())
        .expect("lists")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert_eq!(
        names.len(),
        14,
        "ca.pem, seal.key, and a pair for each of six: {names:?}"
    );
    for path in names {
        let mode = std::fs::metadata(&path).expect("exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
    let seal = std::fs::read(dir.path().join("seal.key")).expect("a key");
    assert!(certificates::mint(dir.path(), &Clock::system()).is_err());
    assert_eq!(std::fs::read(dir.path().join("seal.key")).expect("a key"), seal);
}
