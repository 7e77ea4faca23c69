//! A registry whose processes are killed and started one by one.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use roadstead_integration_tests::cluster::{Home, STOP_LIMIT};
use roadstead_integration_tests::deadline::eventually;
use roadstead_integration_tests::process::{Process, run};
use roadstead_integration_tests::{Credential, Mode, Registry, ports, programs};

use crate::trace;

/// Far longer than a start takes on a loaded machine.
const START_LIMIT: Duration = Duration::from_secs(30);

const COMMAND_LIMIT: Duration = Duration::from_secs(30);

/// A program of an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// `roadstead serve`.
    AllInOne,
    /// The service of this name.
    Auth,
    /// The service of this name.
    Blobs,
    /// The service of this name.
    Metadata,
    /// The service of this name.
    Events,
    /// The service of this name.
    Gateway,
}

impl Program {
    /// The programs of a mode, each after those that it calls.
    pub fn all(mode: Mode) -> &'static [Self] {
        match mode {
            Mode::AllInOne => &[Self::AllInOne],
            Mode::Split => &[
                Self::Auth,
                Self::Blobs,
                Self::Metadata,
                Self::Events,
                Self::Gateway,
            ],
        }
    }

    /// The service's name in addresses and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::AllInOne => "all-in-one",
            Self::Auth => "auth",
            Self::Blobs => "blobs",
            Self::Metadata => "metadata",
            Self::Events => "events",
            Self::Gateway => "gateway",
        }
    }

    fn calls(self) -> &'static [Self] {
        match self {
            Self::AllInOne | Self::Auth | Self::Blobs => &[],
            Self::Metadata => &[Self::Auth, Self::Blobs],
            Self::Events => &[Self::Auth, Self::Metadata],
            Self::Gateway => &[Self::Auth, Self::Metadata, Self::Blobs, Self::Events],
        }
    }
}

/// Where a process is to die by its own hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// The fail point.
    pub point: String,
    /// The nth time that it is passed.
    pub pass: u32,
}

/// How a start went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// It serves, after this long.
    Ready(Duration),
    /// It died where it was told to.
    Died,
}

/// The directories, ports and processes of one registry.
#[derive(Debug)]
pub struct Installation {
    // Before the home: when a test fails, the logs in it are shown first.
    running: BTreeMap<Program, Process>,
    home: Home,
    mode: Mode,
    port: u16,
    rpc_ports: BTreeMap<Program, u16>,
    settings: Vec<(String, String)>,
    starts: Vec<Duration>,
    traces: Option<(String, PathBuf)>,
}

impl Installation {
    /// Makes everything but the processes. `settings` are pairs of a configuration key and a TOML value.
    pub async fn new(mode: Mode, settings: &[(&str, &str)]) -> Result<Self> {
        let mut rpc_ports = BTreeMap::new();
        for program in Program::all(mode) {
            rpc_ports.insert(*program, ports::free()?);
        }
        let installation = Self {
            running: BTreeMap::new(),
            home: Home::new()?,
            mode,
            port: ports::free()?,
            rpc_ports,
            settings: settings
                .iter()
                .map(|(key, value)| {
                    let name = format!("ROADSTEAD__{}", key.to_uppercase().replace('.', "__"));
                    (name, (*value).to_owned())
                })
                .collect(),
            starts: Vec::new(),
            traces: None,
        };
        if mode == Mode::Split {
            let out = installation.certificates().display().to_string();
            installation.command(&["certificates", "--out", &out]).await?;
        }
        Ok(installation)
    }

    /// Has `strace` write the given system calls of what is started from now on to `<program>.trace` in a directory.
    pub fn trace(&mut self, calls: &str, directory: &Path) {
        self.traces = Some((calls.to_owned(), directory.to_owned()));
    }

    /// How the services are laid out.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Where the registry keeps its data.
    pub fn data(&self) -> PathBuf {
        self.home.data()
    }

    /// How long each start took until the process was ready.
    pub fn starts(&self) -> &[Duration] {
        &self.starts
    }

    /// Starts all programs that do not run.
    pub async fn start_all(&mut self) -> Result<()> {
        for program in Program::all(self.mode) {
            if !self.running.contains_key(program) {
                let started = self.start(*program, None).await?;
                ensure!(started != Started::Died, "nothing told {program:?} to die");
            }
        }
        Ok(())
    }

    /// Starts a program, and tells it where to die.
    pub async fn start(&mut self, program: Program, death: Option<&Death>) -> Result<Started> {
        let mut command = self.program(program)?;
        if let Some(Death { point, pass }) = death {
            command.env("ROADSTEAD_KILL_AT", format!("{point}:{pass}"));
        }
        if let Some((calls, directory)) = &self.traces {
            let output = directory.join(format!("{}.trace", program.name()));
            command = trace::traced(&command, calls, &output)?;
        }
        let begun = Instant::now();
        let mut process = Process::start(program.name(), command, &self.home.logs())?;
        let what = format!("{} is ready", program.name());
        let ready = eventually(&what, START_LIMIT, async || {
            if process.stdout().contains(" ready: ") {
                return Ok(Some(true));
            }
            Ok(process.exited()?.map(|_| false))
        })
        .await?;
        if ready {
            let took = begun.elapsed();
            self.starts.push(took);
            self.running.insert(program, process);
            return Ok(Started::Ready(took));
        }
        let (status, stdout, stderr) = process.wait(START_LIMIT).await?;
        ensure!(
            death.is_some() && status.signal() == Some(rustix::process::Signal::KILL.as_raw()),
            "{} did not start: {status}\n{stdout}{stderr}",
            program.name()
        );
        Ok(Started::Died)
    }

    /// Whether a program runs, as far as anybody looked.
    pub fn is_running(&self, program: Program) -> bool {
        self.running.contains_key(&program)
    }

    /// Kills a program as `kill -9` does.
    pub fn kill(&mut self, program: Program) -> Result<()> {
        let process = self.running.remove(&program);
        process
            .with_context(|| format!("{program:?} does not run"))?
            .kill();
        Ok(())
    }

    /// Waits for a program to die where it was told to; false when it does not within `limit`.
    pub async fn died(&mut self, program: Program, limit: Duration) -> Result<bool> {
        let process = self
            .running
            .get_mut(&program)
            .with_context(|| format!("{program:?} does not run"))?;
        let waited = tokio::time::timeout(
            limit,
            eventually("the process dies", limit * 2, async || process.exited()),
        );
        let Ok(status) = waited.await else {
            return Ok(false);
        };
        let status = status?;
        if status.signal() != Some(rustix::process::Signal::KILL.as_raw()) {
            bail!("{program:?} ended by itself: {status}");
        }
        self.kill(program)?;
        Ok(true)
    }

    /// Stops what runs as an operator does: callers first, each with success.
    pub async fn stop_all(&mut self) -> Result<()> {
        for program in Program::all(self.mode).iter().rev() {
            if let Some(process) = self.running.remove(program) {
                process.terminate(STOP_LIMIT).await?;
            }
        }
        Ok(())
    }

    /// `127.0.0.1:<port>`, where clients connect.
    pub fn address(&self) -> String {
        local(self.port)
    }

    /// The registry, called by the development user, who may do everything.
    pub async fn developer(&self) -> Result<Registry> {
        self.command(&["login", &self.address()]).await?;
        let token = self.command(&["auth", "token", &self.address()]).await?;
        let token = Credential::Token(token.trim().to_owned());
        Registry::new(&format!("http://{}", self.address()), token)
    }

    /// Runs the user's program and gives its standard output.
    pub async fn command(&self, arguments: &[&str]) -> Result<String> {
        let program = programs::ours("faulty-roadstead")?;
        run(&program, arguments, &self.home.environment(), None, COMMAND_LIMIT).await
    }

    fn certificates(&self) -> PathBuf {
        self.home.scratch().join("tls")
    }

    fn program(&self, program: Program) -> Result<Command> {
        let mut command = if program == Program::AllInOne {
            let mut command = Command::new(programs::ours("faulty-roadstead")?);
            command.args(["serve", "--dev", "--listen", &self.address(), "--data-dir"]);
            command.arg(self.data());
            command
        } else {
            let name = format!("faulty-roadstead-{}", program.name());
            let mut command = Command::new(programs::ours(&name)?);
            for setting in self.service_settings(program) {
                command.args(["--set", &setting]);
            }
            command
        };
        command
            .env("ROADSTEAD__RUNTIME__ADMIN_LISTEN", "127.0.0.1:0")
            .env("ROADSTEAD__RUNTIME__SHUTDOWN_GRACE", "1s")
            .envs(self.home.environment())
            .envs(self.settings.iter().cloned());
        Ok(command)
    }

    /// What `deploy/local/run` sets, but for the ports: they stay the same when one service is started again.
    fn service_settings(&self, program: Program) -> Vec<String> {
        let name = program.name();
        let tls = self.certificates().display().to_string();
        let mut settings = vec![
            format!("runtime.data_dir={}", self.data().display()),
            format!("rpc.tls.ca_file={tls}/ca.pem"),
            format!("rpc.tls.cert_file={tls}/{name}.pem"),
            format!("rpc.tls.key_file={tls}/{name}.key"),
        ];
        if program != Program::Gateway {
            settings.push(format!("rpc.listen={}", local(self.rpc_ports[&program])));
        }
        if matches!(program, Program::Blobs | Program::Metadata) {
            settings.push(format!("{name}.seal_key_file={tls}/seal.key"));
        }
        if matches!(program, Program::Auth | Program::Gateway) {
            settings.push(format!("gateway.listen={}", self.address()));
            settings.push(format!("{name}.dev=true"));
        }
        settings.extend(program.calls().iter().map(|callee| {
            let port = self.rpc_ports[callee];
            format!("rpc.endpoints.{}=https://{}", callee.name(), local(port))
        }));
        settings
    }
}

fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}
