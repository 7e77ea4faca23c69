//! Logins that do not expire: our program as the clients' credential helper.

use anyhow::{Context as _, Result};
use roadstead_integration_tests::image::Image;
use roadstead_integration_tests::{Mode, Sandbox, Transport, in_both_modes, programs};

use crate::world::{Place, World};

in_both_modes!(clients_get_their_credentials_from_the_helper,);

async fn clients_get_their_credentials_from_the_helper(mode: Mode) -> Result<()> {
    let mut world = World::open(Place::Local(mode)).await?;
    let repository = "helper/one";
    world
        .session(repository)
        .await?
        .push_image(repository, "v1", &Image::small("helper")?)
        .await?;

    // The helper runs as the user who started the registry, and so finds the development issuer's secret.
    let bin = world.cluster.home().scratch().join("bin");
    std::fs::create_dir(&bin)?;
    let path = format!("{}:{}", bin.display(), std::env::var("PATH")?);
    let runtime = world
        .cluster
        .home()
        .environment()
        .into_iter()
        .filter(|(name, _)| name == "XDG_RUNTIME_DIR");
    let environment: Vec<_> = runtime.chain([("PATH".to_owned(), path)]).collect();
    world.sandbox = Sandbox::new(&world.cluster.address(), Transport::Plain)?.with_environment(environment);
    world.sandbox.start_docker().await?;

    let image = world.name("helper/one:v1");
    world
        .sandbox
        .run("docker", &["pull", &image])
        .await
        .err()
        .context("it was pulled without credentials")?;
    let roadstead = programs::ours("roadstead")?.display().to_string();
    world
        .sandbox
        .run(&roadstead, &["login", world.sandbox.registry()])
        .await?;
    let bin = bin.display().to_string();
    world
        .sandbox
        .run(
            &roadstead,
            &[
                "auth",
                "configure-docker",
                "--bin-dir",
                &bin,
                world.sandbox.registry(),
            ],
        )
        .await?;
    world.sandbox.run("docker", &["pull", &image]).await?;
    world.sandbox.run("crane", &["digest", &image]).await?;
    world.close().await
}
