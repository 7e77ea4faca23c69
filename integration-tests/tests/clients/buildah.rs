//! Buildah: images made from nothing.

use anyhow::Result;
use roadstead_types::Digest;

use crate::world::{Place, World, digest_in, in_every_place};

in_every_place!(buildah_builds_pushes_and_pulls, buildah_pushes_zstd_and_indexes);

pub(crate) async fn buildah(world: &World, arguments: &[&str]) -> Result<String> {
    let work = world.sandbox.work();
    let storage = [
        format!("--root={}/buildah", work.display()),
        format!("--runroot={}/buildah-run", work.display()),
    ];
    let arguments: Vec<&str> = storage
        .iter()
        .map(String::as_str)
        .chain(arguments.iter().copied())
        .collect();
    world.sandbox.run("buildah", &arguments).await
}

pub(crate) async fn log_in(world: &World) -> Result<()> {
    world
        .log_in(
            "buildah",
            &["login", &world.tls_flag(""), world.sandbox.registry()],
        )
        .await
}

/// Builds an image that holds `content` only.
async fn build(world: &World, name: &str, content: &[u8]) -> Result<()> {
    let file = world.sandbox.work().join("content");
    std::fs::write(&file, content)?;
    let container = buildah(world, &["from", "scratch"]).await?;
    buildah(
        world,
        &["copy", container.trim(), &file.display().to_string(), "/content"],
    )
    .await?;
    buildah(world, &["commit", "--format=oci", "--rm", container.trim(), name])
        .await
        .map(drop)
}

/// Pushes with the given flags and gives the digest that buildah reports.
pub(crate) async fn push(world: &World, flags: &[&str], from: &str, to: &str) -> Result<Digest> {
    let file = world.sandbox.work().join("buildah-digest");
    let (tls, file_flag) = (world.tls_flag(""), format!("--digestfile={}", file.display()));
    let to = format!("docker://{to}");
    buildah(
        world,
        &[&["push", &tls, &file_flag], flags, &[from, &to]].concat(),
    )
    .await?;
    digest_in(&std::fs::read_to_string(file)?)
}

async fn buildah_builds_pushes_and_pulls(place: Place) -> Result<()> {
    let world = World::open(place).await?;
    log_in(&world).await?;
    let (one, two) = (world.name("buildah/one:v1"), world.name("buildah/two:v1"));
    build(&world, &one, b"built from nothing").await?;
    let digest = push(&world, &[], &one, &one).await?;
    assert_eq!(world.digest("buildah/one", "v1").await?, digest);
    assert_eq!(push(&world, &[], &one, &two).await?, digest);
    world
        .session("buildah/two")
        .await?
        .pull_everything("buildah/two", "v1")
        .await?;

    let id = buildah(&world, &["images", "--quiet", "--no-trunc", &one]).await?;
    buildah(&world, &["rmi", "--force", &one]).await?;
    let pulled = buildah(&world, &["pull", "--quiet", &world.tls_flag(""), &one]).await?;
    assert_eq!(pulled.trim(), id.trim().trim_start_matches("sha256:"));
    world.close().await
}

async fn buildah_pushes_zstd_and_indexes(place: Place) -> Result<()> {
    let world = World::open(place).await?;
    log_in(&world).await?;
    let (zstd, multi) = (world.name("buildah/zstd:v1"), world.name("buildah/multi:v1"));
    build(&world, &zstd, b"to be compressed with zstd").await?;
    let digest = push(
        &world,
        &["--compression-format=zstd", "--format=oci"],
        &zstd,
        &zstd,
    )
    .await?;
    world.require_zstd("buildah/zstd", "v1").await?;
    buildah(&world, &["rmi", "--force", &zstd]).await?;
    buildah(&world, &["pull", &world.tls_flag(""), &zstd]).await?;

    buildah(&world, &["manifest", "create", &multi]).await?;
    buildah(
        &world,
        &[
            "manifest",
            "add",
            &world.tls_flag(""),
            &multi,
            &format!("docker://{zstd}"),
        ],
    )
    .await?;
    buildah(
        &world,
        &[
            "manifest",
            "push",
            "--all",
            &world.tls_flag(""),
            &multi,
            &format!("docker://{multi}"),
        ],
    )
    .await?;
    assert_eq!(
        world.manifest("buildah/multi", "v1").await?["manifests"][0]["digest"],
        digest.as_str()
    );
    world
        .session("buildah/multi")
        .await?
        .pull_everything("buildah/multi", "v1")
        .await?;
    world.close().await
}
