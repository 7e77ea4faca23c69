//! Clients that say little or take nothing: what they hold is given back, and those that only take their time are served.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use roadstead_gateway::Config;
use roadstead_types::UploadId;
use rstest::rstest;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_stream::wrappers::ReceiverStream;

use crate::services::Gateway;

/// What an HTTP/2 client says first: the preface and empty SETTINGS.
const HTTP2_HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn impatient() -> Config {
    Config {
        header_timeout: Duration::from_millis(200),
        body_idle_timeout: Duration::from_millis(200),
        ..Config::default()
    }
}

/// Reads until the gateway closes the connection.
async fn closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    // A reset closes it, too.
    let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest))
        .await
        .expect("the gateway keeps the connection");
}

#[rstest]
#[case::nothing(b"")]
#[case::half_a_request(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n")]
#[case::what_may_become_either_protocol(b"P")]
#[case::half_a_preface(b"PRI * HTTP/2.0\r\n")]
#[case::no_request(HTTP2_HELLO)]
#[tokio::test]
async fn a_connection_without_a_request_is_closed(#[case] said: &[u8]) {
    let gateway = Gateway::start(impatient()).await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(said).await.unwrap();
    closed(stream).await;
}

#[rstest]
#[case::http1(false)]
#[case::http2(true)]
#[tokio::test]
async fn a_request_may_take_longer_than_its_connection_may_idle(#[case] http2: bool) {
    let gateway = Gateway::start(Config {
        body_idle_timeout: Duration::from_secs(10),
        ..impatient()
    })
    .await;
    let builder = reqwest::Client::builder();
    let http = if http2 {
        builder.http2_prior_knowledge()
    } else {
        builder
    };
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let url = gateway.url(&format!("/v2/a/b/blobs/uploads/{}", UploadId::new()));
    let request = http
        .build()
        .unwrap()
        .patch(url)
        .bearer_auth(gateway.push_token())
        .body(reqwest::Body::wrap_stream(ReceiverStream::new(receiver)));
    let talk = async {
        sender.send(Ok(Bytes::from_static(b"hello"))).await.unwrap();
        gateway
            .eventually("taken", |script| script.taken.load(Ordering::SeqCst) == 5)
            .await;
        // Others that came later have been idle for too long by now.
        for _ in 0..2 {
            closed(TcpStream::connect(gateway.address).await.unwrap()).await;
        }
        sender.send(Ok(Bytes::from_static(b" world"))).await.unwrap();
        drop(sender);
    };
    let (response, ()) = tokio::join!(request.send(), talk);
    assert_eq!(response.unwrap().status(), 202);
}

#[tokio::test]
async fn a_download_that_nobody_takes_gives_its_stream_back() {
    let gateway = Gateway::start(impatient()).await;
    // More than the buffers of two sockets hold.
    gateway
        .script
        .blob_size
        .store(256 * 1024 * 1024, Ordering::SeqCst);
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let request = format!(
        "GET /v2/a/b/blobs/sha256:{:064} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        0,
        gateway.token(&["repository:a/b:pull"])
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    gateway
        .eventually("given back", |script| {
            script.reads_ended.load(Ordering::SeqCst) == 1
        })
        .await;
    // What it missed is not made up: the body ends before its length.
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.len() < 256 * 1024 * 1024, "{}", rest.len());
}

#[tokio::test]
async fn a_download_that_is_taken_arrives_whole() {
    let gateway = Gateway::start(impatient()).await;
    gateway.script.blob_size.store(32 * 1024 * 1024, Ordering::SeqCst);
    let url = gateway.url(&format!("/v2/a/b/blobs/sha256:{:064}", 0));
    let request = gateway
        .http
        .get(url)
        .bearer_auth(gateway.token(&["repository:a/b:pull"]));
    let mut response = request.send().await.unwrap();
    let mut length = 0;
    while let Some(chunk) = response.chunk().await.unwrap() {
        length += chunk.len();
    }
    assert_eq!(length, 32 * 1024 * 1024);
}
