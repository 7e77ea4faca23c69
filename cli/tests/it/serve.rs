use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use x509_parser::{
    extensions::{GeneralName, ParsedExtension},
    pem::Pem,
};

use crate::support::{Machine, assert_code, mode, stderr, stdout};

/// Bounds every wait; nothing takes this long unless it hangs.
const DEADLINE: Duration = Duration::from_secs(90);

/// The program with ports that no other test has.
fn serving(machine: &Machine, arguments: &[&str]) -> Command {
    let mut command = machine.command(arguments);
    command
        .env("ROADSTEAD__RUNTIME__ADMIN_LISTEN", "127.0.0.1:0")
        .env("ROADSTEAD__RUNTIME__DRAIN_DELAY", "0s")
        .env("ROADSTEAD__RUNTIME__LOG_FILTER", "warn");
    command
}

/// A running `serve`, killed when a test fails.
pub(crate) struct Server {
    child: Child,
    output: BufReader<ChildStdout>,
    ready_line: String,
}

impl Server {
    pub(crate) fn start(machine: &Machine, arguments: &[&str]) -> Self {
        let mut command = serving(machine, &["serve", "--listen", "127.0.0.1:0"]);
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let (send, line) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            send.send((line, output))
        });
        let Ok((ready_line, output)) = line.recv_timeout(DEADLINE) else {
            child.kill().unwrap();
            panic!("no line within {DEADLINE:?}");
        };
        Self {
            child,
            output,
            ready_line,
        }
    }

    pub(crate) fn host(&self) -> String {
        let (_, url) = self
            .ready_line
            .trim()
            .split_once("http://")
            .expect("the ready line names the address");
        url.to_owned()
    }

    /// Stops it as a service manager does; returns the exit code and what else it printed.
    pub(crate) fn stop(mut self) -> (Option<i32>, String) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

fn quickstart(machine: &Machine, listen: &str) -> Output {
    serving(
        machine,
        &["quickstart", "--exit", "--data-dir", "data", "--listen", listen],
    )
    .output()
    .unwrap()
}

#[test]
fn quickstart_pushes_pulls_and_verifies() {
    let machine = Machine::new();
    let first = quickstart(&machine, "127.0.0.1:0");
    assert_code(&first, 0);
    let text = stdout(&first);
    assert!(text.contains("Verified: 9 objects"), "{text}");
    assert_eq!(text.matches("already there").count(), 0, "{text}");
    assert!(text.contains("sha256:"), "{text}");
    for command in [
        "docker login",
        "podman login --tls-verify=false",
        "skopeo copy",
        "crane auth login",
        "oras login",
    ] {
        assert!(text.contains(command), "{command} is missing: {text}");
    }
    let token =
        fs::read_to_string(find(&machine.path("cache/roadstead"), "access-token.json").remove(0)).unwrap();
    let token: serde_json::Value = serde_json::from_str(&token).unwrap();
    assert!(
        !text.contains(token["access_token"].as_str().unwrap()),
        "the token must not be printed"
    );

    let second = quickstart(&machine, "127.0.0.1:0");
    assert_code(&second, 0);
    assert_eq!(
        stdout(&second).matches("already there").count(),
        6,
        "{}",
        stdout(&second)
    );
}

#[test]
fn quickstart_fails_when_a_byte_is_wrong() {
    let machine = Machine::new();
    assert_code(&quickstart(&machine, "127.0.0.1:0"), 0);
    let largest = find(&machine.path("data/blobs"), "")
        .into_iter()
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .expect("the image's layers are on disk");
    let mut content = fs::read(&largest).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    fs::write(&largest, content).unwrap();
    let output = quickstart(&machine, "127.0.0.1:0");
    assert_code(&output, 1);
    assert!(
        stderr(&output).contains("verification failed"),
        "{}",
        stderr(&output)
    );
    assert!(!stdout(&output).contains("Verified"), "{}", stdout(&output));
}

#[test]
fn quickstart_takes_the_next_port_and_says_so() {
    let machine = Machine::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = quickstart(&machine, &format!("127.0.0.1:{port}"));
    assert_code(&output, 0);
    assert!(
        stdout(&output).contains(&format!("Port {port} is in use")),
        "{}",
        stdout(&output)
    );
}

#[test]
fn serve_prints_one_line_and_stops_in_order() {
    let machine = Machine::new();
    let server = Server::start(&machine, &["--dev"]);
    let host = server.host();
    assert_code(&machine.run(&["login", &host]), 0);
    let token = machine.run(&["auth", "token", &host]);
    assert_code(&token, 0);
    assert_eq!(stdout(&token).trim().split('.').count(), 3, "the token is a JWT");
    assert_code(&machine.run(&["events", "list"]), 0);
    let (code, rest) = server.stop();
    assert_eq!(code, Some(0));
    assert_eq!(rest, "");
}

#[test]
fn without_dev_nobody_is_logged_in_unasked() {
    let machine = Machine::new();
    let server = Server::start(&machine, &[]);
    let login = machine.run(&["login", &server.host()]);
    assert_code(&login, 3);
    assert!(stderr(&login).contains("serve --dev"), "{}", stderr(&login));
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn the_development_issuer_refuses_other_machines() {
    let machine = Machine::new();
    let output = serving(&machine, &["serve", "--dev", "--listen", "0.0.0.0:0"])
        .env("ROADSTEAD__GATEWAY__PUBLIC_URL", "https://registry.example")
        .output()
        .unwrap();
    assert_code(&output, 2);
    assert!(stderr(&output).contains("loopback"), "{}", stderr(&output));
}

#[test]
fn serve_refuses_a_configuration_as_a_usage_error() {
    let machine = Machine::new();
    let output = serving(&machine, &["serve", "--listen", "127.0.0.1:0"])
        .env("ROADSTEAD__BLOBS__ROT", "elsewhere")
        .output()
        .unwrap();
    assert_code(&output, 2);
    assert!(stderr(&output).contains("root"), "{}", stderr(&output));
}

#[test]
fn config_check_names_what_is_wrong() {
    let machine = Machine::new();
    let file = machine.path("roadstead.toml");
    fs::write(&file, "[gateway]\nlisten = \"127.0.0.1:5000\"\n").unwrap();
    let file = file.to_str().unwrap();
    assert_code(&machine.run(&["config", "check", "--config", file]), 0);
    let print = machine.run(&["config", "print", "--config", file]);
    assert_code(&print, 0);
    assert!(stdout(&print).contains("127.0.0.1:5000"));

    fs::write(file, "[gateway]\nlissen = \"127.0.0.1:5000\"\n[blob]\n").unwrap();
    let output = machine.run(&["config", "check", "--config", file]);
    assert_code(&output, 2);
    for name in ["listen", "blobs"] {
        assert!(stderr(&output).contains(name), "{}", stderr(&output));
    }
}

#[test]
fn certificates_are_short_lived_identities() {
    let machine = Machine::new();
    let out = machine.path("run");
    assert_code(&machine.run(&["certificates", "--out", out.to_str().unwrap()]), 0);
    let seal_key = fs::read_to_string(out.join("seal.key")).unwrap();
    assert_eq!(seal_key.trim().len(), 44, "32 bytes in base64");
    assert_eq!(mode(&out.join("seal.key")), 0o600);
    let authority = pem(&out.join("ca.pem"));
    let authority = authority.parse_x509().unwrap();
    for service in ["gateway", "auth", "metadata", "blobs", "events", "operator"] {
        assert_eq!(mode(&out.join(format!("{service}.key"))), 0o600);
        let pem = pem(&out.join(format!("{service}.pem")));
        let certificate = pem.parse_x509().unwrap();
        assert_eq!(certificate.issuer(), authority.subject());
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        let name = format!("{service}.roadstead.internal");
        assert_eq!(names.value.general_names, [GeneralName::DNSName(&name)]);
        let usage = certificate.extended_key_usage().unwrap().unwrap();
        assert!(usage.value.client_auth && usage.value.server_auth);
        let validity = certificate.validity();
        let days = (validity.not_after.timestamp() - validity.not_before.timestamp()) / 86_400;
        assert!((1..=31).contains(&days), "valid for {days} days");
    }
    assert!(authority.extensions().iter().any(|extension| {
        matches!(extension.parsed_extension(), ParsedExtension::BasicConstraints(constraints) if constraints.ca)
    }));
}

fn pem(path: &Path) -> Pem {
    Pem::iter_from_buffer(&fs::read(path).unwrap())
        .next()
        .unwrap()
        .unwrap()
}

/// All files under a directory whose name ends so.
fn find(directory: &Path, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(find(&path, name));
        } else if path.to_str().unwrap().ends_with(name) {
            found.push(path);
        }
    }
    found
}
