//! What becomes of bytes when something goes wrong between their first and their last.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::header;
use roadstead_gateway::Config;
use roadstead_rpc::ErrorReason;
use roadstead_types::{Digest, UploadId};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::services::Gateway;

fn session() -> String {
    format!("/v2/a/b/blobs/uploads/{}", UploadId::new())
}

fn chunked(chunks: &[&'static str]) -> reqwest::Body {
    let chunks: Vec<_> = chunks
        .iter()
        .map(|chunk| Ok::<_, std::io::Error>(Bytes::from_static(chunk.as_bytes())))
        .collect();
    reqwest::Body::wrap_stream(stream::iter(chunks))
}

async fn patch(
    gateway: &Gateway,
    path: &str,
    range: Option<&str>,
    body: impl Into<reqwest::Body>,
) -> reqwest::Response {
    let mut request = gateway
        .http
        .patch(gateway.url(path))
        .bearer_auth(gateway.push_token())
        .body(body);
    if let Some(range) = range {
        request = request.header(header::CONTENT_RANGE, range);
    }
    request.send().await.unwrap()
}

fn assert_resumable(response: &reqwest::Response, path: &str, range: &str) {
    assert_eq!(response.headers()[header::LOCATION], path);
    assert_eq!(response.headers()[header::RANGE], range);
}

#[tokio::test]
async fn chunks_add_up_and_the_answers_say_how_far() {
    let gateway = Gateway::start(Config::default()).await;
    let path = session();
    let first = patch(&gateway, &path, Some("0-4"), "hello").await;
    assert_eq!(first.status(), 202);
    assert_resumable(&first, &path, "0-4");
    let second = patch(&gateway, &path, None, chunked(&[" ", "wor", "ld"])).await;
    assert_eq!(second.status(), 202);
    assert_resumable(&second, &path, "0-10");

    let status = gateway
        .http
        .get(gateway.url(&path))
        .bearer_auth(gateway.push_token())
        .send()
        .await
        .unwrap();
    assert_eq!(status.status(), 204);
    assert_resumable(&status, &path, "0-10");

    let digest = Digest::sha256(b"hello world");
    let put = gateway
        .http
        .put(gateway.url(&format!("{path}?digest={digest}")))
        .bearer_auth(gateway.push_token());
    let put = put.send().await.unwrap();
    assert_eq!(put.status(), 201);
    assert_eq!(put.headers()[header::LOCATION], format!("/v2/a/b/blobs/{digest}"));
    assert_eq!(put.headers()["docker-content-digest"], digest.as_str());
    assert!(gateway.script.committed.load(Ordering::SeqCst));
}

#[tokio::test]
async fn out_of_order_is_416_on_patch_and_put_and_says_where_to_go_on() {
    let gateway = Gateway::start(Config::default()).await;
    let path = session();
    patch(&gateway, &path, Some("0-4"), "hello").await;
    let response = patch(&gateway, &path, Some("7-9"), "xyz").await;
    assert_eq!(response.status(), 416);
    assert_resumable(&response, &path, "0-4");

    let digest = Digest::sha256(b"x");
    let put = gateway
        .http
        .put(gateway.url(&format!("{path}?digest={digest}")))
        .bearer_auth(gateway.push_token())
        .header(header::CONTENT_RANGE, "0-2")
        .body("xyz");
    let put = put.send().await.unwrap();
    assert_eq!(put.status(), 416);
    assert_resumable(&put, &path, "0-4");
    assert!(!gateway.script.committed.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_chunk_must_be_as_long_as_it_says() {
    let gateway = Gateway::start(Config::default()).await;
    for (range, body) in [
        ("0-9", "hello"),
        ("0-1", "hello"),
        ("bytes 0-4/5", "hello"),
        ("4-0", "hello"),
    ] {
        assert_eq!(
            patch(&gateway, &session(), Some(range), body).await.status(),
            400,
            "{range}"
        );
    }
    assert_eq!(gateway.script.taken.load(Ordering::SeqCst), 0);
    for range in ["0-9", "0-5"] {
        let response = patch(&gateway, &session(), Some(range), chunked(&["hel", "lo w"])).await;
        assert_eq!(response.status(), 400, "{range}");
        gateway.script.saved.store(0, Ordering::SeqCst);
    }
}

/// Sends the head of a request and part of its body, and closes the connection.
async fn send_half(gateway: &Gateway, method: &str, path: &str) {
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let (host, token) = (gateway.address, gateway.push_token());
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nContent-Length: 1000\r\n\r\nhello"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    gateway
        .eventually("blobs has the bytes", |script| {
            script.taken.load(Ordering::SeqCst) >= 5
        })
        .await;
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
}

#[tokio::test]
async fn what_came_before_the_client_went_away_is_kept() {
    let gateway = Gateway::start(Config::default()).await;
    send_half(&gateway, "PATCH", &session()).await;
    gateway
        .eventually("saved", |script| script.saved.load(Ordering::SeqCst) == 5)
        .await;
}

#[tokio::test]
async fn a_truncated_body_is_never_committed() {
    let gateway = Gateway::start(Config::default()).await;
    // Even if its digest were right: the client meant to send more.
    let digest = Digest::sha256(b"hello");
    send_half(&gateway, "PUT", &format!("{}?digest={digest}", session())).await;
    gateway
        .eventually("saved", |script| script.saved.load(Ordering::SeqCst) == 5)
        .await;
    gateway.script.taken.store(0, Ordering::SeqCst);
    gateway.script.saved.store(0, Ordering::SeqCst);
    send_half(
        &gateway,
        "POST",
        &format!("/v2/a/b/blobs/uploads/?digest={digest}"),
    )
    .await;
    gateway
        .eventually("saved", |script| script.saved.load(Ordering::SeqCst) == 5)
        .await;
    // A request that comes to its end later has had time to commit.
    patch(&gateway, &session(), None, "x").await;
    assert!(!gateway.script.committed.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_body_that_stands_still_is_given_up() {
    let config = Config {
        body_idle_timeout: Duration::from_millis(50),
        ..Config::default()
    };
    let gateway = Gateway::start(config).await;
    let path = session();
    let stuck =
        stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"hello"))]).chain(stream::pending());
    let response = patch(&gateway, &path, None, reqwest::Body::wrap_stream(stuck)).await;
    assert_eq!(response.status(), 408);
    assert_resumable(&response, &path, "0-4");
}

#[tokio::test]
async fn bytes_flow_only_against_credit() {
    let gateway = Gateway::start(Config::default()).await;
    gateway.script.credit.store(1000, Ordering::SeqCst);
    let body = vec![7_u8; 1_000_000];
    let response = patch(&gateway, &session(), None, body).await;
    // The scripted blobs fails the stream when it gets more than it granted.
    assert_eq!(response.status(), 202);
    assert_eq!(response.headers()[header::RANGE], "0-999999");
    assert_eq!(gateway.script.taken.load(Ordering::SeqCst), 1_000_000);
}

#[tokio::test]
async fn a_refused_checkpoint_ends_the_upload() {
    let gateway = Gateway::start(Config::default()).await;
    gateway.script.refuse_saves.store(true, Ordering::SeqCst);
    let digest = Digest::sha256(b"hello");
    let url = gateway.url(&format!("{}?digest={digest}", session()));
    let response = gateway
        .http
        .put(url)
        .bearer_auth(gateway.push_token())
        .body("hello")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 409);
    let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!(body["errors"][0]["code"], "BLOB_UPLOAD_INVALID");
    assert!(!gateway.script.committed.load(Ordering::SeqCst));
}

#[tokio::test]
async fn what_blobs_refuses_is_told() {
    let gateway = Gateway::start(Config::default()).await;
    for (reason, status) in [
        (ErrorReason::BlobTooLarge, 413),
        (ErrorReason::StorageFull, 507),
        (ErrorReason::StorageUnavailable, 503),
        (ErrorReason::UploadConflict, 409),
    ] {
        *gateway.script.append_error.lock().unwrap() = Some(reason);
        let response = patch(&gateway, &session(), None, chunked(&["hello"; 50])).await;
        assert_eq!(response.status(), status, "{reason:?}");
    }
}

#[tokio::test]
async fn starting_and_cancelling() {
    let gateway = Gateway::start(Config::default()).await;
    let post = async |query: &str| {
        let url = gateway.url(&format!("/v2/a/b/blobs/uploads/{query}"));
        gateway
            .http
            .post(url)
            .bearer_auth(gateway.push_token())
            .send()
            .await
            .unwrap()
    };
    let response = post("").await;
    assert_eq!(response.status(), 202);
    let location = response.headers()[header::LOCATION].to_str().unwrap().to_owned();
    assert!(location.starts_with("/v2/a/b/blobs/uploads/"), "{location}");
    assert_eq!(post("?digest-algorithm=sha512").await.status(), 202);
    assert_eq!(post("?digest-algorithm=md5").await.status(), 400);
    assert_eq!(post("?digest=sha256:x").await.status(), 400);
    assert_eq!(post("?mount=sha256:x").await.status(), 400);

    let put = gateway
        .http
        .put(gateway.url(&location))
        .bearer_auth(gateway.push_token())
        .send()
        .await
        .unwrap();
    assert_eq!(put.status(), 400, "a PUT needs a digest");
    let delete = gateway
        .http
        .delete(gateway.url(&location))
        .bearer_auth(gateway.push_token());
    assert_eq!(delete.send().await.unwrap().status(), 204);
    assert!(gateway.script.cancelled.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_refusal_can_be_read_although_the_body_was_not() {
    let gateway = Gateway::start(Config::default()).await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!(
        "PATCH {} HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\nConnection: close\r\n\r\n",
        session()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![0; 900_000]).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}

#[tokio::test]
async fn what_is_in_flight_at_the_end_is_finished() {
    let gateway = Gateway::start(Config::default()).await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let body = reqwest::Body::wrap_stream(tokio_stream::wrappers::ReceiverStream::new(receiver));
    let request = gateway
        .http
        .patch(gateway.url(&session()))
        .bearer_auth(gateway.push_token())
        .body(body);
    let script = gateway.script.clone();
    let talk = async {
        sender.send(Ok(Bytes::from_static(b"hello"))).await.unwrap();
        gateway
            .eventually("taken", |script| script.taken.load(Ordering::SeqCst) == 5)
            .await;
        let stopped = gateway.stop();
        sender.send(Ok(Bytes::from_static(b" world"))).await.unwrap();
        drop(sender);
        tokio::time::timeout(Duration::from_secs(5), stopped)
            .await
            .unwrap()
            .unwrap();
    };
    let (response, ()) = tokio::join!(request.send(), talk);
    assert_eq!(response.unwrap().status(), 202);
    assert_eq!(script.saved.load(Ordering::SeqCst), 11);
}
