//! Blob and manifest reads.

use anyhow::{Context as _, Result};
use reqwest::Method;
use roadstead_integration_tests::image::{Image, noise};
use roadstead_integration_tests::{Cluster, Mode, in_both_modes};

in_both_modes!(
    reads_carry_what_clients_check,
    a_range_gives_exactly_that_part,
    several_ranges_come_as_one_multipart,
    ranges_that_cannot_be_met_are_416,
    what_is_unknown_is_404_with_its_own_code,
);

const REPOSITORY: &str = "pulls/one";

async fn reads_carry_what_clients_check(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    let image = Image::small("reads")?;
    let digest = session.push_image(REPOSITORY, "latest", &image).await?;
    for reference in ["latest", digest.as_str()] {
        for method in [Method::GET, Method::HEAD] {
            let request = session.request(method.clone(), &format!("/v2/{REPOSITORY}/manifests/{reference}"));
            // Docker names types that this manifest is not; a registry never converts.
            let reply = request.header(
                "accept",
                "application/vnd.docker.distribution.manifest.v1+prettyjws",
            );
            let reply = reply
                .header("accept-encoding", "zstd;q=1.0, gzip, deflate")
                .send()
                .await?
                .expect(200)?;
            assert_eq!(
                reply.header("content-type")?,
                "application/vnd.oci.image.manifest.v1+json"
            );
            assert_eq!(reply.header("content-length")?, image.manifest.len().to_string());
            assert_eq!(reply.header("docker-content-digest")?, digest.as_str());
            assert!(
                reply.optional_header("content-encoding").is_none(),
                "manifests are sent as they are"
            );
            let expected = if method == Method::GET {
                &image.manifest[..]
            } else {
                &[]
            };
            assert_eq!(reply.body, expected);
        }
    }
    let blob = session.push_blob(REPOSITORY, b"blob").await?;
    for method in [Method::GET, Method::HEAD] {
        let reply = session
            .request(method, &format!("/v2/{REPOSITORY}/blobs/{blob}"))
            .send()
            .await?
            .expect(200)?;
        assert_eq!(reply.header("docker-content-digest")?, blob.as_str());
        assert_eq!(reply.header("content-length")?, "4");
        assert_eq!(reply.header("accept-ranges")?, "bytes");
    }
    cluster.stop().await.map(drop)
}

async fn a_range_gives_exactly_that_part(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    let bytes = noise(11, 3_000_000);
    let digest = session.push_blob(REPOSITORY, &bytes).await?;
    let path = format!("/v2/{REPOSITORY}/blobs/{digest}");
    for (range, from, to) in [
        ("bytes=0-0", 0, 0),
        ("bytes=500-1499", 500, 1_499),
        ("bytes=1000000-", 1_000_000, 2_999_999),
        ("bytes=-500", 2_999_500, 2_999_999),
        ("bytes=2999000-5000000", 2_999_000, 2_999_999),
        ("bytes=-9000000", 0, 2_999_999),
    ] {
        let reply = session
            .request(Method::GET, &path)
            .header("range", range)
            .send()
            .await?
            .expect(206)?;
        assert_eq!(
            reply.header("content-range")?,
            format!("bytes {from}-{to}/3000000"),
            "{range}"
        );
        assert_eq!(
            reply.header("content-length")?,
            (to - from + 1).to_string(),
            "{range}"
        );
        reply.header("content-type")?;
        assert!(reply.body == bytes[from..=to], "{range}: other bytes");
    }
    cluster.stop().await.map(drop)
}

async fn several_ranges_come_as_one_multipart(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    let bytes = noise(12, 1_000_000);
    let digest = session.push_blob(REPOSITORY, &bytes).await?;
    let request = session.request(Method::GET, &format!("/v2/{REPOSITORY}/blobs/{digest}"));
    let reply = request
        .header("range", "bytes=10-19,500000-500099,-7")
        .send()
        .await?
        .expect(206)?;
    let boundary = reply
        .header("content-type")?
        .strip_prefix("multipart/byteranges; boundary=")
        .context("a boundary")?;
    assert_eq!(reply.header("content-length")?, reply.body.len().to_string());

    let mut expected = Vec::new();
    for (from, to) in [(10, 19), (500_000, 500_099), (999_993, 999_999)] {
        expected.push((format!("bytes {from}-{to}/1000000"), bytes[from..=to].to_vec()));
    }
    assert_eq!(parts(&reply.body, boundary.trim_matches('"'))?, expected);
    cluster.stop().await.map(drop)
}

/// The parts of a `multipart/byteranges` body: content range and bytes.
fn parts(body: &[u8], boundary: &str) -> Result<Vec<(String, Vec<u8>)>> {
    let delimiter = format!("--{boundary}");
    let mut rest = body;
    let mut parts = Vec::new();
    loop {
        let start = find(rest, delimiter.as_bytes()).context("a delimiter")? + delimiter.len();
        rest = &rest[start..];
        if rest.starts_with(b"--") {
            return Ok(parts);
        }
        let head_end = find(rest, b"\r\n\r\n").context("the end of a part's headers")?;
        let head = std::str::from_utf8(&rest[..head_end])?.to_lowercase();
        let range = head
            .lines()
            .find_map(|line| line.strip_prefix("content-range: "))
            .context("a content range")?;
        rest = &rest[head_end + 4..];
        let end = find(rest, format!("\r\n{delimiter}").as_bytes()).context("the end of a part")?;
        parts.push((range.to_owned(), rest[..end].to_vec()));
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

async fn ranges_that_cannot_be_met_are_416(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    let digest = session.push_blob(REPOSITORY, &noise(13, 5_000)).await?;
    for range in ["bytes=5000-", "bytes=5000-10000", "bytes=500-0"] {
        let request = session.request(Method::GET, &format!("/v2/{REPOSITORY}/blobs/{digest}"));
        let reply = request.header("range", range).send().await?.expect(416)?;
        assert_eq!(reply.header("content-range")?, "bytes */5000", "{range}");
    }
    cluster.stop().await.map(drop)
}

async fn what_is_unknown_is_404_with_its_own_code(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let session = cluster
        .developer()
        .await?
        .session_for(&[REPOSITORY, "pulls/never"])
        .await?;
    session
        .push_image(REPOSITORY, "latest", &Image::small("unknown")?)
        .await?;
    let zero = format!("sha256:{}", "0".repeat(64));
    session
        .get(&format!("/v2/{REPOSITORY}/manifests/none"))
        .await?
        .expect_error(404, "MANIFEST_UNKNOWN")?;
    session
        .get(&format!("/v2/{REPOSITORY}/manifests/{zero}"))
        .await?
        .expect_error(404, "MANIFEST_UNKNOWN")?;
    session
        .get(&format!("/v2/{REPOSITORY}/blobs/{zero}"))
        .await?
        .expect_error(404, "BLOB_UNKNOWN")?;
    session
        .get("/v2/pulls/never/manifests/latest")
        .await?
        .expect(404)?;
    session
        .get(&format!("/v2/{REPOSITORY}/blobs/sha256:short"))
        .await?
        .expect_error(400, "DIGEST_INVALID")?;
    cluster.stop().await.map(drop)
}
