//! Crane (go-containerregistry): also what ko, kaniko and cosign push with.

use anyhow::{Context as _, Result};
use roadstead_integration_tests::{Mode, Sandbox, Transport};

use crate::world::{Place, World, digest_in, in_every_place, lines};

in_every_place!(crane_pushes_pulls_and_validates, crane_copies_lists_and_deletes);

/// Crane is the strictest about where a challenge sends it: to the host it came from, or to nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crane_takes_localhost_for_a_name_like_any_other() -> Result<()> {
    let mut world = World::open(Place::Local(Mode::AllInOne)).await?;
    let localhost = format!("localhost:{}", world.cluster.port());
    world.sandbox = Sandbox::new(&localhost, Transport::Plain)?;
    world.log_in("crane", &["auth", "login", &localhost]).await?;
    let index = world.push_layout("crane/localhost").await?;
    let found = world
        .sandbox
        .run("crane", &["digest", &world.name("crane/localhost:multi")])
        .await?;
    assert_eq!(digest_in(&found)?, index);
    world.close().await
}

async fn open(place: Place) -> Result<World> {
    let world = World::open(place).await?;
    world
        .log_in("crane", &["auth", "login", world.sandbox.registry()])
        .await?;
    Ok(world)
}

async fn crane_pushes_pulls_and_validates(place: Place) -> Result<()> {
    let world = open(place).await?;
    let index = world.push_layout("crane/source").await?;
    let crane = async |arguments: &[&str]| world.sandbox.run("crane", arguments).await;
    let multi = world.name("crane/source:multi");
    assert_eq!(digest_in(&crane(&["digest", &multi]).await?)?, index);

    let out = world.sandbox.work().join("crane-out").display().to_string();
    crane(&["pull", "--format=oci", &multi, &out]).await?;
    let own = world.name("crane/own:multi");
    let pushed = crane(&["push", "--index", &out, &own]).await?;
    assert_eq!(world.digest("crane/own", "multi").await?, digest_in(&pushed)?);
    crane(&["validate", "--remote", &own]).await?;
    // `validate` unpacks gzip only; `pull` checks digests of whatever there is.
    let zstd = world.sandbox.work().join("crane-zstd").display().to_string();
    crane(&["pull", "--format=oci", &world.name("crane/source:zstd"), &zstd]).await?;

    let layer = world.sandbox.work().join("layer.tar");
    let mut archive = tar::Builder::new(std::fs::File::create(&layer)?);
    archive.append_dir_all("config", concat!(env!("CARGO_MANIFEST_DIR"), "/config"))?;
    archive.into_inner()?.sync_all()?;
    let appended = world.name("crane/own:appended");
    let base = world.name("crane/source:one");
    let layer = layer.display().to_string();
    let append = [
        "append",
        "--base",
        &base,
        "--new_layer",
        &layer,
        "--new_tag",
        &appended,
    ];
    let printed = crane(&append).await?;
    assert_eq!(digest_in(&printed)?, world.digest("crane/own", "appended").await?);
    crane(&["validate", "--remote", &appended]).await?;
    world.close().await
}

async fn crane_copies_lists_and_deletes(place: Place) -> Result<()> {
    let world = open(place).await?;
    let index = world.push_layout("crane/from").await?;
    let crane = async |arguments: &[&str]| world.sandbox.run("crane", arguments).await;
    crane(&[
        "copy",
        &world.name("crane/from:multi"),
        &world.name("crane/to:multi"),
    ])
    .await?;
    assert_eq!(world.digest("crane/to", "multi").await?, index);
    world
        .session("crane/to")
        .await?
        .pull_everything("crane/to", "multi")
        .await?;
    crane(&["tag", &world.name("crane/to:multi"), "tagged"]).await?;

    let appended = world.name("crane/to:appended");
    crane(&[
        "index",
        "append",
        "--manifest",
        &world.name("crane/from:one"),
        "--tag",
        &appended,
    ])
    .await?;
    assert_eq!(
        lines(&crane(&["ls", &world.name("crane/to")]).await?),
        ["appended", "multi", "tagged"]
    );
    assert_eq!(
        lines(&crane(&["catalog", world.sandbox.registry()]).await?),
        ["crane/from", "crane/to"]
    );

    crane(&["delete", &appended]).await?;
    assert!(world.is_gone("crane/to", "appended").await?);
    crane(&["delete", &format!("{}@{index}", world.name("crane/to"))]).await?;
    assert!(world.is_gone("crane/to", "multi").await? && world.is_gone("crane/to", "tagged").await?);
    crane(&["auth", "logout", world.sandbox.registry()]).await?;
    let anonymous = crane(&["digest", &world.name("crane/from:one")]).await;
    anonymous
        .err()
        .context("a private image was read without a login")?;
    world.close().await
}
