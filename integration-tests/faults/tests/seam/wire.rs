//! Clients that look at what an answer is while it comes, and clients that try again.

use anyhow::{Context as _, Result, bail};
use reqwest::Method;
use roadstead_integration_tests::image::{Image, media};
use roadstead_integration_tests::registry::with_query;
use roadstead_integration_tests::{Reply, Session};
use roadstead_types::Digest;

use crate::world::unavailable;

/// More than any test makes fail in a row.
const ATTEMPTS: usize = 20;

/// What came of a body.
pub(crate) struct Download {
    /// None when the connection broke before there was a head.
    pub(crate) status: Option<u16>,
    pub(crate) bytes: Vec<u8>,
    /// Whether the client was told that this is all.
    pub(crate) ended_cleanly: bool,
}

/// Gets a blob from the byte `first` on, as far as it comes.
pub(crate) async fn download(session: &Session, base: &str, path: &str, first: usize) -> Result<Download> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let mut request = client.get(format!("{base}{path}")).bearer_auth(session.token());
    if first > 0 {
        request = request.header("range", format!("bytes={first}-"));
    }
    let mut bytes = Vec::new();
    let mut response = match request.send().await {
        Ok(response) => response,
        Err(error) if error.is_connect() => return Err(error.into()),
        Err(_) => {
            return Ok(Download {
                status: None,
                bytes,
                ended_cleanly: false,
            });
        }
    };
    let status = Some(response.status().as_u16());
    let ended_cleanly = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    Ok(Download {
        status,
        bytes,
        ended_cleanly,
    })
}

/// Repeats a request for as long as the answer is to try again.
pub(crate) async fn persistently(mut request: impl AsyncFnMut() -> Result<Reply>) -> Result<Reply> {
    for _ in 0..ATTEMPTS {
        let reply = request().await?;
        if reply.status != 503 {
            return Ok(reply);
        }
        unavailable(reply)?;
    }
    bail!("still unavailable after {ATTEMPTS} attempts")
}

/// Pushes a blob as tools do: whatever goes wrong, they begin anew.
pub(crate) async fn push_blob(
    session: &Session,
    repository: &str,
    bytes: &[u8],
    digest: &Digest,
) -> Result<()> {
    for _ in 0..ATTEMPTS {
        let path = format!("/v2/{repository}/blobs/uploads/");
        let opened = persistently(async || session.request(Method::POST, &path).send().await).await?;
        let location = opened.expect(202)?.location()?;
        let target = with_query(&location, "digest", digest.as_str());
        let put = session.request(Method::PUT, &target).body(bytes.to_vec());
        let reply = put.send().await?;
        match reply.status.as_u16() {
            201 => return Ok(()),
            503 => unavailable(reply)?,
            _ => reply.expect(201)?,
        };
    }
    bail!("{digest} could not be pushed in {ATTEMPTS} attempts")
}

/// Pushes an image as tools do.
pub(crate) async fn push_image(session: &Session, repository: &str, tag: &str, image: &Image) -> Result<()> {
    for blob in &image.blobs {
        let digest = roadstead_integration_tests::image::sha256(blob);
        push_blob(session, repository, blob, &digest).await?;
    }
    let put = async || {
        session
            .put_manifest(repository, tag, media::MANIFEST, &image.manifest)
            .await
    };
    persistently(put).await?.expect(201).map(drop)
}

/// The number of bytes that a session says it has.
pub(crate) fn received(reply: &Reply) -> Result<usize> {
    let range = reply.header("range")?;
    let last: usize = range
        .strip_prefix("0-")
        .context("a range from the first byte")?
        .parse()?;
    // Nothing at all reads as one byte; telling them apart takes a chunk.
    Ok(if last == 0 { 0 } else { last + 1 })
}
