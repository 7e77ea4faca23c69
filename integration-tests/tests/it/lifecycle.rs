//! Starting, stopping, restarting, and refusing to start.

use std::time::Duration;

use anyhow::Result;
use roadstead_integration_tests::cluster::{Home, STOP_LIMIT, copy_tree};
use roadstead_integration_tests::image::{Image, noise};
use roadstead_integration_tests::process::Process;
use roadstead_integration_tests::{Cluster, Mode, Setup, in_both_modes, ports};

in_both_modes!(
    a_restart_keeps_everything,
    a_power_cut_keeps_what_was_acknowledged,
    stopping_does_not_wait_for_idle_clients,
    stopping_waits_for_requests_as_long_as_the_grace_allows,
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
    let silent = tokio::net::TcpStream::connect(cluster.address()).await?;
    // Kept open by the client for its next request.
    let registry = cluster.developer().await?;
    cluster.stop().await?;
    drop((silent, registry));
    Ok(())
}

async fn stopping_waits_for_requests_as_long_as_the_grace_allows(mode: Mode) -> Result<()> {
    let cluster = Cluster::setup(mode)
        .with("runtime.shutdown_grace", "\"1s\"")
        .start()
        .await?;
    let session = cluster.developer().await?.session_for(&[REPOSITORY]).await?;
    let digest = session.push_blob(REPOSITORY, &noise(31, 20_000_000)).await?;
    let mut stalled = tokio::net::TcpStream::connect(cluster.address()).await?;
    let request = format!(
        "GET /v2/{REPOSITORY}/blobs/{digest} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\r\n",
        cluster.address(),
        session.token()
    );
    tokio::io::AsyncWriteExt::write_all(&mut stalled, request.as_bytes()).await?;
    // The answer begins, and nobody reads it.
    stalled.readable().await?;
    cluster.stop().await?;
    drop(stalled);
    Ok(())
}

async fn refused_start(setup: Setup, home: &Home, listen: &str) -> Result<String> {
    let process = Process::start("refused", setup.command(home, listen)?, &home.logs())?;
    let (status, stdout, stderr) = process.wait(Duration::from_secs(30)).await?;
    assert!(!status.success(), "it started");
    Ok(stdout + &stderr)
}

async fn unknown_settings_are_refused_with_the_nearest_name(mode: Mode) -> Result<()> {
    let setup = Cluster::setup(mode).with("metadata.manifest_validatoin", "\"strict\"");
    let said = refused_start(setup, &Home::new()?, &format!("127.0.0.1:{}", ports::free()?)).await?;
    assert!(
        said.contains("manifest_validatoin") && said.contains("manifest_validation"),
        "{said}"
    );
    Ok(())
}

async fn development_mode_wants_a_loopback_listener(mode: Mode) -> Result<()> {
    let setup = Cluster::setup(mode).with("gateway.public_url", "\"https://registry.test\"");
    let said = refused_start(setup, &Home::new()?, &format!("0.0.0.0:{}", ports::free()?)).await?;
    assert!(said.contains("loopback"), "{said}");
    Ok(())
}

async fn data_of_a_newer_release_is_refused_with_the_version_it_needs(mode: Mode) -> Result<()> {
    let setup = Cluster::setup(mode);
    let home = setup.clone().start().await?.stop().await?;
    for database in ["auth/auth.db", "metadata/metadata.db", "events/events.db"] {
        let newer = Home::new()?;
        copy_tree(&home.data(), &newer.data())?;
        let connection = rusqlite::Connection::open(newer.data().join(database))?;
        connection.execute(
            "INSERT INTO schema_migrations (release, version, name, min_compatible, applied_at)
             VALUES ('98.7.6', 99, 'future', 99, 0)",
            [],
        )?;
        drop(connection);
        let said = refused_start(setup.clone(), &newer, &format!("127.0.0.1:{}", ports::free()?)).await?;
        assert!(said.contains("98.7.6"), "{database}: {said}");
    }
    Ok(())
}

/// A promise to users that every other scenario relies on; it is spelled out so that a change of it is seen.
#[test]
fn three_seconds_to_stop() {
    assert_eq!(STOP_LIMIT, Duration::from_secs(3));
}
