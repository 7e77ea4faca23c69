//! A user's machine and a registry on it.

mod admin;
mod content;
mod provider;
mod registry;
mod server;
mod sts;

use std::{
    ffi::OsStr,
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

pub(crate) use provider::{Behaviour, Provider};
pub(crate) use registry::{DEV_SECRET, Registry, TRUSTED_TOKEN};
use serde_json::{Value, json};
pub(crate) use server::Server;
use tempfile::TempDir;

/// A home directory of its own, so that tests neither see nor touch the one of whoever runs them.
pub(crate) struct Machine {
    directory: TempDir,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["home", "cache", "runtime", "bin"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        Self { directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The program with nothing of the tests' environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.isolated(env!("CARGO_BIN_EXE_roadstead"));
        command.args(arguments);
        command
    }

    /// Another program likewise.
    pub(crate) fn isolated(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        self.isolate(&mut command);
        command
    }

    /// The program under the helper's name, as container clients call it.
    pub(crate) fn helper(&self, action: &str, input: &str) -> Output {
        let program = self.path("bin").join("docker-credential-roadstead");
        if !program.exists() {
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_roadstead"), &program).unwrap();
        }
        output_with_input(self.isolated(program).arg(action), input)
    }

    /// A program of the machine that prints what it was called with, and then the text.
    pub(crate) fn put_program(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn isolate(&self, command: &mut Command) {
        command
            .env_clear()
            .env("HOME", self.path("home"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("XDG_RUNTIME_DIR", self.path("runtime"))
            .env("PATH", self.path("bin"))
            .current_dir(self.directory.path());
    }

    /// What a registry with development issuer leaves for its user.
    pub(crate) fn leave_dev_secret(&self, port: u16, secret: &str) {
        let directory = self.path("runtime/roadstead");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(format!("dev-{port}.secret")), secret).unwrap();
    }

    /// Puts a token into the cache that ends so many seconds from now.
    pub(crate) fn seed_token(&self, host: &str, token: &str, life: i64, source: &Value) {
        let directory = self.path("cache/roadstead").join(host);
        fs::create_dir_all(&directory).unwrap();
        let content = json!({
            "host": host,
            "access_token": token,
            "expires_at": unix_seconds() + life,
            "identity": { "issuer": "https://issuer.example", "subject": "someone" },
            "source": source,
        });
        fs::write(directory.join("access-token.json"), content.to_string()).unwrap();
    }

    pub(crate) fn token_file(&self, host: &str) -> PathBuf {
        self.path("cache/roadstead").join(host).join("access-token.json")
    }
}

/// A person's session.
pub(crate) fn session(refresh_token: &str) -> Value {
    json!({ "kind": "session", "refresh_token": refresh_token, "expires_at": unix_seconds() + 604_800 })
}

/// Gets a URL as a browser would, without following where it leads; returns the status, that place, and the body.
pub(crate) fn visit(url: &str) -> (u16, Option<String>, String) {
    // The program under test installs one by itself; this process has none.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .unwrap();
        let answer = client.get(url).send().await.unwrap();
        let location = answer.headers().get("location");
        let location = location.map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), location, answer.text().await.unwrap())
    })
}

/// A source that brings no other token.
pub(crate) fn given_once() -> Value {
    json!({ "kind": "identity-token" })
}

pub(crate) fn output_with_input(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that exits without reading its input is judged by its output.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[track_caller]
pub(crate) fn assert_code(output: &Output, code: i32) {
    assert_eq!(
        output.status.code(),
        Some(code),
        "stdout: {}\nstderr: {}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub(crate) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[expect(
    clippy::disallowed_methods,
    reason = "the program under test reads the machine's clock"
)]
fn unix_seconds() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}
