//! Starting, stopping, restarting, and refusing to start.

use std::time::Duration;

use anyhow::Result;
use roadstead_integration_tests::cluster::{Home, STOP_LIMIT, copy_tree};
use roadstead_integration_tests::image::{Image, noise};
use roadstead_integration_tests::process::Process;
use roadstead_integration_tests::{Cluster, Mode, in_both_modes, ports};

in_both_modes!(
    a_restart_keeps_everything,
    a_power_cut_keeps_what_was_acknowledged,
    stopping_does_not_wait_for_idle_clients,
    unknown_settings_are_refused_with_the_nearest_name,
    development_mode_wants_a_loopback_listener,
    data_of_a_newer_release_is_refused_with_the_version_it_needs,
);

const REPOSITORY: &str = "lifecycle/one";

async fn a_restart_keeps_everything(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    let digest = session
        .push_image(REPOSITORY, "latest", &Image::small("kept")?)
        .await?;
    let cluster = cluster.restart().await?;
    // The same token: keys are kept as well.
    assert_eq!(session.pull_everything(REPOSITORY, "latest").await?, digest);
    let again = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    assert_eq!(again.pull_everything(REPOSITORY, digest.as_str()).await?, digest);
    cluster.stop().await.map(drop)
}

async fn a_power_cut_keeps_what_was_acknowledged(mode: Mode) -> Result<()> {
    let setup = Cluster::setup(mode);
    let cluster = setup.clone().start().await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    let digest = session
        .push_image(REPOSITORY, "latest", &Image::small("cut")?)
        .await?;
    let port = cluster.port();
    let cluster = setup.start_in(cluster.kill(), port).await?;
    assert_eq!(session.pull_everything(REPOSITORY, "latest").await?, digest);
    cluster.stop().await.map(drop)
}

async fn stopping_does_not_wait_for_idle_clients(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let registry = cluster.developer().await?;
    let session = registry.session_for(&[REPOSITORY]).await?;
    let digest = session.push_blob(REPOSITORY, &noise(31, 20_000_000)).await?;
    // One connection that never sends a request, and one whose client stopped reading an answer.
    let idle = tokio::net::TcpStream::connect(cluster.address()).await?;
    let mut stalled = tokio::net::TcpStream::connect(cluster.address()).await?;
    let request = format!(
        "GET /v2/{REPOSITORY}/blobs/{digest} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\r\n",
        cluster.address(),
        session.token()
    );
    tokio::io::AsyncWriteExt::write_all(&mut stalled, request.as_bytes()).await?;
    stalled.readable().await?;
    cluster.stop().await?;
    drop((idle, stalled));
    Ok(())
}

async fn refused_start(setup: roadstead_integration_tests::Setup, address: Option<&str>) -> Result<String> {
    let home = Home::new()?;
    let mut command = setup.command(&home, ports::free()?)?;
    if let Some(address) = address {
        command
            .env("ROADSTEAD__GATEWAY__LISTEN", address)
            .args(["--listen", address]);
    }
    let process = Process::start("refused", command, &home.logs())?;
    let (status, stdout, stderr) = process.wait(Duration::from_secs(30)).await?;
    assert!(!status.success(), "it started");
    Ok(stdout + &stderr)
}

async fn unknown_settings_are_refused_with_the_nearest_name(mode: Mode) -> Result<()> {
    let said = refused_start(
        Cluster::setup(mode).with("metadata.manifest_validatoin", "\"strict\""),
        None,
    )
    .await?;
    assert!(
        said.contains("manifest_validatoin") && said.contains("manifest_validation"),
        "{said}"
    );
    Ok(())
}

async fn development_mode_wants_a_loopback_listener(mode: Mode) -> Result<()> {
    let setup = Cluster::setup(mode).with("gateway.public_url", "\"https://registry.test\"");
    let said = refused_start(setup, Some(&format!("0.0.0.0:{}", ports::free()?))).await?;
    assert!(said.contains("loopback"), "{said}");
    Ok(())
}

async fn data_of_a_newer_release_is_refused_with_the_version_it_needs(mode: Mode) -> Result<()> {
    let setup = Cluster::setup(mode);
    let home = setup.clone().start().await?.stop().await?;
    for database in ["metadata/metadata.db", "events/events.db"] {
        let copy = Home::new()?;
        copy_tree(&home.data(), &copy.data())?;
        rusqlite::Connection::open(copy.data().join(database))?.execute(
            "INSERT INTO schema_migrations (version, name, min_compatible, release, applied_at)
             VALUES (99, 'future', 99, '98.7.6', 0)",
            [],
        )?;
        let process = Process::start("newer", setup.command(&copy, ports::free()?)?, &copy.logs())?;
        let (status, stdout, stderr) = process.wait(Duration::from_secs(30)).await?;
        let said = stdout + &stderr;
        assert!(!status.success(), "{database}: it started");
        assert!(said.contains("98.7.6"), "{database}: {said}");
    }
    Ok(())
}

/// A promise to users that every other scenario relies on; it is spelled out so that a change of it is seen.
#[test]
fn three_seconds_to_stop() {
    assert_eq!(STOP_LIMIT, Duration::from_secs(3));
}
