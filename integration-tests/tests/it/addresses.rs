//! The public address is the configured one, whatever a request says.

use anyhow::Result;
use reqwest::Method;
use roadstead_integration_tests::registry::challenge;
use roadstead_integration_tests::{Cluster, Credential, Mode, Registry, Request, in_both_modes};

in_both_modes!(
    what_a_request_says_of_the_address_changes_nothing,
    a_trusted_proxy_changes_no_address_either,
    localhost_is_as_good_as_its_number,
    the_development_issuer_answers_loopback_only,
);

const SPOOFS: [(&str, &str); 7] = [
    ("host", "evil.test"),
    ("x-forwarded-host", "evil.test"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-for", "203.0.113.7"),
    ("x-forwarded-port", "1"),
    ("x-forwarded-prefix", "/evil"),
    ("forwarded", "for=203.0.113.7;host=evil.test;proto=https"),
];

async fn unchanged_by_spoofs(cluster: &Cluster) -> Result<()> {
    let registry = cluster.developer().await?;
    let session = registry.session_for(&["addresses/one"]).await?;
    let public = format!("http://{}", cluster.address());
    for (name, value) in SPOOFS {
        let spoofed = |request: Request| request.header(name, value);
        let reply = spoofed(registry.request(Method::GET, "/v2/"))
            .send()
            .await?
            .expect(401)?;
        let challenge = challenge(&reply)?;
        assert_eq!(challenge["realm"], format!("{public}/token"), "{name}");
        assert_eq!(challenge["service"], cluster.address(), "{name}");

        let upload = spoofed(session.request(Method::POST, "/v2/addresses/one/blobs/uploads/"))
            .send()
            .await?
            .expect(202)?;
        assert!(
            upload.location()?.starts_with("/v2/addresses/one/"),
            "{name}: {}",
            upload.location()?
        );
        let discovery = spoofed(registry.request(Method::GET, "/.well-known/openid-configuration"))
            .send()
            .await?;
        assert_eq!(discovery.expect(200)?.json()?["issuer"], public, "{name}");
    }
    Ok(())
}

async fn what_a_request_says_of_the_address_changes_nothing(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    unchanged_by_spoofs(&cluster).await?;
    cluster.stop().await.map(drop)
}

async fn a_trusted_proxy_changes_no_address_either(mode: Mode) -> Result<()> {
    let cluster = Cluster::setup(mode)
        .with("gateway.trusted_proxies", "[\"127.0.0.1/32\"]")
        .start()
        .await?;
    unchanged_by_spoofs(&cluster).await?;
    cluster.stop().await.map(drop)
}

async fn localhost_is_as_good_as_its_number(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let access = cluster.access_token().await?;
    let base = format!("http://localhost:{}", cluster.port());
    let localhost = Registry::new(&base, Credential::Token(access))?;
    let reply = localhost.get("/v2/").await?.expect(401)?;
    let challenge = challenge(&reply)?;
    // Clients refuse to send credentials to another host than the registry's.
    assert_eq!(challenge["realm"], format!("{base}/token"));
    let session = localhost
        .known_as(&challenge["service"])
        .session_for(&["addresses/two"])
        .await?;
    session.push_blob("addresses/two", b"by name").await?;
    cluster.stop().await.map(drop)
}

async fn the_development_issuer_answers_loopback_only(mode: Mode) -> Result<()> {
    let cluster = Cluster::start(mode).await?;
    let registry = cluster.anonymous()?;
    registry
        .request(Method::POST, "/dev/token")
        .send()
        .await?
        .expect(403)?;

    let secret = std::fs::read_to_string(find_secret(&cluster)?)?;
    let ask = || {
        registry
            .request(Method::POST, "/dev/token")
            .header("x-roadstead-dev", secret.trim())
    };
    ask().send().await?.expect(200)?;
    let address = cluster.address();
    for (name, value) in SPOOFS.into_iter().filter(|(name, _)| *name != "host") {
        ask()
            .header(name, value)
            .send()
            .await?
            .expect(403)
            .map_err(|error| error.context(name))?;
    }
    for (name, value) in [
        ("origin", "http://localhost"),
        ("sec-fetch-site", "same-origin"),
        ("host", "evil.test"),
    ] {
        ask()
            .header(name, value)
            .send()
            .await?
            .expect(403)
            .map_err(|error| error.context(name))?;
    }
    let get = registry
        .request(Method::GET, &format!("http://{address}/dev/token"))
        .header("x-roadstead-dev", secret.trim());
    assert!(
        get.send().await?.status.is_client_error(),
        "a link must not be enough"
    );
    cluster.stop().await.map(drop)
}

fn find_secret(cluster: &Cluster) -> Result<std::path::PathBuf> {
    use std::os::unix::fs::MetadataExt as _;
    let environment = cluster.home().environment();
    let runtime = environment
        .iter()
        .find(|(name, _)| name == "XDG_RUNTIME_DIR")
        .map(|(_, path)| path.clone());
    let path = format!(
        "{}/roadstead/dev-{}.secret",
        runtime.unwrap_or_default(),
        cluster.port()
    );
    anyhow::ensure!(
        std::fs::metadata(&path)?.mode() & 0o777 == 0o600,
        "others can read {path}"
    );
    Ok(path.into())
}
