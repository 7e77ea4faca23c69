//! Blob uploads: every way in, and every way they go wrong.

use std::time::Duration;

use anyhow::Result;
use reqwest::Method;
use roadstead_integration_tests::deadline::eventually;
use roadstead_integration_tests::image::{Image, media, noise, sha256};
use roadstead_integration_tests::registry::{challenge, with_query};
use roadstead_integration_tests::{Cluster, Mode, in_both_modes};
use roadstead_types::{Digest, DigestAlgorithm};

use crate::identities::Identities;

in_both_modes!(
    a_blob_in_one_request,
    a_blob_in_chunks_with_the_last_in_the_put,
    a_blob_as_a_stream_without_a_length,
    chunks_out_of_order_are_refused_and_the_session_survives,
    an_upload_goes_on_after_a_restart,
    a_cancelled_upload_is_gone,
    a_wrong_digest_stores_nothing,
    sha512_may_come_as_a_surprise_at_the_end,
    a_finished_upload_may_be_finished_again,
    mounts_need_the_right_to_read_the_source,
    a_push_outlives_its_token,
);

const REPOSITORY: &str = "uploads/one";

async fn a_blob_in_one_request(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    let bytes = noise(1, 3_000_000);
    let digest = sha256(&bytes);
    let path = format!("/v2/{REPOSITORY}/blobs/uploads/?digest={digest}");
    let reply = session
        .request(Method::POST, &path)
        .body(bytes.clone())
        .send()
        .await?
        .expect(201)?;
    assert_eq!(reply.header("docker-content-digest")?, digest.as_str());
    let location = reply.location()?;
    assert!(location.starts_with('/'), "{location} is not relative");
    assert_eq!(session.get(&location).await?.expect(200)?.body, bytes);
    cluster.stop().await.map(drop)
}

async fn a_blob_in_chunks_with_the_last_in_the_put(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    let bytes = noise(2, 700_001);
    let mut location = session.open_upload(REPOSITORY).await?;
    for (number, chunk) in bytes[..600_000].chunks(200_000).enumerate() {
        location = session.append(&location, number * 200_000, chunk).await?;
        let state = session.get(&location).await?.expect(204)?;
        assert_eq!(
            state.header("range")?,
            format!("0-{}", (number + 1) * 200_000 - 1)
        );
    }
    let digest = sha256(&bytes);
    let last = session
        .request(Method::PUT, &with_query(&location, "digest", digest.as_str()))
        .header("Content-Range", "600000-700000")
        .body(bytes[600_000..].to_vec());
    let location = last.send().await?.expect(201)?.location()?;
    assert_eq!(session.get(&location).await?.expect(200)?.body, bytes);
    cluster.stop().await.map(drop)
}

async fn a_blob_as_a_stream_without_a_length(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    let bytes = noise(3, 5_000_000);
    let location = session.open_upload(REPOSITORY).await?;
    let pieces = bytes.chunks(77_777).map(|piece| piece.to_vec().into()).collect();
    let reply = session
        .request(Method::PATCH, &location)
        .chunked(pieces)
        .send()
        .await?
        .expect(202)?;
    assert_eq!(reply.header("range")?, "0-4999999");
    let location = session
        .finish(&reply.location()?, &sha256(&bytes), &[])
        .await?
        .expect(201)?
        .location()?;
    assert_eq!(session.get(&location).await?.expect(200)?.body, bytes);
    cluster.stop().await.map(drop)
}

async fn chunks_out_of_order_are_refused_and_the_session_survives(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    let bytes = noise(4, 3_000);
    let digest = sha256(&bytes);
    let location = session.open_upload(REPOSITORY).await?;
    let mut location = session.append(&location, 0, &bytes[..1_000]).await?;
    for (method, target, range) in [
        (Method::PATCH, location.clone(), "2000-2999"),
        (Method::PATCH, location.clone(), "0-999"),
        (
            Method::PUT,
            with_query(&location, "digest", digest.as_str()),
            "2000-2999",
        ),
    ] {
        let request = session
            .request(method.clone(), &target)
            .header("Content-Range", range);
        let reply = request.body(bytes[2_000..].to_vec()).send().await?.expect(416)?;
        // With both, clients find their way back.
        assert_eq!(reply.header("range")?, "0-999", "{method} {range}");
        location = reply.location()?;
    }
    let location = session.append(&location, 1_000, &bytes[1_000..]).await?;
    session.finish(&location, &digest, &[]).await?.expect(201)?;
    cluster.stop().await.map(drop)
}

async fn an_upload_goes_on_after_a_restart(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    let bytes = noise(5, 2_000_000);
    let location = session.open_upload(REPOSITORY).await?;
    let location = session.append(&location, 0, &bytes[..1_200_000]).await?;

    let cluster = cluster.restart().await?;
    // The token of before holds: keys are kept, and the address is the same.
    let state = session.get(&location).await?.expect(204)?;
    assert_eq!(state.header("range")?, "0-1199999");
    let location = session
        .append(&state.location()?, 1_200_000, &bytes[1_200_000..])
        .await?;
    let location = session
        .finish(&location, &sha256(&bytes), &[])
        .await?
        .expect(201)?
        .location()?;
    assert_eq!(session.get(&location).await?.expect(200)?.body, bytes);
    cluster.stop().await.map(drop)
}

async fn a_cancelled_upload_is_gone(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    let location = session.open_upload(REPOSITORY).await?;
    let location = session.append(&location, 0, b"some bytes").await?;
    session.delete(&location).await?.expect(204)?;
    session
        .get(&location)
        .await?
        .expect_error(404, "BLOB_UPLOAD_UNKNOWN")?;
    session
        .finish(&location, &sha256(b"some bytes"), &[])
        .await?
        .expect_error(404, "BLOB_UPLOAD_UNKNOWN")?;
    cluster.stop().await.map(drop)
}

async fn a_wrong_digest_stores_nothing(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    let wrong = sha256(b"other bytes");
    let location = session.open_upload(REPOSITORY).await?;
    session
        .finish(&location, &wrong, b"some bytes")
        .await?
        .expect_error(400, "DIGEST_INVALID")?;
    let path = format!("/v2/{REPOSITORY}/blobs/uploads/?digest={wrong}");
    session
        .request(Method::POST, &path)
        .body("some bytes")
        .send()
        .await?
        .expect_error(400, "DIGEST_INVALID")?;
    for digest in [&wrong, &sha256(b"some bytes")] {
        session
            .head(&format!("/v2/{REPOSITORY}/blobs/{digest}"))
            .await?
            .expect(404)?;
    }
    for malformed in [
        "sha256:baddigeststring",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        "nonsense",
    ] {
        let location = session.open_upload(REPOSITORY).await?;
        let path = with_query(&location, "digest", malformed);
        session
            .request(Method::PUT, &path)
            .body("x")
            .send()
            .await?
            .expect_error(400, "DIGEST_INVALID")?;
    }
    cluster.stop().await.map(drop)
}

async fn sha512_may_come_as_a_surprise_at_the_end(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    let bytes = noise(6, 900_000);
    let digest = Digest::of(DigestAlgorithm::Sha512, &bytes);
    for path in ["", "?digest-algorithm=sha512"] {
        let path = format!("/v2/{REPOSITORY}/blobs/uploads/{path}");
        let location = session
            .request(Method::POST, &path)
            .send()
            .await?
            .expect(202)?
            .location()?;
        let location = session.append(&location, 0, &bytes[..500_000]).await?;
        let reply = session
            .finish(&location, &digest, &bytes[500_000..])
            .await?
            .expect(201)?;
        assert_eq!(reply.header("docker-content-digest")?, digest.as_str());
        let head = session.head(&reply.location()?).await?.expect(200)?;
        assert_eq!(head.header("docker-content-digest")?, digest.as_str());
        assert_eq!(head.header("content-length")?, "900000");
        session.delete(&reply.location()?).await?.expect(202)?;
    }
    cluster.stop().await.map(drop)
}

async fn a_finished_upload_may_be_finished_again(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    let location = session.open_upload(REPOSITORY).await?;
    let location = session.append(&location, 0, b"twice").await?;
    let digest = sha256(b"twice");
    // A client whose connection broke after the first PUT cannot know that it worked.
    let first = session.finish(&location, &digest, &[]).await?.expect(201)?;
    let second = session.finish(&location, &digest, &[]).await?.expect(201)?;
    assert_eq!(first.location()?, second.location()?);
    cluster.stop().await.map(drop)
}

async fn mounts_need_the_right_to_read_the_source(mode: Mode) -> Result<()> {
    let identities = Identities::start()
        .await
        .grant("bob", "mounts/bob", &["pull", "push"]);
    let cluster = identities.configure(Cluster::setup(mode)).start().await?;
    let registry = cluster.developer().await?;
    let both = registry.session_for(&["mounts/from", "mounts/to"]).await?;
    let digest = both.push_blob("mounts/from", b"to be mounted").await?;
    let mount = |to: &str, from: &str| format!("/v2/{to}/blobs/uploads/?mount={digest}{from}");

    let path = mount("mounts/to", "&from=mounts/from");
    let one = registry.session_for(&["mounts/to"]).await?;
    let refused = one.request(Method::POST, &path).send().await?.expect(401)?;
    let scope = &challenge(&refused)?["scope"];
    assert!(
        scope.contains("repository:mounts/to:pull,push") && scope.contains("repository:mounts/from:pull"),
        "{scope}"
    );
    let reply = both.request(Method::POST, &path).send().await?.expect(201)?;
    assert_eq!(
        both.get(&reply.location()?).await?.expect(200)?.body,
        "to be mounted"
    );
    let missing = path.replace(digest.as_str(), sha256(b"nowhere").as_str());
    both.request(Method::POST, &missing).send().await?.expect(202)?;

    // Without `from` the registry looks for itself, but only where the caller may.
    let bob = identities
        .user(&cluster.anonymous()?, "bob")
        .await?
        .session_for(&["mounts/bob", "mounts/from"])
        .await?;
    bob.request(Method::POST, &mount("mounts/bob", ""))
        .send()
        .await?
        .expect(202)?;
    let forbidden = bob
        .request(Method::POST, &mount("mounts/bob", "&from=mounts/from"))
        .send()
        .await?;
    assert!(
        forbidden.status == 202 || forbidden.status == 401 || forbidden.status == 403,
        "{}",
        forbidden.status
    );
    bob.head(&format!("/v2/mounts/bob/blobs/{digest}"))
        .await?
        .expect(404)?;
    both.request(Method::POST, &mount("mounts/to", ""))
        .send()
        .await?
        .expect(201)?;
    cluster.stop().await.map(drop)
}

async fn a_push_outlives_its_token(mode: Mode) -> Result<()> {
    let cluster = Cluster::setup(mode).with("auth.registry_token_ttl", "\"60s\"");
    let cluster = cluster.start().await?;
    let registry = cluster.developer().await?;
    let session = registry.session_for(&[REPOSITORY]).await?;
    let other = registry.session_for(&["uploads/other"]).await?;
    let image = Image::small("outlives")?;
    let mut uploads = Vec::new();
    for _ in &image.blobs {
        uploads.push(session.open_upload(REPOSITORY).await?);
    }
    eventually("the token expires", Duration::from_secs(150), async || {
        Ok((other.get("/v2/").await?.status == 401).then_some(()))
    })
    .await?;

    session
        .request(Method::POST, &format!("/v2/{REPOSITORY}/blobs/uploads/"))
        .send()
        .await?
        .expect(401)?;
    for (location, blob) in uploads.iter().zip(&image.blobs) {
        let location = session.append(location, 0, blob).await?;
        let location = session
            .finish(&location, &sha256(blob), &[])
            .await?
            .expect(201)?
            .location()?;
        // Docker looks straight after the PUT, with the token that it has.
        session.head(&location).await?.expect(200)?;
        session.get(&location).await?.expect(401)?;
    }
    session
        .push_manifest(REPOSITORY, "latest", media::MANIFEST, &image.manifest)
        .await?;
    other
        .put_manifest("uploads/other", "latest", media::MANIFEST, &image.manifest)
        .await?
        .expect(401)?;
    registry
        .session_for(&[REPOSITORY])
        .await?
        .pull_everything(REPOSITORY, "latest")
        .await?;
    cluster.stop().await.map(drop)
}
