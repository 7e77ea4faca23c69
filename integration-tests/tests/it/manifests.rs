//! Manifests: what is accepted, what is refused, what a delete does.

use anyhow::Result;
use reqwest::Method;
use roadstead_integration_tests::image::{Image, Layer, artifact, descriptor, index, media, sha256};
use roadstead_integration_tests::{Cluster, Mode, in_both_modes};
use roadstead_types::{Digest, DigestAlgorithm};
use serde_json::{Value, json};

in_both_modes!(
    strict_validation_wants_blobs_and_children,
    strict_validation_lets_through_what_need_not_exist,
    validation_follows_the_longest_prefix,
    a_push_by_digest_may_set_many_tags,
    sha512_manifests_keep_their_digest,
    deletes_are_seen_by_the_next_request,
    a_blob_that_a_manifest_names_stays,
    malformed_manifests_are_refused,
);

const REPOSITORY: &str = "manifests/one";

async fn strict_validation_wants_blobs_and_children(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let session = cluster
        .developer()
        .await?
        .session_for(&[REPOSITORY, "manifests/two"])
        .await?;
    let image = Image::small("strict")?;
    let put = async |repository: &str, media_type: &str, bytes: &[u8]| {
        session
            .put_manifest(repository, "latest", media_type, bytes)
            .await
    };
    put(REPOSITORY, media::MANIFEST, &image.manifest)
        .await?
        .expect_error(400, "MANIFEST_BLOB_UNKNOWN")?;
    session.push_blob(REPOSITORY, &image.blobs[0]).await?;
    let refused = put(REPOSITORY, media::MANIFEST, &image.manifest)
        .await?
        .expect_error(400, "MANIFEST_BLOB_UNKNOWN")?;
    assert!(
        String::from_utf8_lossy(&refused.body).contains(sha256(&image.blobs[1]).as_str()),
        "it says which blob"
    );
    session.push_blob(REPOSITORY, &image.blobs[1]).await?;
    put(REPOSITORY, media::MANIFEST, &image.manifest)
        .await?
        .expect(201)?;

    // What another repository has does not count: else a push would tell what exists elsewhere.
    put("manifests/two", media::MANIFEST, &image.manifest)
        .await?
        .expect_error(400, "MANIFEST_BLOB_UNKNOWN")?;
    let children = index(&[
        image.descriptor_for("amd64"),
        Image::small("absent")?.descriptor_for("arm64"),
    ])?;
    put(REPOSITORY, media::INDEX, &children)
        .await?
        .expect_error(400, "MANIFEST_BLOB_UNKNOWN")?;
    put(
        REPOSITORY,
        media::INDEX,
        &index(&[image.descriptor_for("amd64")])?,
    )
    .await?
    .expect(201)?;
    cluster.stop().await.map(drop)
}

async fn strict_validation_lets_through_what_need_not_exist(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    session.push_blob(REPOSITORY, b"{}").await?;
    let absent = descriptor(media::MANIFEST, b"never pushed");
    let with_subject = artifact("application/vnd.test", Some(absent.clone()), "subject")?;
    let reply = session
        .put_manifest(REPOSITORY, "subject", media::MANIFEST, &with_subject)
        .await?
        .expect(201)?;
    assert_eq!(Some(reply.header("oci-subject")?), absent["digest"].as_str());

    let mut foreign: Value = serde_json::from_slice(&artifact("application/vnd.test", None, "foreign")?)?;
    foreign["layers"] = json!([
        { "mediaType": media::FOREIGN, "size": 10, "digest": sha256(b"a").to_string(), "urls": ["https://example.test/a"] },
        { "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "size": 10,
          "digest": sha256(b"b").to_string() },
    ]);
    session
        .push_manifest(
            REPOSITORY,
            "foreign",
            media::MANIFEST,
            &serde_json::to_vec(&foreign)?,
        )
        .await?;

    // A build cache is an index whose children are blobs.
    let layer = Layer::gzip("cache", b"cache")?;
    session.push_blob(REPOSITORY, &layer.bytes).await?;
    session
        .push_manifest(REPOSITORY, "cache", media::INDEX, &index(&[layer.descriptor()])?)
        .await?;
    session
        .push_manifest(REPOSITORY, "empty", media::INDEX, &index(&[])?)
        .await?;
    cluster.stop().await.map(drop)
}

async fn validation_follows_the_longest_prefix(mode: Mode) -> Result<()> {
    let tables = "[{prefix=\"mirror\",manifest_validation=\"lenient\"},\
                   {prefix=\"mirror/strict\",manifest_validation=\"strict\"}]";
    let cluster = Cluster::setup(mode)
        .with("metadata.repositories", tables)
        .start()
        .await?;
    let names = ["mirror/one", "mirror/strict/one", "mirrored/one", "other"];
    let session = cluster.developer().await?.session_for(&names).await?;
    let manifest = Image::small("sparse")?.manifest;
    for (name, status) in names.into_iter().zip([201, 400, 400, 400]) {
        session
            .put_manifest(name, "latest", media::MANIFEST, &manifest)
            .await?
            .expect(status)?;
    }
    cluster.stop().await.map(drop)
}

async fn a_push_by_digest_may_set_many_tags(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    let image = Image::small("many tags")?;
    let digest = session.push_image(REPOSITORY, "first", &image).await?;
    let tags: Vec<String> = (0..12).map(|number| format!("v{number}")).collect();
    let reference = format!("{digest}?tag={}", tags.join("&tag="));
    let reply = session
        .put_manifest(REPOSITORY, &reference, media::MANIFEST, &image.manifest)
        .await?
        .expect(201)?;
    let accepted: Vec<&str> = reply
        .headers
        .get_all("oci-tag")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    assert_eq!(accepted, tags);
    for tag in &tags {
        let head = session
            .head(&format!("/v2/{REPOSITORY}/manifests/{tag}"))
            .await?
            .expect(200)?;
        assert_eq!(head.header("docker-content-digest")?, digest.as_str());
    }
    cluster.stop().await.map(drop)
}

async fn sha512_manifests_keep_their_digest(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    session.push_blob(REPOSITORY, b"{}").await?;
    let bytes = artifact("application/vnd.test", None, "sha512")?;
    let digest = Digest::of(DigestAlgorithm::Sha512, &bytes);
    let reference = format!("{digest}?tag=long");
    let reply = session
        .put_manifest(REPOSITORY, &reference, media::MANIFEST, &bytes)
        .await?
        .expect(201)?;
    assert_eq!(reply.header("docker-content-digest")?, digest.as_str());
    for reference in [digest.as_str(), "long"] {
        let reply = session
            .get(&format!("/v2/{REPOSITORY}/manifests/{reference}"))
            .await?
            .expect(200)?;
        assert_eq!(reply.header("docker-content-digest")?, digest.as_str());
        assert_eq!(reply.body, bytes);
    }
    let other = Digest::of(DigestAlgorithm::Sha512, b"other");
    let refused = session
        .put_manifest(REPOSITORY, other.as_str(), media::MANIFEST, &bytes)
        .await?;
    refused.expect_error(400, "DIGEST_INVALID")?;
    cluster.stop().await.map(drop)
}

async fn deletes_are_seen_by_the_next_request(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    let image = Image::small("deletes")?;
    let digest = session.push_image(REPOSITORY, "one", &image).await?;
    session.push_image(REPOSITORY, "two", &image).await?;
    let manifest = |reference: &str| format!("/v2/{REPOSITORY}/manifests/{reference}");
    for reference in ["one", "two", digest.as_str()] {
        session.head(&manifest(reference)).await?.expect(200)?;
    }
    session.delete(&manifest("one")).await?.expect(202)?;
    session.head(&manifest("one")).await?.expect(404)?;
    session.head(&manifest("two")).await?.expect(200)?;
    session
        .delete(&manifest("one"))
        .await?
        .expect_error(404, "MANIFEST_UNKNOWN")?;

    session.delete(&manifest(digest.as_str())).await?.expect(202)?;
    for reference in ["two", digest.as_str()] {
        session.head(&manifest(reference)).await?.expect(404)?;
    }
    let blob = format!("/v2/{REPOSITORY}/blobs/{}", sha256(&image.blobs[1]));
    session.delete(&blob).await?.expect(202)?;
    session.head(&blob).await?.expect(404)?;
    session.delete(&blob).await?.expect_error(404, "BLOB_UNKNOWN")?;

    // And what was deleted can come back.
    assert_eq!(session.push_image(REPOSITORY, "one", &image).await?, digest);
    session.pull_everything(REPOSITORY, "one").await?;
    cluster.stop().await.map(drop)
}

async fn a_blob_that_a_manifest_names_stays(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    let image = Image::small("named")?;
    let digest = session.push_image(REPOSITORY, "latest", &image).await?;
    let blob = format!("/v2/{REPOSITORY}/blobs/{}", sha256(&image.blobs[1]));
    let refused = session.delete(&blob).await?.expect_error(405, "UNSUPPORTED")?;
    assert!(
        String::from_utf8_lossy(&refused.body).contains(digest.as_str()),
        "it names the parent"
    );
    session.pull_everything(REPOSITORY, "latest").await?;
    cluster.stop().await.map(drop)
}

async fn malformed_manifests_are_refused(mode: Mode) -> Result<()> {
    let cluster = Cluster::setup(mode).lenient().start().await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    let manifest = Image::small("malformed")?.manifest;
    let cases: [(&str, &[u8]); 4] = [
        (media::MANIFEST, b"not json"),
        (media::MANIFEST, b"[]"),
        // The body says that it is something else.
        (media::INDEX, &manifest),
        (
            "application/vnd.docker.distribution.manifest.v1+prettyjws",
            b"{\"schemaVersion\":1}",
        ),
    ];
    for (media_type, bytes) in cases {
        session
            .put_manifest(REPOSITORY, "latest", media_type, bytes)
            .await?
            .expect_error(400, "MANIFEST_INVALID")?;
    }
    let large = artifact("application/vnd.test", None, &"x".repeat(4 * 1024 * 1024))?;
    session
        .put_manifest(REPOSITORY, "latest", media::MANIFEST, &large)
        .await?
        .expect(413)?;
    let just_fits = artifact("application/vnd.test", None, &"x".repeat(4 * 1024 * 1024 - 2_000))?;
    // Go sends manifests without a length.
    let pieces = just_fits
        .chunks(100_000)
        .map(|piece| piece.to_vec().into())
        .collect();
    session
        .request(Method::PUT, &format!("/v2/{REPOSITORY}/manifests/latest"))
        .header("content-type", &format!("{}; charset=utf-8", media::MANIFEST))
        .chunked(pieces)
        .send()
        .await?
        .expect(201)?;
    let head = session
        .head(&format!("/v2/{REPOSITORY}/manifests/latest"))
        .await?
        .expect(200)?;
    assert_eq!(head.header("content-type")?, media::MANIFEST);
    cluster.stop().await.map(drop)
}
