//! Makes a data directory to keep: `make-fixture DIRECTORY`. See `integration-tests/make-fixture`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use roadstead_integration_tests::cluster::copy_tree;
use roadstead_integration_tests::image::{Image, Layer, artifact, descriptor, index, media};
use roadstead_integration_tests::{Cluster, Mode, Session};
use roadstead_types::{Digest, DigestAlgorithm};

#[tokio::main]
async fn main() -> Result<()> {
    let target: PathBuf = std::env::args_os()
        .nth(1)
        .context("usage: make-fixture DIRECTORY")?
        .into();
    ensure!(
        !target.exists(),
        "{} exists: a fixture is made once and then kept",
        target.display()
    );
    let cluster = Cluster::start(Mode::AllInOne).await?;
    let expected = Box::pin(fill(&cluster)).await?;
    let home = cluster.stop().await?;
    save(&home.data(), &target, &expected)
}

/// Puts a little of everything into the registry and gives what each tag must have ever after.
async fn fill(cluster: &Cluster) -> Result<BTreeMap<String, String>> {
    let repositories = ["fixture/image", "fixture/artifact", "fixture/history"];
    let session = cluster.developer().await?.session_for(&repositories).await?;
    let mut expected = BTreeMap::new();
    images(&session, &mut expected).await?;
    artifacts(&session, &mut expected).await?;
    history(&session, &mut expected).await?;
    Ok(expected)
}

async fn images(session: &Session, expected: &mut BTreeMap<String, String>) -> Result<()> {
    let repository = "fixture/image";
    let layers = [
        Layer::gzip("etc/fixture", b"kept")?,
        Layer::zstd("etc/zstd", b"kept as well")?,
    ];
    let (amd64, arm64) = (Image::new("amd64", &layers)?, Image::new("arm64", &layers[..1])?);
    for (tag, image) in [("amd64", &amd64), ("arm64", &arm64)] {
        let digest = session.push_image(repository, tag, image).await?;
        expected.insert(format!("{repository}:{tag}"), digest.to_string());
    }
    let index = index(&[amd64.descriptor_for("amd64"), arm64.descriptor_for("arm64")])?;
    let digest = session
        .push_manifest(repository, "multi", media::INDEX, &index)
        .await?;
    expected.insert(format!("{repository}:multi"), digest.to_string());
    Ok(())
}

async fn artifacts(session: &Session, expected: &mut BTreeMap<String, String>) -> Result<()> {
    let repository = "fixture/artifact";
    session.push_blob(repository, b"{}").await?;
    let subject = artifact("application/vnd.test.subject", None, "a subject")?;
    let digest = session
        .push_manifest(repository, "subject", media::MANIFEST, &subject)
        .await?;
    expected.insert(format!("{repository}:subject"), digest.to_string());
    let subject = descriptor(media::MANIFEST, &subject);
    let referrer = artifact("application/vnd.test.referrer", Some(subject), "its referrer")?;
    let digest = session
        .push_manifest(repository, "referrer", media::MANIFEST, &referrer)
        .await?;
    expected.insert(format!("{repository}:referrer"), digest.to_string());
    let long = artifact("application/vnd.test.long", None, "under a long digest")?;
    let digest = Digest::of(DigestAlgorithm::Sha512, &long);
    session
        .push_manifest(
            repository,
            &format!("{digest}?tag=sha512"),
            media::MANIFEST,
            &long,
        )
        .await?;
    expected.insert(format!("{repository}:sha512"), digest.to_string());
    Ok(())
}

/// A tag that moved, one that is gone, and an upload that was never finished.
async fn history(session: &Session, expected: &mut BTreeMap<String, String>) -> Result<()> {
    let repository = "fixture/history";
    session
        .push_image(repository, "moved", &Image::small("before")?)
        .await?;
    let digest = session
        .push_image(repository, "moved", &Image::small("after")?)
        .await?;
    expected.insert(format!("{repository}:moved"), digest.to_string());
    session
        .push_image(repository, "gone", &Image::small("gone")?)
        .await?;
    session
        .delete(&format!("/v2/{repository}/manifests/gone"))
        .await?
        .expect(202)?;
    let upload = session.open_upload(repository).await?;
    session.append(&upload, 0, b"never finished").await.map(drop)
}

fn save(data: &Path, target: &Path, expected: &BTreeMap<String, String>) -> Result<()> {
    copy_tree(data, &target.join("data"))?;
    let mut text = serde_json::to_string_pretty(expected)?;
    text.push('\n');
    std::fs::write(target.join("expected.json"), text).context("write expected.json")
}
