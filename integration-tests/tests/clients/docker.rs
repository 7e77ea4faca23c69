//! Docker: the daemon moves the bytes.

use anyhow::{Context as _, Result};

use crate::world::{Place, World, digest_in, in_every_place};

in_every_place!(docker_pushes_pulls_and_mounts, docker_makes_and_reads_indexes);

async fn open(place: Place) -> Result<World> {
    let mut world = World::open(place).await?;
    log_in(&mut world).await?;
    Ok(world)
}

async fn log_in(world: &mut World) -> Result<()> {
    world.sandbox.start_docker().await?;
    world.log_in("docker", &["login", world.sandbox.registry()]).await
}

/// Brings the layout's image into the daemon under the given name.
async fn load(world: &World, tag: &str, name: &str) -> Result<()> {
    let layout = world.sandbox.work().join("layout");
    let archive = world.sandbox.work().join(format!("{tag}.tar"));
    let from = format!("oci:{}:{tag}", layout.display());
    world
        .sandbox
        .run(
            "skopeo",
            &[
                "copy",
                &from,
                &format!("docker-archive:{}:{name}", archive.display()),
            ],
        )
        .await?;
    world
        .sandbox
        .run("docker", &["load", "--input", &archive.display().to_string()])
        .await
        .map(drop)
}

async fn docker_pushes_pulls_and_mounts(place: Place) -> Result<()> {
    let world = open(place).await?;
    world.layout()?;
    let docker = async |arguments: &[&str]| world.sandbox.run("docker", arguments).await;
    let (one, two) = (world.name("docker/one:v1"), world.name("docker/two:v1"));
    load(&world, "one", &one).await?;
    let image_id = docker(&["image", "inspect", "--format", "{{.Id}}", &one]).await?;

    let pushed = docker(&["push", &one]).await?;
    let digest = world.digest("docker/one", "v1").await?;
    assert_eq!(
        digest_in(pushed.rsplit("digest: ").next().unwrap_or_default())?,
        digest
    );
    world
        .session("docker/one")
        .await?
        .pull_everything("docker/one", "v1")
        .await?;

    docker(&["tag", &one, &two]).await?;
    let mounted = docker(&["push", &two]).await?;
    assert!(mounted.contains("Mounted from docker/one"), "{mounted}");
    assert_eq!(world.digest("docker/two", "v1").await?, digest);

    docker(&["rmi", "--force", &one, &two]).await?;
    let by_digest = format!("{}@{digest}", world.name("docker/one"));
    for name in [&one, &by_digest] {
        let pulled = docker(&["pull", name]).await?;
        assert_eq!(
            digest_in(pulled.split("Digest: ").nth(1).context("no digest")?)?,
            digest
        );
        assert_eq!(
            docker(&["image", "inspect", "--format", "{{.Id}}", name]).await?,
            image_id
        );
        docker(&["rmi", "--force", name]).await?;
    }
    docker(&["logout", world.sandbox.registry()]).await?;
    docker(&["pull", &one])
        .await
        .err()
        .context("a private image was pulled without a login")?;
    world.close().await
}

/// Docker unpacks zstd since version 23. Older ones, as in Debian 12, get as far as that: every layer has arrived and its
/// checksum was right.
async fn require_zstd_pull(world: &World) -> Result<()> {
    let version = world
        .sandbox
        .run("docker", &["version", "--format", "{{.Server.Version}}"])
        .await?;
    let major: u32 = version
        .split('.')
        .next()
        .unwrap_or_default()
        .parse()
        .context("docker's version")?;
    let pulled = world
        .sandbox
        .run("docker", &["pull", &world.name("docker/multi:zstd")])
        .await;
    if major >= 23 {
        return pulled.map(drop);
    }
    let refused = pulled.err().context("an old docker unpacked zstd")?.to_string();
    assert_eq!(refused.matches("Download complete").count(), 2, "{refused}");
    assert!(refused.contains("failed to register layer"), "{refused}");
    Ok(())
}

async fn docker_makes_and_reads_indexes(place: Place) -> Result<()> {
    let mut world = World::open(place).await?;
    // Before docker's: skopeo refuses to log in where docker keeps a refresh token.
    let index = world.push_layout("docker/multi").await?;
    log_in(&mut world).await?;
    let docker = async |arguments: &[&str]| world.sandbox.run("docker", arguments).await;
    let multi = world.name("docker/multi:multi");
    for (platform, architecture) in [("linux/arm64", "arm64"), ("linux/amd64", "amd64")] {
        let pulled = docker(&["pull", "--platform", platform, &multi]).await?;
        assert_eq!(
            digest_in(pulled.split("Digest: ").nth(1).context("no digest")?)?,
            index
        );
        let found = docker(&["image", "inspect", "--format", "{{.Architecture}}", &multi]).await?;
        assert_eq!(found.trim(), architecture);
    }
    require_zstd_pull(&world).await?;

    // The command, unlike the daemon, speaks HTTP to any name that leads to loopback, as ours behind nginx has to.
    if world.is_plain() {
        make_list(&world, &multi).await?;
    }
    world.close().await
}

/// Old clients make lists only of what docker itself has pushed.
async fn make_list(world: &World, image: &str) -> Result<()> {
    let docker = async |arguments: &[&str]| world.sandbox.run("docker", arguments).await;
    let (part, own) = (world.name("docker/multi:part"), world.name("docker/multi:own"));
    docker(&["tag", image, &part]).await?;
    docker(&["push", &part]).await?;
    docker(&["manifest", "create", "--insecure", &own, &part]).await?;
    let pushed = docker(&["manifest", "push", "--insecure", &own]).await?;
    assert_eq!(digest_in(&pushed)?, world.digest("docker/multi", "own").await?);
    let part = world.digest("docker/multi", "part").await?;
    assert_eq!(
        world.manifest("docker/multi", "own").await?["manifests"][0]["digest"],
        part.as_str()
    );
    Ok(())
}
