//! A service as a program of its own: started, asked, signalled.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use roadstead_rpc::{CallPolicy, Endpoint, Peer, RpcChannel};
use roadstead_runtime::{certificates, install_crypto};
use roadstead_types::Clock;
use rustix::process::{Pid, Signal, kill_process};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::admin::get;
use crate::certificates::identity;

/// How long a program may take for anything before the test fails.
const LIMIT: Duration = Duration::from_secs(20);

/// Cargo builds a package's examples before it runs its tests, and leaves them beside those.
fn program() -> Command {
    let test = std::env::current_exe().expect("this test's path");
    let target: PathBuf = test.ancestors().nth(2).expect("the target directory").to_owned();
    let mut command = Command::new(target.join("examples/idle-service"));
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .stdin(Stdio::null());
    command
}

struct Service {
    child: Child,
    stdout: BufReader<ChildStdout>,
    rpc: SocketAddr,
    admin: SocketAddr,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

impl Service {
    fn start(dir: &Path, more: &[(&str, &str)], environment: &[(&str, &str)]) -> Self {
        certificates::mint(dir, &Clock::system()).expect("mints");
        let path = |name: &str| dir.join(name).to_str().expect("UTF-8").to_owned();
        let mut command = program();
        let settings = [
            ("runtime.data_dir", path("data")),
            ("runtime.admin_listen", "127.0.0.1:0".to_owned()),
            ("rpc.listen", "127.0.0.1:0".to_owned()),
            ("rpc.endpoints.auth", "https://127.0.0.1:1".to_owned()),
            ("rpc.tls.ca_file", path("ca.pem")),
            ("rpc.tls.cert_file", path("events.pem")),
            ("rpc.tls.key_file", path("events.key")),
        ];
        let more = more.iter().map(|(key, value)| (*key, (*value).to_owned()));
        for (key, value) in settings.into_iter().chain(more) {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        let mut child = command.envs(environment.iter().copied()).spawn().expect("starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        let words: Vec<_> = line.split_whitespace().collect();
        let ["roadstead-events", "ready:", "rpc", rpc, "admin", admin] = words[..] else {
            panic!("not a ready line: {line:?}")
        };
        let (rpc, admin) = (
            rpc.parse().expect("an address"),
            admin.parse().expect("an address"),
        );
        Self {
            child,
            stdout,
            rpc,
            admin,
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("signalled");
    }

    async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < deadline, "still running");
            tokio::task::yield_now().await;
        }
    }

    async fn health(&self, dir: &Path) {
        install_crypto();
        let endpoint = Endpoint {
            uri: format!("https://{}", self.rpc),
            server: Peer::Events,
        };
        let channel =
            RpcChannel::connect(endpoint, &identity(dir, "gateway"), CallPolicy::default()).expect("valid");
        HealthClient::new(channel)
            .check(HealthCheckRequest::default())
            .await
            .expect("answers");
    }
}

#[tokio::test]
async fn serves_and_ends_in_order_on_sigterm_and_sigint() {
    for signal in [Signal::TERM, Signal::INT] {
        let dir = tempfile::tempdir().expect("directory");
        // Far longer than the test: only a second signal ends it, so what is seen in between is seen for certain.
        let mut service = Service::start(dir.path(), &[("runtime.drain_delay", "1h")], &[]);
        service.health(dir.path()).await;
        assert_eq!(get(service.admin, "/readyz").await.0, 200);

        service.signal(signal);
        let deadline = Instant::now() + LIMIT;
        while get(service.admin, "/readyz").await.0 != 503 {
            assert!(Instant::now() < deadline, "still ready");
        }
        // Draining: not ready, and still serving.
        service.health(dir.path()).await;
        assert_eq!(get(service.admin, "/livez").await.0, 200);

        service.signal(signal);
        assert_eq!(service.ended().await.code(), Some(0));
        let mut rest = String::new();
        service.stdout.read_to_string(&mut rest).expect("the end");
        assert_eq!(rest, "", "one line on stdout, no more");
    }
}

#[tokio::test]
async fn a_signal_that_answers_the_ready_line_is_not_too_early() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().expect("directory");
        let mut service = Service::start(dir.path(), &[("runtime.drain_delay", "0s")], &[]);
        service.signal(Signal::TERM);
        assert_eq!(service.ended().await.code(), Some(0));
    }
}

#[tokio::test]
async fn spans_are_exported_where_the_standard_variable_says_and_never_hold_up_the_end() {
    let collector = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let endpoint = format!("http://{}", collector.local_addr().expect("bound"));
    let dir = tempfile::tempdir().expect("directory");
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())];
    let mut service = Service::start(dir.path(), &[("telemetry.flush_timeout", "1s")], &environment);
    service.health(dir.path()).await;
    service.signal(Signal::TERM);
    // This collector takes the connection and never answers.
    assert_eq!(service.ended().await.code(), Some(0));
    collector.set_nonblocking(true).expect("a socket");
    let (mut connection, _) = collector.accept().expect("the exporter had connected");
    connection.set_nonblocking(false).expect("a socket");
    let mut preface = [0; 14];
    connection.read_exact(&mut preface).expect("sent");
    assert_eq!(&preface, b"PRI * HTTP/2.0");
}

#[test]
fn refuses_to_start_without_mutual_tls_and_says_all_that_is_missing() {
    let output = program()
        .args([
            "--set",
            "events.delivery=true",
            "--set",
            "events.deliver=true",
            "--set",
            "rpc.listn=127.0.0.1:0",
        ])
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    for expected in [
        "events.delivery: this service delivers nothing",
        "events.deliver: unknown key, did you mean `delivery`?",
        "rpc.listn: unknown key, did you mean `listen`?",
        "rpc.listen: is required",
        "rpc.tls: is required",
        "rpc.endpoints.auth: is required",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
}
