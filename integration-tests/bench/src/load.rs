//! Load: connections that repeat a request, or a push, for a while.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use roadstead_integration_tests::registry::with_query;
use roadstead_types::Digest;

use crate::cases::Style;
use crate::content::{Content, PUSHED, Pushable};
use crate::http::{Connection, Expected};

/// Pieces of a body with a known length.
const PIECE: usize = 256 * 1024;
/// Chunks as Go's HTTP client sends them, which docker, podman, skopeo and crane are built with.
const CHUNK: usize = 32 * 1024;

/// What clients accept when they ask for a manifest; version 2 and 3 of distribution answer 404 without it.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// What a run of load came to.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// Bytes of bodies, in the direction that the case is about.
    pub(crate) bytes: u64,
    pub(crate) elapsed: Duration,
    /// From the first byte sent to the last one received, in ascending order. One for each request or push.
    pub(crate) latencies: Vec<Duration>,
}

/// The head of a request without a body, for bytes of a media type.
pub(crate) fn request(method: &str, path: &str, port: u16, authorization: Option<&str>) -> Vec<u8> {
    head(
        method,
        path,
        port,
        authorization,
        &format!("Accept: {ACCEPT}\r\n"),
    )
    .into_bytes()
}

fn head(method: &str, path: &str, port: u16, authorization: Option<&str>, more: &str) -> String {
    let authorization = authorization.map_or_else(String::new, |value| format!("Authorization: {value}\r\n"));
    format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{authorization}{more}\r\n")
}

/// Sends `request` again and again on each connection until `duration` is over, and waits for the last answers.
pub(crate) async fn repeat(
    port: u16,
    request: &[u8],
    expected: Expected,
    connections: usize,
    duration: Duration,
) -> Result<Measured> {
    let connections = try_join_all((0..connections).map(|_| Connection::open(port))).await?;
    let start = Instant::now();
    let parts = connections
        .into_iter()
        .map(|connection| repeat_one(connection, request, expected, start + duration));
    let parts = try_join_all(parts).await?;
    let mut measured = Measured {
        elapsed: start.elapsed(),
        ..Measured::default()
    };
    for (bytes, latencies) in parts {
        measured.bytes += bytes;
        measured.latencies.extend(latencies);
    }
    measured.latencies.sort_unstable();
    Ok(measured)
}

async fn repeat_one(
    mut connection: Connection,
    request: &[u8],
    expected: Expected,
    end: Instant,
) -> Result<(u64, Vec<Duration>)> {
    let (mut bytes, mut latencies) = (0, Vec::new());
    while latencies.is_empty() || Instant::now() < end {
        let start = Instant::now();
        connection.send(request).await?;
        bytes += connection.answer(expected).await?.0;
        latencies.push(start.elapsed());
    }
    Ok((bytes, latencies))
}

/// One client that pushes one blob after the other.
#[derive(Debug)]
pub(crate) struct Pusher<'a> {
    pub(crate) port: u16,
    pub(crate) authorization: Option<String>,
    pub(crate) style: Style,
    pub(crate) content: &'a Content,
}

impl Pusher<'_> {
    /// Pushes the blobs of the numbers from `first` on until `duration` is over; gives what was pushed as well.
    pub(crate) async fn run(&self, first: u64, duration: Duration) -> Result<(Measured, Vec<Digest>)> {
        let mut connection = Connection::open(self.port).await?;
        let (mut measured, mut pushed) = (Measured::default(), Vec::new());
        let start = Instant::now();
        while pushed.is_empty() || start.elapsed() < duration {
            let blob = self.content.pushable(first + pushed.len() as u64);
            let begun = Instant::now();
            self.push(&mut connection, &blob).await?;
            measured.latencies.push(begun.elapsed());
            measured.bytes += blob.len() as u64;
            pushed.push(blob.digest);
        }
        measured.elapsed = start.elapsed();
        measured.latencies.sort_unstable();
        Ok((measured, pushed))
    }

    async fn push(&self, connection: &mut Connection, blob: &Pushable) -> Result<()> {
        let path = format!("/v2/{PUSHED}/blobs/uploads/");
        let mut location = self.ask(connection, "POST", &path, 202).await?;
        if self.style == Style::Patch {
            let more = "Content-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n";
            connection
                .send(self.head("PATCH", &location, more).as_bytes())
                .await?;
            send_chunked(connection, blob).await?;
            location = self.location(connection, 202).await?;
        }
        let path = with_query(&location, "digest", blob.digest.as_str());
        match self.style {
            Style::Patch => self.ask(connection, "PUT", &path, 201).await.map(drop),
            Style::Put => {
                let length = blob.len();
                let more = format!("Content-Type: application/octet-stream\r\nContent-Length: {length}\r\n");
                connection.send(self.head("PUT", &path, &more).as_bytes()).await?;
                for piece in blob.body.chunks(PIECE) {
                    connection.send(piece).await?;
                }
                connection.send(&blob.end).await?;
                self.location(connection, 201).await.map(drop)
            }
        }
    }

    /// A request without a body, and the `Location` that it is answered with.
    async fn ask(
        &self,
        connection: &mut Connection,
        method: &str,
        path: &str,
        status: u16,
    ) -> Result<String> {
        let head = self.head(method, path, "Content-Length: 0\r\n");
        connection.send(head.as_bytes()).await?;
        self.location(connection, status).await
    }

    async fn location(&self, connection: &mut Connection, status: u16) -> Result<String> {
        let expected = Expected {
            status,
            length: None,
            body: true,
        };
        let (_, location) = connection.answer(expected).await?;
        let location = location.context("an answer without Location")?;
        // Some give a path, some a whole address.
        let base = format!("http://127.0.0.1:{}", self.port);
        Ok(location.strip_prefix(&base).unwrap_or(&location).to_owned())
    }

    fn head(&self, method: &str, path: &str, more: &str) -> String {
        head(method, path, self.port, self.authorization.as_deref(), more)
    }
}

async fn send_chunked(connection: &mut Connection, blob: &Pushable) -> Result<()> {
    let mut framed = Vec::with_capacity(CHUNK + 32);
    for piece in blob.body.chunks(CHUNK).chain([&blob.end[..], &[]]) {
        framed.clear();
        framed.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        framed.extend_from_slice(piece);
        framed.extend_from_slice(b"\r\n");
        connection.send(&framed).await?;
    }
    Ok(())
}
