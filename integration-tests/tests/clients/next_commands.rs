//! What quickstart tells a new user to type works as printed.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use roadstead_integration_tests::cluster::{Home, STOP_LIMIT};
use roadstead_integration_tests::process::Process;
use roadstead_integration_tests::{Sandbox, Transport, ports, programs};

/// The clients whose commands must be among those printed.
pub(crate) const CLIENTS: [&str; 5] = ["docker", "podman", "skopeo", "crane", "oras"];

/// What a new user has after the first command, and a machine to type on.
pub(crate) struct Newcomer {
    pub(crate) home: Home,
    pub(crate) port: u16,
    quickstart: Process,
    printed: String,
    sandbox: Sandbox,
}

impl Newcomer {
    pub(crate) async fn start() -> Result<Self> {
        let home = Home::new()?;
        let port = ports::free()?;
        let address = format!("127.0.0.1:{port}");
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
        Ok(Self {
            home,
            port,
            quickstart,
            printed,
            sandbox,
        })
    }

    /// Types a line. What it writes into the working directory is the user's business, and here as well.
    pub(crate) async fn types(&self, prefix: &str, command: &str) -> Result<()> {
        let line = format!("cd '{}' && {prefix} {command}", self.sandbox.work().display());
        self.sandbox
            .shell(&line)
            .await
            .map(drop)
            .with_context(|| format!("as written: {command}"))
    }

    pub(crate) async fn leave(self) -> Result<()> {
        self.sandbox.close().await?;
        self.quickstart.terminate(STOP_LIMIT).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_that_quickstart_prints_run() -> Result<()> {
    let newcomer = Newcomer::start().await?;
    let commands = commands(&newcomer.printed);
    let clients: BTreeSet<&str> = commands
        .iter()
        .filter_map(|(client, _)| client.as_deref())
        .collect();
    assert!(
        CLIENTS.iter().all(|client| clients.contains(client)),
        "{clients:?} in {}",
        newcomer.printed
    );
    for (_, command) in &commands {
        newcomer.types("", command).await?;
    }
    newcomer.leave().await
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
