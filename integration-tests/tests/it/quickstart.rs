//! The README's first command.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use roadstead_integration_tests::cluster::Home;
use roadstead_integration_tests::process::Process;
use roadstead_integration_tests::{ports, programs};

const LIMIT: Duration = Duration::from_mins(1);

fn quickstart(home: &Home, port: u16) -> Result<Command> {
    let mut command = Command::new(programs::ours("roadstead")?);
    command
        .args([
            "quickstart",
            "--exit",
            "--listen",
            &format!("127.0.0.1:{port}"),
            "--data-dir",
        ])
        .arg(home.data());
    command
        .env("ROADSTEAD__RUNTIME__ADMIN_LISTEN", "127.0.0.1:0")
        .envs(home.environment());
    Ok(command)
}

#[tokio::test]
async fn it_holds_and_says_what_to_do_next() -> Result<()> {
    let home = Home::new()?;
    let port = ports::free()?;
    let process = Process::start("quickstart", quickstart(&home, port)?, &home.logs())?;
    let (status, stdout, stderr) = process.wait(LIMIT).await?;
    assert!(status.success(), "{status}\n{stdout}{stderr}");
    for word in [
        "sha256:",
        "docker",
        "podman",
        "skopeo",
        "crane",
        "oras",
        &format!("127.0.0.1:{port}"),
    ] {
        assert!(stdout.contains(word), "nothing about {word}:\n{stdout}");
    }
    Ok(())
}

#[tokio::test]
async fn it_takes_the_next_port_and_says_so() -> Result<()> {
    let home = Home::new()?;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port();
    let process = Process::start("quickstart", quickstart(&home, port)?, &home.logs())?;
    let (status, stdout, stderr) = process.wait(LIMIT).await?;
    assert!(status.success(), "{status}\n{stdout}{stderr}");
    assert!(stdout.contains(&format!("{port} is in use")), "{stdout}");
    Ok(())
}

#[tokio::test]
async fn it_runs_again_on_the_same_data() -> Result<()> {
    let home = Home::new()?;
    for _ in 0..2 {
        let process = Process::start("quickstart", quickstart(&home, ports::free()?)?, &home.logs())?;
        let (status, stdout, stderr) = process.wait(LIMIT).await?;
        assert!(status.success(), "{status}\n{stdout}{stderr}");
    }
    Ok(())
}
