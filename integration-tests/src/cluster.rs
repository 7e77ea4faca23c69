//! A running registry: one process or five.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::process::{Process, run};
use crate::registry::{Credential, Registry};
use crate::{ports, programs};

/// Longer than any start takes on a loaded two-core machine, five processes and their certificates included.
const START_LIMIT: Duration = Duration::from_mins(1);
/// What users are promised after Ctrl-C or SIGTERM.
pub const STOP_LIMIT: Duration = Duration::from_secs(3);
/// For commands of ours that make a few requests.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);

/// How the services are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `roadstead serve`: everything in one process.
    AllInOne,
    /// `deploy/local/run`: five processes under mutual TLS.
    Split,
}

/// What is to be started.
#[derive(Clone, Debug)]
pub struct Setup {
    mode: Mode,
    dev: bool,
    settings: BTreeMap<String, String>,
    public: Vec<String>,
}

/// The variable of `auth.grants`.
const GRANTS: &str = "ROADSTEAD__AUTH__GRANTS";

impl Setup {
    /// Sets one configuration key, for example `metadata.manifest_validation`, to a TOML value.
    ///
    /// It travels as an environment variable, which both modes read alike.
    #[must_use]
    pub fn with(mut self, key: &str, toml_value: &str) -> Self {
        let name = format!("ROADSTEAD__{}", key.to_uppercase().replace('.', "__"));
        self.settings.insert(name, toml_value.to_owned());
        self
    }

    /// Sets an environment variable of every process.
    #[must_use]
    pub fn with_environment(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Manifests may name what is not there, as the conformance suite and sparse mirrors need.
    #[must_use]
    pub fn lenient(self) -> Self {
        self.with("metadata.manifest_validation", "\"lenient\"")
    }

    /// Repositories under `prefix` are public, beside what `auth.grants` is set to. As all grants, this counts at the first start
    /// on a data directory.
    #[must_use]
    pub fn with_public(mut self, prefix: &str) -> Self {
        self.public.push(prefix.to_owned());
        self
    }

    /// The settings as variables, with one list of all grants.
    fn variables(&self) -> BTreeMap<String, String> {
        let mut variables = self.settings.clone();
        if self.public.is_empty() {
            return variables;
        }
        let set = variables.get(GRANTS).map_or("", String::as_str).trim();
        let set = set
            .strip_prefix('[')
            .and_then(|list| list.strip_suffix(']'))
            .unwrap_or(set);
        let public = self
            .public
            .iter()
            .map(|prefix| format!("{{anonymous=true,prefix=\"{prefix}\",actions=[\"pull\"]}}"));
        let grants: Vec<String> = public
            .chain(Some(set.to_owned()).filter(|set| !set.trim().is_empty()))
            .collect();
        variables.insert(GRANTS.to_owned(), format!("[{}]", grants.join(",")));
        variables
    }

    /// Without the development issuer.
    #[must_use]
    pub fn without_dev(mut self) -> Self {
        self.dev = false;
        self
    }

    /// Starts the registry and waits until it says that it is ready.
    pub async fn start(self) -> Result<Cluster> {
        self.start_in(Home::new()?, ports::free()?).await
    }

    /// Starts on a data directory that exists already, on the given port.
    pub async fn start_in(self, home: Home, port: u16) -> Result<Cluster> {
        let process = Process::start(
            self.program_name(),
            self.command(&home, &local(port))?,
            &home.logs(),
        )?;
        let process = process.with_logs(home.data().join("logs"));
        let mut cluster = Cluster {
            setup: self,
            home,
            port,
            process,
        };
        cluster.wait_until_ready().await?;
        Ok(cluster)
    }

    /// The command that starts this setup, for tests of starts that must fail.
    pub fn command(&self, home: &Home, listen: &str) -> Result<Command> {
        let mut command = match self.mode {
            Mode::AllInOne => {
                let mut command = Command::new(programs::ours("roadstead")?);
                command.arg("serve");
                command
            }
            Mode::Split => {
                let mut command = Command::new(programs::repository().join("deploy/local/run"));
                command.env("ROADSTEAD_BIN_DIR", programs::directory()?);
                command
            }
        };
        if self.dev {
            command.arg("--dev");
        }
        command.args(["--listen", listen, "--data-dir"]).arg(home.data());
        command.envs(home.environment());
        if self.mode == Mode::AllInOne {
            command.env("ROADSTEAD__RUNTIME__ADMIN_LISTEN", "127.0.0.1:0");
        }
        command.envs(self.variables());
        Ok(command)
    }

    fn program_name(&self) -> &'static str {
        match self.mode {
            Mode::AllInOne => "roadstead",
            Mode::Split => "local-run",
        }
    }
}

/// The directories of one installation and of the user who runs it.
#[derive(Debug)]
pub struct Home {
    root: TempDir,
}

impl Home {
    /// New, empty directories.
    pub fn new() -> Result<Self> {
        Self::new_in(&std::env::temp_dir())
    }

    /// New, empty directories on the filesystem of `parent`.
    pub fn new_in(parent: &Path) -> Result<Self> {
        let root = tempfile::Builder::new()
            .prefix("roadstead-it-")
            .tempdir_in(parent)
            .context("a temporary directory")?;
        for name in [
            "home", "runtime", "cache", "config", "state", "share", "logs", "tmp",
        ] {
            let path = root.path().join(name);
            std::fs::create_dir(&path)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700))?;
        }
        Ok(Self { root })
    }

    /// Where the registry keeps its data.
    pub fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// Where the programs' output goes.
    pub fn logs(&self) -> PathBuf {
        self.root.path().join("logs")
    }

    /// A scratch directory that goes with the home.
    pub fn scratch(&self) -> PathBuf {
        self.root.path().join("tmp")
    }

    /// The environment that keeps programs inside these directories.
    pub fn environment(&self) -> Vec<(String, String)> {
        let inside = |name: &str| self.root.path().join(name).display().to_string();
        [
            ("HOME", "home"),
            ("XDG_RUNTIME_DIR", "runtime"),
            ("XDG_CACHE_HOME", "cache"),
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_STATE_HOME", "state"),
            ("XDG_DATA_HOME", "share"),
            ("TMPDIR", "tmp"),
        ]
        .into_iter()
        .map(|(name, directory)| (name.to_owned(), inside(directory)))
        .collect()
    }
}

/// A running registry.
#[derive(Debug)]
pub struct Cluster {
    // Before the home: when a test fails, the logs in it are shown first.
    process: Process,
    home: Home,
    setup: Setup,
    port: u16,
}

impl Cluster {
    /// What to start; nothing is started yet.
    pub fn setup(mode: Mode) -> Setup {
        Setup {
            mode,
            dev: true,
            settings: BTreeMap::new(),
            public: Vec::new(),
        }
    }

    /// Starts a registry with the development issuer and nothing else set.
    pub async fn start(mode: Mode) -> Result<Self> {
        Self::setup(mode).start().await
    }

    /// `127.0.0.1:<port>`.
    pub fn address(&self) -> String {
        local(self.port)
    }

    /// The port of the gateway.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directories of this installation.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The process that a user would stop with Ctrl-C.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The registry, called by nobody in particular.
    pub fn anonymous(&self) -> Result<Registry> {
        Registry::new(&format!("http://{}", self.address()), Credential::None)
    }

    /// The registry, called by the development user, who may do everything.
    pub async fn developer(&self) -> Result<Registry> {
        let token = self.access_token().await?;
        self.anonymous()?.with(Credential::Token(token))
    }

    /// An access token of the development user, obtained as a script would.
    pub async fn access_token(&self) -> Result<String> {
        self.cli(&["login", &self.address()]).await?;
        let token = self.cli(&["auth", "token", &self.address()]).await?;
        Ok(token.trim().to_owned())
    }

    /// Runs the user's program in this installation's home and gives its standard output.
    pub async fn cli(&self, arguments: &[&str]) -> Result<String> {
        self.cli_with(arguments, &[]).await
    }

    /// [`Cluster::cli`] with more environment.
    pub async fn cli_with(&self, arguments: &[&str], more: &[(String, String)]) -> Result<String> {
        let mut environment = self.home.environment();
        environment.extend_from_slice(more);
        run(
            &programs::ours("roadstead")?,
            arguments,
            &environment,
            None,
            COMMAND_LIMIT,
        )
        .await
    }

    /// Stops the registry as the promise goes: SIGTERM, three seconds, exit code 0, no process left.
    pub async fn stop(self) -> Result<Home> {
        self.process.terminate(STOP_LIMIT).await?;
        Ok(self.home)
    }

    /// Kills every process of the registry at once and gives its directories.
    pub fn kill(self) -> Home {
        self.process.kill();
        self.home
    }

    /// Stops the registry and starts it again on the same data and port.
    pub async fn restart(self) -> Result<Self> {
        let (setup, port) = (self.setup.clone(), self.port);
        let home = self.stop().await?;
        setup.start_in(home, port).await
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let address = self.address();
        let said = |process: &Process| {
            [process.stdout(), process.stderr()]
                .iter()
                .flat_map(|log| log.lines())
                .any(|line| line.contains(&address) && line.to_lowercase().contains("ready"))
        };
        self.process
            .until("says that it is ready", START_LIMIT, async |process| {
                Ok(said(process).then_some(()))
            })
            .await?;
        // A ready line that comes before the port answers would break every script that waits for it.
        self.anonymous()?.get("/v2/").await?.expect(401)?;
        Ok(())
    }
}

fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// Copies a directory tree as a registry would have made it: for its owner only, whatever the source allows.
pub fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o700))?;
    for entry in std::fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
            std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o600))?;
        }
    }
    Ok(())
}
