//! Starting, serving and stopping.

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;

use reqwest::StatusCode;
use reqwest::header::WWW_AUTHENTICATE;
use roadstead_all_in_one::{BusyPort, Options, start};
use tokio::net::TcpListener;

use crate::tree;

fn client() -> reqwest::Client {
    roadstead_runtime::install_crypto();
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

#[tokio::test(flavor = "multi_thread")]
async fn serves_until_stopped_and_again_on_the_same_data() {
    let dir = tempfile::tempdir().expect("directory");
    let client = client();
    let mut keys = Vec::new();
    for _ in 0..2 {
        let running = Box::pin(start(Options::new(tree(dir.path()))))
            .await
            .expect("starts");
        let (address, admin) = (running.address, running.admin);
        assert_eq!(running.ready_line(), format!("roadstead ready: http://{address}"));

        let answer = client
            .get(format!("http://{address}/v2/"))
            .send()
            .await
            .expect("answers");
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        let challenge = answer.headers()[WWW_AUTHENTICATE].to_str().expect("text");
        assert!(
            challenge.starts_with(&format!("Bearer realm=\"http://{address}/token\"")),
            "{challenge}"
        );
        assert!(
            challenge.contains(&format!("service=\"{address}\"")),
            "{challenge}"
        );

        let ready = client
            .get(format!("http://{admin}/readyz"))
            .send()
            .await
            .expect("answers");
        assert_eq!(ready.status(), StatusCode::OK);
        let body = ready.text().await.expect("text");
        for service in ["auth", "blobs", "metadata", "events", "gateway"] {
            assert!(body.contains(&format!("{service}: ready")), "{body}");
        }

        let key = dir.path().join("seal.key");
        assert_eq!(
            std::fs::metadata(&key).expect("made").permissions().mode() & 0o777,
            0o600
        );
        keys.push(std::fs::read(&key).expect("a key"));

        running.stop().await.expect("an orderly end");
        assert!(
            client.get(format!("http://{address}/v2/")).send().await.is_err(),
            "nothing listens any more"
        );
    }
    assert_eq!(
        keys[0], keys[1],
        "state sealed before a restart must open after it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_port_is_an_error_or_gives_way_to_the_next() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a free port");
    let address = taken.local_addr().expect("bound");
    let dir = tempfile::tempdir().expect("directory");
    let options = Options::new(tree(dir.path()).with("gateway.listen", address.to_string()));

    let error = Box::pin(start(options.clone())).await.expect_err("taken");
    assert!(
        error.to_string().contains(&format!("{address} is in use")),
        "{error:#}"
    );

    let running = Box::pin(start(Options {
        busy_port: BusyPort::TakeNext,
        ..options
    }))
    .await
    .expect("starts");
    assert!(running.address.port() > address.port());
    assert_eq!(
        running.public_url.port(),
        Some(running.address.port()),
        "tokens name the port that it became"
    );
    running.stop().await.expect("an orderly end");
}

#[tokio::test]
async fn problems_of_all_services_are_reported_together_and_nothing_is_touched() {
    let dir = tempfile::tempdir().expect("directory");
    let data = dir.path().join("data");
    let tree = tree(&data)
        .with("gateway.listen", "0.0.0.0:0")
        .with("auth.isuers", "x")
        .with("blobs.rot", "x")
        .with("metadata.manifest_validation", "srict");
    let error = Box::pin(start(Options::new(tree)))
        .await
        .expect_err("refused")
        .to_string();
    for expected in [
        "gateway.public_url: is required",
        "auth.isuers: ",
        "`root`",
        "`strict`",
    ] {
        assert!(error.contains(expected), "{expected} in {error}");
    }
    assert!(!data.exists());
}

#[tokio::test]
async fn the_development_issuer_is_refused_beyond_loopback() {
    let dir = tempfile::tempdir().expect("directory");
    for key in ["gateway.dev", "auth.dev"] {
        let tree = tree(dir.path())
            .with("gateway.listen", "0.0.0.0:0")
            .with("gateway.public_url", "https://registry.example.com")
            .with(key, true);
        let error = Box::pin(start(Options::new(tree))).await.expect_err("refused");
        assert!(format!("{error:#}").contains("loopback"), "{key}: {error:#}");
    }
}
