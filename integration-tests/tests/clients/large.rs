//! A layer of 1 GiB that does not compress, pushed and pulled by each client.

use anyhow::Result;
use roadstead_integration_tests::image::{LargeLayer, Layout};
use roadstead_integration_tests::{Mode, in_both_modes};

use crate::world::{Place, World, digest_in};
use crate::{buildah, oras, podman};

in_both_modes!(
    docker_1_gib,
    podman_1_gib,
    buildah_1_gib,
    skopeo_1_gib,
    crane_1_gib,
    oras_1_gib,
);

const GIB: u64 = 1 << 30;

/// 4 GiB in the long form, past every 32-bit count of bytes.
fn size() -> u64 {
    if std::env::var_os("ROADSTEAD_SOAK").is_some() {
        4 * GIB + 1
    } else {
        GIB
    }
}

fn layer(world: &World) -> Result<LargeLayer> {
    LargeLayer::write(world.sandbox.work().join("large.tar"), size())
}

/// Requires the largest layer in the registry to be as large as what went in.
async fn require_size(world: &World, repository: &str) -> Result<()> {
    let manifest = world.manifest(repository, "v1").await?;
    let layers = manifest["layers"].as_array().into_iter().flatten();
    let largest = layers.filter_map(|layer| layer["size"].as_u64()).max();
    assert!(largest >= Some(size()), "{manifest}");
    Ok(())
}

async fn docker_1_gib(mode: Mode) -> Result<()> {
    docker_1_gib_at(Place::Local(mode)).await
}

/// One client is enough to see that the proxy passes large bodies as they come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_1_gib_behind_nginx() -> Result<()> {
    docker_1_gib_at(Place::BehindNginx).await
}

async fn docker_1_gib_at(place: Place) -> Result<()> {
    let mut world = World::open(place).await?;
    world.sandbox.start_docker().await?;
    world
        .log_in("docker", &["login", world.sandbox.registry()])
        .await?;
    let layer = layer(&world)?;
    let name = world.name("large/docker:v1");
    let id = world
        .sandbox
        .run("docker", &["import", &layer.path.display().to_string(), &name])
        .await?;
    std::fs::remove_file(&layer.path)?;
    world.sandbox.run("docker", &["push", "--quiet", &name]).await?;
    require_size(&world, "large/docker").await?;
    world.sandbox.run("docker", &["rmi", "--force", &name]).await?;
    world.sandbox.run("docker", &["pull", "--quiet", &name]).await?;
    assert_eq!(
        world
            .sandbox
            .run("docker", &["image", "inspect", "--format", "{{.Id}}", &name])
            .await?,
        id
    );
    world.close().await
}

async fn podman_1_gib(mode: Mode) -> Result<()> {
    let world = World::open(Place::Local(mode)).await?;
    podman::log_in(&world).await?;
    let layer = layer(&world)?;
    let name = world.name("large/podman:v1");
    podman::podman(&world, &["import", &layer.path.display().to_string(), &name]).await?;
    std::fs::remove_file(&layer.path)?;
    let digest = podman::push(&world, &[], &name, &name).await?;
    assert_eq!(world.digest("large/podman", "v1").await?, digest);
    require_size(&world, "large/podman").await?;
    podman::podman(&world, &["rmi", "--force", &name]).await?;
    podman::podman(&world, &["pull", &world.tls_flag(""), &name]).await?;
    world.close().await
}

async fn buildah_1_gib(mode: Mode) -> Result<()> {
    let world = World::open(Place::Local(mode)).await?;
    buildah::log_in(&world).await?;
    let layer = layer(&world)?;
    let name = world.name("large/buildah:v1");
    let container = buildah::buildah(&world, &["from", "scratch"]).await?;
    buildah::buildah(
        &world,
        &["add", container.trim(), &layer.path.display().to_string(), "/"],
    )
    .await?;
    std::fs::remove_file(&layer.path)?;
    buildah::buildah(&world, &["commit", "--rm", container.trim(), &name]).await?;
    let digest = buildah::push(&world, &[], &name, &name).await?;
    assert_eq!(world.digest("large/buildah", "v1").await?, digest);
    require_size(&world, "large/buildah").await?;
    buildah::buildah(&world, &["rmi", "--force", &name]).await?;
    buildah::buildah(&world, &["pull", &world.tls_flag(""), &name]).await?;
    world.close().await
}

async fn skopeo_1_gib(mode: Mode) -> Result<()> {
    let world = World::open(Place::Local(mode)).await?;
    world
        .log_in(
            "skopeo",
            &["login", &world.tls_flag(""), world.sandbox.registry()],
        )
        .await?;
    let layer = layer(&world)?;
    let mut layout = Layout::create(world.sandbox.work().join("large"))?;
    let digest = layout.add_large("v1", &layer)?;
    let (from, at) = (
        format!("oci:{}:v1", layout.path().display()),
        format!("docker://{}", world.name("large/skopeo:v1")),
    );
    // Skopeo would compress the plain layer by itself, and so push another manifest.
    let flags = ["copy", "--preserve-digests", &world.tls_flag("dest-"), &from, &at];
    world.sandbox.run("skopeo", &flags).await?;
    assert_eq!(world.digest("large/skopeo", "v1").await?, digest);
    require_size(&world, "large/skopeo").await?;
    let back = world.sandbox.work().join("back");
    world
        .sandbox
        .run(
            "skopeo",
            &[
                "copy",
                &world.tls_flag("src-"),
                &at,
                &format!("dir:{}", back.display()),
            ],
        )
        .await?;
    assert_eq!(
        std::fs::metadata(back.join(layer.digest.encoded()))?.len(),
        layer.size
    );
    world.close().await
}

async fn crane_1_gib(mode: Mode) -> Result<()> {
    let world = World::open(Place::Local(mode)).await?;
    world
        .log_in("crane", &["auth", "login", world.sandbox.registry()])
        .await?;
    let layer = layer(&world)?;
    let name = world.name("large/crane:v1");
    let path = layer.path.display().to_string();
    let printed = world
        .sandbox
        .run("crane", &["append", "--new_layer", &path, "--new_tag", &name])
        .await?;
    assert_eq!(world.digest("large/crane", "v1").await?, digest_in(&printed)?);
    require_size(&world, "large/crane").await?;
    // Pulls every byte and checks every digest.
    world
        .sandbox
        .run("crane", &["validate", "--remote", &name])
        .await?;
    world.close().await
}

async fn oras_1_gib(mode: Mode) -> Result<()> {
    let world = World::open(Place::Local(mode)).await?;
    oras::log_in(&world).await?;
    let layer = layer(&world)?;
    let name = world.name("large/oras:v1");
    let file = format!("{}:application/vnd.test.large", layer.path.display());
    oras::oras(&world, &["push", "--disable-path-validation", &name, &file]).await?;
    require_size(&world, "large/oras").await?;
    let blob = format!("{}@{}", world.name("large/oras"), layer.digest);
    let back = world.sandbox.work().join("back");
    oras::oras(
        &world,
        &["blob", "fetch", "--output", &back.display().to_string(), &blob],
    )
    .await?;
    assert_eq!(std::fs::metadata(&back)?.len(), layer.size);
    world.close().await
}
