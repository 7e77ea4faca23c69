//! The private world of real container clients.
//!
//! Each sandbox has its own home, container storage, `/etc/hosts`, `/etc/docker` and `/var/lib/containers`: the last three
//! by bind mounts in a mount namespace, so that nothing of this machine changes and sandboxes don't meet.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::process::{Process, run};
use crate::programs;

/// A push of a large layer by the slowest client, compression included, on a loaded two-core machine.
const COMMAND_LIMIT: Duration = Duration::from_mins(10);

/// Mounts pairs of (ours, target) up to `--`, then becomes the rest of the arguments.
const ENTER: &str =
    r#"while [ "$1" != -- ]; do mount --bind "$1" "$2" || exit 125; shift 2; done; shift; exec "$@""#;

/// How clients reach the registry.
#[derive(Clone, Debug)]
pub enum Transport {
    /// HTTP on loopback.
    Plain,
    /// HTTPS under a name that only the sandbox knows, signed by the authority in `ca`.
    Tls {
        /// The name, without a port.
        name: String,
        /// The authority's certificate.
        ca: PathBuf,
    },
}

/// A private world for clients of one registry.
#[derive(Debug)]
pub struct Sandbox {
    // Before the directory: when a test fails, the logs in it are shown first.
    dockerd: Option<Process>,
    directory: TempDir,
    registry: String,
    transport: Transport,
    more_environment: Vec<(String, String)>,
}

impl Sandbox {
    /// A sandbox whose clients talk to `registry` (`host:port`).
    pub fn new(registry: &str, transport: Transport) -> Result<Self> {
        // Podman takes a path with capital letters for a reference, and a bad one.
        let name = format!("rs-{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
        let directory = tempfile::Builder::new()
            .prefix(&name)
            .rand_bytes(0)
            .tempdir()
            .context("a temporary directory")?;
        let root = directory.path();
        let certificates = root.join("etc-docker/certs.d").join(registry);
        for path in ["home", "run", "tmp", "containers", "work"] {
            std::fs::create_dir(root.join(path))?;
        }
        std::fs::create_dir_all(&certificates)?;
        let mut hosts = "127.0.0.1 localhost\n".to_owned();
        if let Transport::Tls { name, ca } = &transport {
            hosts.push_str("127.0.0.1 ");
            hosts.push_str(name);
            hosts.push('\n');
            std::fs::copy(ca, certificates.join("ca.crt"))?;
        }
        std::fs::write(root.join("hosts"), hosts)?;
        std::fs::write(root.join("daemon.json"), "{}")?;
        Ok(Self {
            directory,
            registry: registry.to_owned(),
            transport,
            more_environment: Vec::new(),
            dockerd: None,
        })
    }

    /// Sets further variables, or others than the sandbox would.
    #[must_use]
    pub fn with_environment(mut self, pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        self.more_environment.extend(pairs);
        self
    }

    /// `host:port` of the registry.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// How clients reach the registry.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// A directory for the test's files.
    pub fn work(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    /// The directory with the authority's certificate that podman, buildah and skopeo take.
    pub fn certificates(&self) -> PathBuf {
        self.directory
            .path()
            .join("etc-docker/certs.d")
            .join(&self.registry)
    }

    /// Starts a docker daemon of the sandbox's own.
    pub async fn start_docker(&mut self) -> Result<()> {
        let root = self.directory.path();
        let flag = |name: &str, path: &str| format!("--{name}={}", root.join(path).display());
        let arguments = [
            flag("config-file", "daemon.json"),
            format!("--host={}", self.docker_host()),
            flag("data-root", "docker"),
            flag("exec-root", "docker-run"),
            flag("pidfile", "docker.pid"),
            "--iptables=false".into(),
            "--ip6tables=false".into(),
            "--bridge=none".into(),
            // Works on every kernel and inside containers.
            "--storage-driver=vfs".into(),
        ];
        let (program, enter) = self.enter("dockerd", &arguments)?;
        let mut command = Command::new(program);
        command.args(enter).envs(self.environment());
        let mut dockerd = Process::start("dockerd", command, root)?;
        dockerd
            .until("listens", Duration::from_mins(1), async |process| {
                Ok(process.stderr().contains("API listen on").then_some(()))
            })
            .await?;
        self.dockerd = Some(dockerd);
        Ok(())
    }

    /// Runs a client and gives its standard output.
    pub async fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        self.run_with(program, arguments, None).await
    }

    /// Runs a client with `input` on its standard input.
    pub async fn run_with(&self, program: &str, arguments: &[&str], input: Option<&str>) -> Result<String> {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let (enter, arguments) = self.enter(program, &arguments)?;
        run(
            &enter,
            arguments,
            &self.environment(),
            input.map(str::as_bytes),
            COMMAND_LIMIT,
        )
        .await
    }

    /// Runs one line of shell in the sandbox, as a user would paste it.
    pub async fn shell(&self, line: &str) -> Result<String> {
        self.run("sh", &["-ec", line]).await
    }

    /// Stops what runs in the sandbox.
    pub async fn close(self) -> Result<()> {
        if let Some(dockerd) = self.dockerd {
            dockerd.terminate(Duration::from_secs(30)).await?;
        }
        Ok(())
    }

    /// The environment of every client.
    pub fn environment(&self) -> Vec<(String, String)> {
        let inside = |path: &str| self.directory.path().join(path).display().to_string();
        let mut environment = vec![
            ("HOME".into(), inside("home")),
            ("XDG_RUNTIME_DIR".into(), inside("run")),
            ("XDG_CONFIG_HOME".into(), inside("home/.config")),
            ("XDG_CACHE_HOME".into(), inside("home/.cache")),
            ("TMPDIR".into(), inside("tmp")),
            ("DOCKER_HOST".into(), self.docker_host()),
            ("DOCKER_CONFIG".into(), inside("home/.docker")),
            ("REGISTRY_AUTH_FILE".into(), inside("home/auth.json")),
            ("STORAGE_DRIVER".into(), "vfs".into()),
        ];
        if let Transport::Tls { ca, .. } = &self.transport {
            environment.push(("SSL_CERT_FILE".into(), ca.display().to_string()));
        }
        environment.extend_from_slice(&self.more_environment);
        environment
    }

    fn docker_host(&self) -> String {
        format!("unix://{}", self.directory.path().join("docker.sock").display())
    }

    /// The program and arguments that run `program` inside the sandbox's mounts.
    fn enter(&self, program: &str, arguments: &[String]) -> Result<(PathBuf, Vec<String>)> {
        let root = self.directory.path();
        let mut enter: Vec<String> = [
            "--mount",
            "--propagation",
            "private",
            "--",
            "/bin/sh",
            "-c",
            ENTER,
            "sh",
        ]
        .map(Into::into)
        .into();
        for (ours, target) in [
            ("hosts", "/etc/hosts"),
            ("etc-docker", "/etc/docker"),
            ("containers", "/var/lib/containers"),
        ] {
            if ours != "hosts" {
                std::fs::create_dir_all(target).with_context(|| format!("make the mount point {target}"))?;
            }
            enter.extend([root.join(ours).display().to_string(), target.into()]);
        }
        enter.extend(["--".into(), path_of(program)?]);
        enter.extend_from_slice(arguments);
        Ok((programs::theirs("unshare")?, enter))
    }
}

fn path_of(program: &str) -> Result<String> {
    let path = if Path::new(program).is_absolute() {
        program.into()
    } else {
        programs::theirs(program)?
    };
    Ok(path.display().to_string())
}
