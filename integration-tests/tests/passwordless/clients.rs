//! docker, crane and podman as people and workflows run them, and what they print.

use anyhow::{Context as _, Result};
use roadstead_integration_tests::image::Layer;
use roadstead_integration_tests::{Sandbox, Transport};

/// A program that pushes and pulls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    Docker,
    Crane,
    Podman,
}

pub(crate) const ALL: [Client; 3] = [Client::Docker, Client::Crane, Client::Podman];

/// The clients on one machine, with an image to push.
pub(crate) struct Clients {
    sandbox: Sandbox,
    layer: String,
}

impl Clients {
    pub(crate) async fn start(registry: &str) -> Result<Self> {
        let mut sandbox = Sandbox::new(registry, Transport::Plain)?;
        sandbox.start_docker().await?;
        let layer = sandbox.work().join("layer.tar.gz");
        std::fs::write(&layer, Layer::gzip("etc/motd", b"built by one workflow")?.bytes)?;
        let clients = Self {
            layer: layer.display().to_string(),
            sandbox,
        };
        clients
            .run("docker", &["import", &clients.layer, "built"])
            .await?;
        clients.podman(&["import", &clients.layer, "built"]).await?;
        Ok(clients)
    }

    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Makes every client the bearer of a token.
    pub(crate) async fn log_in(&self, user: &str, token: &str) -> Result<()> {
        let registry = self.sandbox.registry();
        let flags = ["--username", user, "--password-stdin", registry];
        let podman = self.podman_flags();
        let podman: Vec<&str> = podman.iter().map(String::as_str).collect();
        let podman = [&podman[..], &["login", "--tls-verify=false"], &flags].concat();
        for (program, arguments) in [
            ("docker", [&["login"], &flags[..]].concat()),
            ("crane", [&["auth", "login"], &flags[..]].concat()),
            ("podman", podman),
        ] {
            self.sandbox
                .run_with(program, &arguments, Some(token))
                .await
                .with_context(|| format!("{program} logs in"))?;
        }
        Ok(())
    }

    /// Makes every client nobody.
    pub(crate) async fn log_out(&self) -> Result<()> {
        let registry = self.sandbox.registry();
        self.run("docker", &["logout", registry]).await?;
        self.run("crane", &["auth", "logout", registry]).await?;
        self.podman(&["logout", "--all"]).await.map(drop)
    }

    /// Pushes the image and gives what the client printed; an error holds what it printed as well.
    pub(crate) async fn push(&self, client: Client, image: &str) -> Result<String> {
        let name = format!("{}/{image}", self.sandbox.registry());
        match client {
            Client::Docker => {
                self.run("docker", &["tag", "built", &name]).await?;
                self.run("docker", &["push", &name]).await
            }
            Client::Crane => {
                let arguments = ["append", "--new_layer", &self.layer, "--new_tag", &name];
                self.run("crane", &arguments).await
            }
            Client::Podman => self.podman(&["push", "--tls-verify=false", "built", &name]).await,
        }
    }

    /// Pulls an image, which must not be on the machine already.
    pub(crate) async fn pull(&self, client: Client, image: &str) -> Result<String> {
        let name = format!("{}/{image}", self.sandbox.registry());
        match client {
            Client::Docker => {
                self.run("docker", &["image", "rm", "--force", &name]).await?;
                self.run("docker", &["pull", &name]).await
            }
            Client::Crane => {
                let file = self.sandbox.work().join("pulled.tar").display().to_string();
                self.run("crane", &["pull", &name, &file]).await
            }
            Client::Podman => {
                self.podman(&["image", "rm", "--force", "--ignore", &name])
                    .await?;
                self.podman(&["pull", "--tls-verify=false", &name]).await
            }
        }
    }

    /// Tries to push or pull, which must fail, and gives what the client printed.
    pub(crate) async fn refused(&self, client: Client, action: &str, image: &str) -> Result<String> {
        let outcome = match action {
            "push" => self.push(client, image).await,
            _ => self.pull(client, image).await,
        };
        let error = outcome
            .err()
            .with_context(|| format!("{client:?} could {action} {image}"))?;
        Ok(error.to_string())
    }

    pub(crate) async fn close(self) -> Result<()> {
        self.sandbox.close().await
    }

    async fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        self.sandbox.run(program, arguments).await
    }

    async fn podman(&self, arguments: &[&str]) -> Result<String> {
        let flags = self.podman_flags();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        self.run("podman", &[&flags, arguments].concat()).await
    }

    fn podman_flags(&self) -> [String; 2] {
        let work = self.sandbox.work();
        let at = |name: &str| work.join(name).display().to_string();
        [
            format!("--root={}", at("podman")),
            format!("--runroot={}", at("podman-run")),
        ]
    }
}
