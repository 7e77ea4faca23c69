//! More gateways before the services of a split registry, each a process of its own.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::cluster::{Cluster, STOP_LIMIT};
use crate::process::Process;
use crate::registry::{Credential, Registry};
use crate::{ports, programs};

const START_LIMIT: Duration = Duration::from_secs(30);

/// A gateway beside the first, known to clients by the first one's name.
#[derive(Debug)]
pub struct Gateway {
    process: Process,
    address: String,
    service: String,
}

impl Gateway {
    /// Starts a gateway before the services of `cluster`, which must be [`Split`](crate::Mode::Split).
    pub async fn beside(cluster: &Cluster) -> Result<Self> {
        let address = format!("127.0.0.1:{}", ports::free()?);
        let tls = certificates(cluster)?.display().to_string();
        let mut settings = vec![
            format!("gateway.listen={address}"),
            format!("gateway.public_url=http://{}", cluster.address()),
            format!("rpc.tls.ca_file={tls}/ca.pem"),
            format!("rpc.tls.cert_file={tls}/gateway.pem"),
            format!("rpc.tls.key_file={tls}/gateway.key"),
            "runtime.admin_listen=127.0.0.1:0".to_owned(),
            "runtime.shutdown_grace=1s".to_owned(),
        ];
        for service in ["auth", "metadata", "blobs", "events"] {
            let at = rpc_address(cluster, service)?;
            settings.push(format!("rpc.endpoints.{service}=https://{at}"));
        }
        let mut command = Command::new(programs::ours("roadstead-gateway")?);
        for setting in &settings {
            command.args(["--set", setting]);
        }
        command.envs(cluster.home().environment());
        let mut process = Process::start("another-gateway", command, &cluster.home().logs())?;
        process
            .until("is ready", START_LIMIT, async |process| {
                Ok(process.stdout().contains(" ready: ").then_some(()))
            })
            .await?;
        Ok(Self {
            process,
            address,
            service: cluster.address(),
        })
    }

    /// `127.0.0.1:<port>`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The registry through this gateway, called by nobody in particular.
    pub fn anonymous(&self) -> Result<Registry> {
        let registry = Registry::new(&format!("http://{}", self.address), Credential::None)?;
        Ok(registry.known_as(&self.service))
    }

    /// What the process has written so far.
    pub fn said(&self) -> String {
        format!("{}{}", self.process.stdout(), self.process.stderr())
    }

    /// Stops the gateway.
    pub async fn stop(self) -> Result<()> {
        self.process.terminate(STOP_LIMIT).await
    }
}

/// Where a service of a split registry listens for others.
pub fn rpc_address(cluster: &Cluster, service: &str) -> Result<String> {
    let said = cluster.process().stderr();
    let address = said
        .lines()
        .find_map(|line| line.split_once(&format!("roadstead-{service} ready: rpc ")))
        .and_then(|(_, rest)| rest.split_whitespace().next());
    Ok(address
        .with_context(|| format!("{service} said no address: {said}"))?
        .to_owned())
}

/// The directory with the certificates of a split registry's run, which its script makes under `TMPDIR`.
pub fn certificates(cluster: &Cluster) -> Result<PathBuf> {
    std::fs::read_dir(cluster.home().scratch())?
        .filter_map(Result::ok)
        .map(|entry| entry.path().join("tls"))
        .find(|path| path.join("gateway.pem").is_file())
        .context("no certificates of this run")
}
