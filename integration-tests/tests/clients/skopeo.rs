//! Skopeo: copies, inspects, deletes.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::world::{Place, World, digest_in, in_every_place};

in_every_place!(
    skopeo_copies_in_and_out,
    skopeo_copies_between_repositories_and_deletes
);

async fn skopeo_copies_in_and_out(place: Place) -> Result<()> {
    let world = World::open(place).await?;
    let index = world.push_layout("skopeo/one").await?;
    assert_eq!(world.digest("skopeo/one", "multi").await?, index);
    world
        .session("skopeo/one")
        .await?
        .pull_everything("skopeo/one", "multi")
        .await?;
    world.require_zstd("skopeo/one", "zstd").await?;

    let back = world.sandbox.work().join("back");
    for tag in ["one", "zstd", "multi"] {
        let from = format!("docker://{}", world.name(&format!("skopeo/one:{tag}")));
        let to = format!("oci:{}:{tag}", back.display());
        world
            .sandbox
            .run("skopeo", &["copy", "--all", &world.tls_flag("src-"), &from, &to])
            .await?;
    }
    let layout: Value = serde_json::from_slice(&std::fs::read(back.join("index.json"))?)?;
    let digests: Vec<_> = layout["manifests"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| &entry["digest"])
        .collect();
    assert!(digests.iter().any(|digest| *digest == index.as_str()), "{layout}");

    let image = format!("docker://{}", world.name("skopeo/one:multi"));
    let inspected = world
        .sandbox
        .run("skopeo", &["inspect", &world.tls_flag(""), &image])
        .await?;
    let inspected: Value = serde_json::from_str(&inspected)?;
    assert_eq!(inspected["RepoTags"], serde_json::json!(["multi", "one", "zstd"]));
    assert_eq!(inspected["Architecture"], "amd64");
    world.close().await
}

async fn skopeo_copies_between_repositories_and_deletes(place: Place) -> Result<()> {
    let world = World::open(place).await?;
    let index = world.push_layout("skopeo/from").await?;
    let at = |name: &str| format!("docker://{}", world.name(name));
    let tls = [world.tls_flag("src-"), world.tls_flag("dest-")];
    let copy = async |flags: &[&str], from: &str, to: &str| {
        let (from, to) = (at(from), at(to));
        let arguments = [&["copy", &tls[0], &tls[1]], flags, &[&from, &to]].concat();
        world.sandbox.run("skopeo", &arguments).await
    };
    copy(&["--all"], "skopeo/from:multi", "skopeo/to:multi").await?;
    assert_eq!(world.digest("skopeo/to", "multi").await?, index);
    world
        .session("skopeo/to")
        .await?
        .pull_everything("skopeo/to", "multi")
        .await?;
    copy(&[], "skopeo/from:one", "skopeo/to:one").await?;

    let listed = world
        .sandbox
        .run("skopeo", &["list-tags", &world.tls_flag(""), &at("skopeo/to")])
        .await?;
    let listed: Value = serde_json::from_str(&listed)?;
    assert_eq!(listed["Tags"], serde_json::json!(["multi", "one"]));

    let digest = world.digest("skopeo/to", "multi").await?;
    world
        .sandbox
        .run("skopeo", &["delete", &world.tls_flag(""), &at("skopeo/to:multi")])
        .await?;
    assert!(world.is_gone("skopeo/to", "multi").await? && world.is_gone("skopeo/to", digest.as_str()).await?);
    assert!(!world.is_gone("skopeo/from", "multi").await?);
    let again = copy(&["--all"], "skopeo/to:multi", "skopeo/to:back").await;
    again.err().context("what was deleted was copied")?;

    let raw = world
        .sandbox
        .run(
            "skopeo",
            &["inspect", "--raw", &world.tls_flag(""), &at("skopeo/from:multi")],
        )
        .await?;
    assert!(digest_in(&raw).is_ok());
    world.close().await
}
