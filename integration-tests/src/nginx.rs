//! nginx with TLS, on a name of its own, in front of a registry.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::pki::ServerFiles;
use crate::process::Process;
use crate::programs;

const CONFIGURATION: &str = include_str!("../config/nginx.conf");

/// A running nginx.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
}

impl Nginx {
    /// Starts nginx on `127.0.0.1:<port>`, passing everything to `upstream`.
    pub async fn start(
        directory: &Path,
        name: &str,
        port: u16,
        upstream: &str,
        tls: &ServerFiles,
    ) -> Result<Self> {
        let configuration = [
            ("{directory}", directory.display().to_string()),
            ("{upstream}", upstream.to_owned()),
            ("{port}", port.to_string()),
            ("{name}", name.to_owned()),
            ("{certificate}", tls.certificate.display().to_string()),
            ("{key}", tls.key.display().to_string()),
        ]
        .iter()
        .fold(CONFIGURATION.to_owned(), |text, (word, value)| {
            text.replace(word, value)
        });
        let file = directory.join("nginx.conf");
        std::fs::write(&file, configuration).context("write nginx.conf")?;

        let mut command = Command::new(programs::theirs("nginx")?);
        command
            .arg("-p")
            .arg(directory)
            .args(["-e", "stderr", "-c"])
            .arg(file);
        let mut process = Process::start("nginx", command, directory)?;
        process
            .until("accepts connections", Duration::from_secs(10), async |_| {
                Ok(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok())
            })
            .await?;
        Ok(Self { process })
    }

    /// Stops nginx.
    pub async fn stop(self) -> Result<()> {
        self.process.terminate(Duration::from_secs(5)).await
    }
}
