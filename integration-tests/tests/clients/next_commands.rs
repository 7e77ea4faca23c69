//! What quickstart and the README tell a new user to type works as printed.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use roadstead_integration_tests::cluster::{Home, STOP_LIMIT};
use roadstead_integration_tests::process::Process;
use roadstead_integration_tests::{Sandbox, Transport, ports, programs};

/// The clients whose commands must be among those printed.
const CLIENTS: [&str; 5] = ["docker", "podman", "skopeo", "crane", "oras"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_that_quickstart_prints_run() -> Result<()> {
    let home = Home::new()?;
    let address = format!("127.0.0.1:{}", ports::free()?);
    let mut command = Command::new(programs::ours("roadstead")?);
    command
        .args(["quickstart", "--listen", &address, "--data-dir"])
        .arg(home.data());
    command
        .env("ROADSTEAD__RUNTIME__ADMIN_LISTEN", "127.0.0.1:0")
        .envs(home.environment());
    let mut quickstart = Process::start("quickstart", command, &home.logs())?;
    let printed = quickstart
        .until("serves", Duration::from_mins(1), async |process| {
            let printed = process.stdout();
            Ok(printed.contains("until Ctrl-C").then_some(printed))
        })
        .await?;

    // The user's login is where quickstart left it: in the same home.
    let login = home
        .environment()
        .into_iter()
        .filter(|(name, _)| name.starts_with("XDG_") || name == "HOME");
    let mut sandbox = Sandbox::new(&address, Transport::Plain)?.with_environment(login);
    sandbox.start_docker().await?;
    let commands = commands(&printed);
    let clients: BTreeSet<&str> = commands
        .iter()
        .filter_map(|(client, _)| client.as_deref())
        .collect();
    assert!(
        CLIENTS.iter().all(|client| clients.contains(client)),
        "{clients:?} in {printed}"
    );
    for (_, command) in &commands {
        // Copying into the working directory is fine for a user, and here as well.
        let line = format!("cd '{}' && {command}", sandbox.work().display());
        sandbox
            .shell(&line)
            .await
            .with_context(|| format!("as printed: {command}"))?;
    }
    sandbox.close().await?;
    quickstart.terminate(STOP_LIMIT).await
}

/// The indented command lines with the client that stands before them, if one does.
fn commands(printed: &str) -> Vec<(Option<String>, String)> {
    let lines = printed
        .lines()
        .skip_while(|line| !line.starts_with("Now with your own client"));
    let lines = lines.filter(|line| line.starts_with("  "));
    lines
        .map(|line| {
            let line = line.trim();
            let client = CLIENTS.into_iter().find(|client| {
                line.strip_prefix(client)
                    .is_some_and(|rest| rest.starts_with("  "))
            });
            match client {
                Some(client) => (Some(client.to_owned()), line[client.len()..].trim().to_owned()),
                None => (None, line.to_owned()),
            }
        })
        .collect()
}
