//! The scripts of `deploy/github-action`, run as a job of GitHub Actions runs them, against releases of the tests' own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    http::{StatusCode, Uri},
    response::{IntoResponse as _, Response},
};
use roadstead_types::Digest;
use serde_json::{Value, json};

use crate::support::{Machine, Registry, Server, TRUSTED_TOKEN, assert_code, stderr, stdout};

fn script(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    root.join("deploy/github-action").join(name)
}

/// An archive with the program under test.
fn archive(machine: &Machine) -> Vec<u8> {
    let pack = machine.path("pack");
    fs::create_dir(&pack).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_roadstead"), pack.join("roadstead")).unwrap();
    let archive = machine.path("release.tar.gz");
    let packed = Command::new("tar")
        .args([
            "-czf",
            archive.to_str().unwrap(),
            "-C",
            pack.to_str().unwrap(),
            ".",
        ])
        .output()
        .unwrap();
    assert_code(&packed, 0);
    fs::read(archive).unwrap()
}

/// A place with one release; notes what was fetched.
fn releases(archive: Vec<u8>, sums: String) -> (Server, Arc<Mutex<Vec<String>>>) {
    let fetched: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = fetched.clone();
    let server = Server::start(|_| {
        Router::new().fallback(async move |uri: Uri| -> Response {
            seen.lock().unwrap().push(uri.path().to_owned());
            match uri.path().rsplit('/').next() {
                Some("roadstead-x86_64-unknown-linux-gnu.tar.gz") => archive.clone().into_response(),
                Some("SHA256SUMS") => sums.clone().into_response(),
                _ => StatusCode::NOT_FOUND.into_response(),
            }
        })
    });
    (server, fetched)
}

fn install(machine: &Machine, releases: &Server, version: &str, sha256: &str) -> Output {
    let temporary = machine.path("temporary");
    fs::create_dir_all(&temporary).unwrap();
    machine
        .isolated(script("install"))
        .env("PATH", "/usr/bin:/bin")
        .env("RUNNER_OS", "Linux")
        .env("RUNNER_ARCH", "X64")
        .env("RUNNER_TEMP", &temporary)
        .env("GITHUB_PATH", machine.path("github-path"))
        .env("GITHUB_OUTPUT", machine.path("github-output"))
        .env("ROADSTEAD_VERSION", version)
        .env("ROADSTEAD_SHA256", sha256)
        .env(
            "ROADSTEAD_DOWNLOADS",
            format!("http://{}/releases", releases.address()),
        )
        .output()
        .unwrap()
}

fn sums(digest: &Digest) -> String {
    format!(
        "{}  roadstead-aarch64-unknown-linux-gnu.tar.gz\n{}  roadstead-x86_64-unknown-linux-gnu.tar.gz\n",
        "0".repeat(64),
        digest.encoded()
    )
}

#[test]
fn a_job_installs_logs_in_and_its_docker_uses_it() {
    let machine = Machine::new();
    let registry = Registry::start();
    let archive = archive(&machine);
    let digest = Digest::sha256(&archive);
    let (server, fetched) = releases(archive, sums(&digest));
    let installed = install(&machine, &server, "0.1.0", "");
    assert_code(&installed, 0);
    assert!(
        stdout(&installed).contains("roadstead 0.1.0"),
        "{}",
        stdout(&installed)
    );
    assert_eq!(
        *fetched.lock().unwrap(),
        [
            "/releases/download/v0.1.0/roadstead-x86_64-unknown-linux-gnu.tar.gz",
            "/releases/download/v0.1.0/SHA256SUMS"
        ]
    );
    let bin = fs::read_to_string(machine.path("github-path"))
        .unwrap()
        .trim()
        .to_owned();
    let output = fs::read_to_string(machine.path("github-output")).unwrap();
    let program = output.trim().strip_prefix("path=").unwrap();
    assert_eq!(Path::new(program), Path::new(&bin).join("roadstead"));

    let service =
        Server::start(|_| Router::new().fallback(async || axum::Json(json!({ "value": TRUSTED_TOKEN }))));
    let login = machine
        .isolated(script("login"))
        .env("PATH", "/usr/bin:/bin")
        .env("HOST", registry.host())
        .env("IDENTITY", "acme/ci")
        .env("AUDIENCE", "")
        .env("CA_FILE", "")
        .env("CONFIGURE_DOCKER", "true")
        .env("PROGRAM", program)
        .env(
            "ACTIONS_ID_TOKEN_REQUEST_URL",
            format!("http://{}/?a=b", service.address()),
        )
        .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of-the-job")
        .output()
        .unwrap();
    assert_code(&login, 0);
    assert!(!stdout(&login).contains("NOT on PATH"), "{}", stdout(&login));
    for secret in [TRUSTED_TOKEN, "access-1", "of-the-job"] {
        assert!(!stdout(&login).contains(secret) && !stderr(&login).contains(secret));
    }
    assert!(registry.sts(|sts| sts.forms[0].contains(&("identity".to_owned(), "acme/ci".to_owned()))));
    let config = fs::read(machine.path("home/.docker/config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["credHelpers"][registry.host()], "roadstead");
    assert!(Path::new(&bin).join("docker-credential-roadstead").exists());
}

#[test]
fn what_has_another_checksum_is_not_unpacked() {
    let machine = Machine::new();
    let archive = archive(&machine);
    let right = Digest::sha256(&archive);
    let other = Digest::sha256(b"something else");
    let (server, _) = releases(archive, sums(&other));
    let altered = install(&machine, &server, "latest", "");
    assert_code(&altered, 1);
    assert!(stderr(&altered).contains("not unpacked"), "{}", stderr(&altered));
    assert!(!machine.path("github-path").exists());

    // Whoever names the checksum does not depend on the release's own list.
    let pinned = install(&machine, &server, "latest", right.encoded());
    assert_code(&pinned, 0);
    let wrong = install(&machine, &server, "latest", other.encoded());
    assert_code(&wrong, 1);
}

#[test]
fn what_is_no_version_and_what_has_no_checksum_is_refused() {
    let machine = Machine::new();
    let archive = archive(&machine);
    let (server, fetched) = releases(archive, String::new());
    for version in ["../../evil", "0.1", "$(id)", "0.1.0/../..", ""] {
        assert_code(&install(&machine, &server, version, ""), 1);
    }
    assert!(fetched.lock().unwrap().is_empty());
    let unlisted = install(&machine, &server, "0.1.0", "");
    assert_code(&unlisted, 1);
    assert!(stderr(&unlisted).contains("no checksum"), "{}", stderr(&unlisted));
    assert!(!machine.path("github-path").exists());
}
