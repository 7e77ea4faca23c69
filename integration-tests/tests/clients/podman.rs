//! Podman, with storage of its own.

use anyhow::{Context as _, Result};
use roadstead_types::Digest;

use crate::world::{Place, World, digest_in, in_every_place};

in_every_place!(
    podman_pushes_pulls_and_mounts,
    podman_pushes_zstd_and_indexes,
    podman_lists
);

pub(crate) async fn podman(world: &World, arguments: &[&str]) -> Result<String> {
    let work = world.sandbox.work();
    let storage = [
        format!("--root={}/podman", work.display()),
        format!("--runroot={}/podman-run", work.display()),
    ];
    let arguments: Vec<&str> = storage
        .iter()
        .map(String::as_str)
        .chain(arguments.iter().copied())
        .collect();
    world.sandbox.run("podman", &arguments).await
}

pub(crate) async fn log_in(world: &World) -> Result<()> {
    world
        .log_in(
            "podman",
            &["login", &world.tls_flag(""), world.sandbox.registry()],
        )
        .await
}

/// Pushes with the given flags and gives the digest that podman reports.
pub(crate) async fn push(world: &World, flags: &[&str], from: &str, to: &str) -> Result<Digest> {
    let file = world.sandbox.work().join("podman-digest");
    let (tls, file_flag) = (world.tls_flag(""), format!("--digestfile={}", file.display()));
    let to = format!("docker://{to}");
    podman(
        world,
        &[&["push", &tls, &file_flag], flags, &[from, &to]].concat(),
    )
    .await?;
    digest_in(&std::fs::read_to_string(file)?)
}

async fn podman_pushes_pulls_and_mounts(place: Place) -> Result<()> {
    let world = World::open(place).await?;
    log_in(&world).await?;
    let (layout, _) = world.layout()?;
    let id = podman(
        &world,
        &["pull", "--quiet", &format!("oci:{}:one", layout.path().display())],
    )
    .await?;
    let id = id.trim();
    let (one, two) = (world.name("podman/one:v1"), world.name("podman/two:v1"));
    let digest = push(&world, &[], id, &one).await?;
    assert_eq!(world.digest("podman/one", "v1").await?, digest);
    world
        .session("podman/one")
        .await?
        .pull_everything("podman/one", "v1")
        .await?;
    assert_eq!(push(&world, &[], id, &two).await?, digest);
    world
        .session("podman/two")
        .await?
        .pull_everything("podman/two", "v1")
        .await?;

    podman(&world, &["rmi", "--force", id]).await?;
    for name in [one.clone(), format!("{}@{digest}", world.name("podman/two"))] {
        assert_eq!(
            podman(&world, &["pull", "--quiet", &world.tls_flag(""), &name])
                .await?
                .trim(),
            id
        );
    }
    podman(&world, &["logout", world.sandbox.registry()]).await?;
    let anonymous = podman(&world, &["pull", &world.tls_flag(""), &one]).await;
    anonymous
        .err()
        .context("a private image was pulled without a login")?;
    world.close().await
}

async fn podman_pushes_zstd_and_indexes(place: Place) -> Result<()> {
    let world = World::open(place).await?;
    log_in(&world).await?;
    let (layout, _) = world.layout()?;
    let id = podman(
        &world,
        &["pull", "--quiet", &format!("oci:{}:one", layout.path().display())],
    )
    .await?;
    let flags = ["--compression-format=zstd", "--format=oci"];
    let digest = push(&world, &flags, id.trim(), &world.name("podman/zstd:v1")).await?;
    assert_eq!(world.digest("podman/zstd", "v1").await?, digest);
    world.require_zstd("podman/zstd", "v1").await?;
    podman(&world, &["rmi", "--force", id.trim()]).await?;
    podman(
        &world,
        &["pull", &world.tls_flag(""), &world.name("podman/zstd:v1")],
    )
    .await?;

    let multi = world.name("podman/multi:v1");
    podman(&world, &["manifest", "create", &multi]).await?;
    podman(
        &world,
        &[
            "manifest",
            "add",
            &world.tls_flag(""),
            &multi,
            &format!("docker://{}", world.name("podman/zstd:v1")),
        ],
    )
    .await?;
    let target = format!("docker://{multi}");
    podman(
        &world,
        &["manifest", "push", "--all", &world.tls_flag(""), &multi, &target],
    )
    .await?;
    let index = world.manifest("podman/multi", "v1").await?;
    assert_eq!(index["manifests"][0]["digest"], digest.as_str());
    world
        .session("podman/multi")
        .await?
        .pull_everything("podman/multi", "v1")
        .await?;
    world.close().await
}

async fn podman_lists(place: Place) -> Result<()> {
    let world = World::open(place).await?;
    log_in(&world).await?;
    world.push_layout("podman/listed").await?;
    // `search` has no flag for certificates; it finds them as other Go programs do.
    let tls: &[&str] = if world.is_plain() {
        &["--tls-verify=false"]
    } else {
        &[]
    };
    let tags = podman(
        &world,
        &[&["search", "--list-tags"], tls, &[&world.name("podman/listed")]].concat(),
    )
    .await?;
    for tag in ["one", "zstd", "multi"] {
        assert!(tags.contains(tag), "{tags}");
    }
    let found = podman(&world, &[&["search"], tls, &[&world.name("")]].concat()).await?;
    assert!(found.contains("podman/listed"), "{found}");
    world.close().await
}
