//! Data directories of every schema version that was ever released still open and serve what they hold.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use roadstead_integration_tests::cluster::{Home, copy_tree};
use roadstead_integration_tests::{Cluster, Mode, in_both_modes, ports, programs};
use serde_json::Value;

in_both_modes!(every_fixture_opens_and_every_tag_pulls,);

/// `schema-<version>` directories, each made by `integration-tests/make-fixture`: `data/` and `expected.json`, which says
/// which tag has which digest.
fn fixtures() -> Result<Vec<PathBuf>> {
    let directory = programs::repository().join("integration-tests/fixtures");
    let mut fixtures: Vec<PathBuf> = std::fs::read_dir(&directory)
        .with_context(|| format!("read {}", directory.display()))?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.join("expected.json").is_file())
        .collect();
    fixtures.sort();
    anyhow::ensure!(
        !fixtures.is_empty(),
        "no fixture in {}; see integration-tests/make-fixture",
        directory.display()
    );
    Ok(fixtures)
}

async fn every_fixture_opens_and_every_tag_pulls(mode: Mode) -> Result<()> {
    for fixture in fixtures()? {
        let home = Home::new()?;
        copy_tree(&fixture.join("data"), &home.data())?;
        let expected: Value = serde_json::from_slice(&std::fs::read(fixture.join("expected.json"))?)?;
        let expected = expected
            .as_object()
            .context("expected.json maps repository:tag to a digest")?;
        let cluster = Cluster::setup(mode).start_in(home, ports::free()?).await?;
        let developer = cluster.developer().await?;
        for (name, digest) in expected {
            let (repository, tag) = name
                .rsplit_once(':')
                .with_context(|| format!("{name} has no tag"))?;
            let session = developer.session_for(&[repository]).await?;
            let tags = session
                .get(&format!("/v2/{repository}/tags/list"))
                .await?
                .expect(200)?
                .json()?;
            for tag in tags["tags"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
            {
                session
                    .pull_everything(repository, tag)
                    .await
                    .with_context(|| format!("{repository}:{tag}"))?;
            }
            let pulled = session.pull_everything(repository, tag).await?;
            assert_eq!(
                Some(pulled.as_str()),
                digest.as_str(),
                "{}: {name}",
                fixture.display()
            );
        }
        // An old directory is not a museum: it takes pushes as well.
        let image = roadstead_integration_tests::image::Image::small("after the upgrade")?;
        developer
            .session_for(&["upgraded"])
            .await?
            .push_image("upgraded", "latest", &image)
            .await?;
        cluster.stop().await?;
    }
    Ok(())
}
