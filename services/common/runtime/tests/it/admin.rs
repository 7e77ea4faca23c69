//! The admin port.

use std::net::{Ipv4Addr, SocketAddr};

use roadstead_rpc::Readiness;
use roadstead_runtime::{admin, prometheus};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

pub(crate) async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sends");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answers");
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .expect("a status");
    let body = answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
        .unwrap_or_default();
    (status, body)
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "the test owns the task")]
async fn readiness_follows_every_service_and_liveness_none() {
    // As `Telemetry::init` does: what is counted before goes nowhere.
    prometheus();
    let (auth, metadata) = (Readiness::new(), Readiness::new());
    let listener = admin::bind(Some((Ipv4Addr::LOCALHOST, 0).into()))
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("bound");
    let services = vec![("auth", auth.clone()), ("metadata", metadata.clone())];
    let server = tokio::spawn(admin::serve(listener, services));

    assert_eq!(get(address, "/readyz").await.0, 503);
    assert_eq!(get(address, "/livez").await.0, 200);
    auth.set_ready();
    let (status, body) = get(address, "/readyz").await;
    assert_eq!(status, 503);
    assert!(
        body.contains("auth: ready") && body.contains("metadata: starting"),
        "{body}"
    );
    metadata.set_ready();
    assert_eq!(get(address, "/readyz").await.0, 200);
    auth.set_not_ready("shutting down");
    assert_eq!(get(address, "/readyz").await.0, 503);

    metrics::counter!("admin_test_total", "which" => "this").increment(3);
    let (status, body) = get(address, "/metrics").await;
    assert_eq!(status, 200);
    assert!(body.contains("admin_test_total{which=\"this\"} 3"), "{body}");
    server.abort();
}

#[tokio::test]
async fn a_configured_address_is_used_or_refused_and_the_default_gives_way() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a free port");
    let address = taken.local_addr().expect("bound");
    assert!(admin::bind(Some(address)).await.is_err());
    let (first, second) = (
        admin::bind(None).await.expect("binds"),
        admin::bind(None).await.expect("binds too"),
    );
    for listener in [first, second] {
        assert!(listener.local_addr().expect("bound").ip().is_loopback());
    }
}
