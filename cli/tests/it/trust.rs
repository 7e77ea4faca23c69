//! Whose certificates are believed: the system's authorities, those of `SSL_CERT_FILE` instead, and `--ca-file` beside them.
//! For a registry and for an issuer alike.

use std::fs;

use roadstead_testkit::{OidcIssuer, TestCertificates};
use roadstead_types::Clock;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::support::{Machine, Registry, assert_code, stderr};

/// Something at `https://localhost:<port>` whose certificate an authority of its own signed.
struct Secured {
    issuer: OidcIssuer,
    // Dropped after what runs in it.
    _runtime: Runtime,
}

impl Secured {
    fn start(machine: &Machine) -> Self {
        let certificates = TestCertificates::mint();
        fs::write(machine.path("ca.pem"), certificates.authority_pem()).unwrap();
        fs::write(
            machine.path("other.pem"),
            TestCertificates::mint().authority_pem(),
        )
        .unwrap();
        let runtime = Runtime::new().unwrap();
        let issuer = runtime.block_on(OidcIssuer::start_tls(Clock::system(), &certificates));
        Self {
            issuer,
            _runtime: runtime,
        }
    }
}

#[test]
fn a_registry_is_believed_by_its_authority() {
    let machine = Machine::new();
    let secured = Secured::start(&machine);
    let host = format!("localhost:{}", secured.issuer.port());
    let login = |more: &[&str], variable: Option<&str>| {
        let mut command = machine.command(&["login", &host, "--device"]);
        command.args(more);
        if let Some(file) = variable {
            command.env("SSL_CERT_FILE", machine.path(file));
        }
        command.output().unwrap()
    };
    let stranger = login(&[], None);
    assert_code(&stranger, 4);
    assert!(stderr(&stranger).contains("--ca-file"), "{}", stderr(&stranger));
    assert_code(&login(&["--ca-file", "other.pem"], None), 4);
    assert_code(&login(&[], Some("other.pem")), 4);
    // Reached, it turns out to be no registry that people log in to.
    for reached in [
        login(&["--ca-file", "ca.pem"], None),
        login(&[], Some("ca.pem")),
        login(&["--ca-file", "ca.pem"], Some("other.pem")),
    ] {
        assert_code(&reached, 3);
        assert!(
            stderr(&reached).contains("names no issuer"),
            "{}",
            stderr(&reached)
        );
    }
    fs::write(machine.path("empty.pem"), "").unwrap();
    assert_code(&login(&["--ca-file", "empty.pem"], None), 2);
}

#[test]
fn an_issuer_is_believed_by_the_same_authorities() {
    let machine = Machine::new();
    let secured = Secured::start(&machine);
    let registry = Registry::start();
    registry.describe(json!({ "issuers": [{ "issuer": secured.issuer.url(), "client_id": "c" }] }));
    let login = |more: &[&str]| {
        let mut command = machine.command(&["login", &registry.host(), "--device"]);
        command.args(more).output().unwrap()
    };
    let stranger = login(&[]);
    assert_code(&stranger, 3);
    assert!(
        stderr(&stranger).contains("UnknownIssuer"),
        "{}",
        stderr(&stranger)
    );
    assert_eq!(secured.issuer.discoveries(), 0);
    // Reached, it turns out to be an issuer for workloads, which has no page to log in at.
    let reached = login(&["--ca-file", "ca.pem"]);
    assert_code(&reached, 3);
    assert_eq!(secured.issuer.discoveries(), 1);
}
