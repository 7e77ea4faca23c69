//! Those who would be somebody else: issuers that look like one that is trusted, subjects that look like one that a rule
//! means, and issuers that turn against the registry.

use anyhow::{Context as _, Result, ensure};
use futures::FutureExt as _;
use roadstead_integration_tests::cluster::Home;
use roadstead_integration_tests::{Cluster, Mode, in_both_modes, ports};
use roadstead_proto::auth::v1::{ClaimMatch, StaticKeys, create_identity_request};
use roadstead_proto::common::v1::ErrorReason;
use roadstead_testkit::{Fault, GitHubJob, OidcIssuer, SigningKey, TestCertificates};
use roadstead_types::Clock;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::attacks::{refused_with, with_release};
use crate::organisation::{AUDIENCE, Organisation, exactly, exchange, exchanged};

in_both_modes!(
    issuers_that_look_alike_are_strangers,
    patterns_match_whole_subjects,
);

/// How the URL of an issuer can be made to look like another's.
fn look_alikes(issuer: &str) -> Vec<String> {
    let host = issuer.trim_start_matches("https://");
    [
        format!("{issuer}/"),
        format!("{issuer}."),
        format!("{issuer}:443"),
        format!("{issuer}:8443"),
        format!("{issuer}/x"),
        format!("{issuer}/x/.."),
        format!("{issuer}/."),
        format!("{issuer}//"),
        format!("{issuer}?x"),
        format!("{issuer}#x"),
        format!("{issuer}%2e"),
        format!("{issuer}\u{0}"),
        format!("{issuer} "),
        format!(" {issuer}"),
        format!("{issuer}.evil.example"),
        format!("{issuer}@evil.example"),
        format!("https://evil.example@{host}"),
        format!("https://evil.example/{host}"),
        format!("https://x.{host}"),
        format!("http://{host}"),
        host.to_owned(),
        format!("//{host}"),
        format!("HTTPS://{host}"),
        format!("https://{}", host.to_uppercase()),
        // A Cyrillic о, a full stop of another script, a soft hyphen, and letters that fold to ASCII.
        format!("https://{}", host.replace('o', "\u{43e}")),
        format!("https://{}", host.replace('.', "\u{3002}")),
        format!("https://{}", host.replacen('t', "t\u{ad}", 1)),
        format!(
            "https://{}",
            host.replacen('k', "\u{212a}", 1).replacen('s', "\u{17f}", 1)
        ),
    ]
    .into_iter()
    .filter(|text| text != issuer)
    .collect()
}

/// Whoever signs, even the platform itself: a name that is not exactly an issuer's is nobody's.
async fn issuers_that_look_alike_are_strangers(mode: Mode) -> Result<()> {
    let (organisation, job) = with_release(mode).await?;
    let registry = organisation.cluster.anonymous()?;
    exchange(&registry, &organisation.issuers.workload(&job.workload()))
        .await?
        .expect(200)?;
    for issuer in look_alikes(GitHubJob::ISSUER) {
        let workload = job.workload().at(&issuer);
        let token = organisation.issuers.workload(&workload);
        refused_with(exchange(&registry, &token).await, &issuer).await?;
        let rule = exactly(&workload);
        let refused = organisation.root.create_claim_match("acme", "alike", rule).await;
        let status = refused.err().with_context(|| format!("a rule of {issuer:?}"))?;
        ensure!(
            roadstead_rpc::reason(&status) == ErrorReason::IdentityInvalid,
            "{issuer:?}: {status:?}"
        );
    }
    // The platform's key says nothing about people, nor the other way round.
    let person = job.workload().at(organisation.issuers.people.url());
    let claims = person.claims(AUDIENCE, Clock::system().unix_seconds());
    let key = organisation.issuers.platforms.es256_key();
    refused_with(
        exchange(&registry, &key.sign("JWT", &claims)).await,
        "a platform that speaks of people",
    )
    .await?;
    let stranger = SigningKey::es256("first");
    let claims = job.workload().claims(AUDIENCE, Clock::system().unix_seconds());
    refused_with(
        exchange(&registry, &stranger.sign("JWT", &claims)).await,
        "a stranger's key under a known id",
    )
    .await?;
    the_keys_of_static_identities(&organisation).await?;
    organisation.stop().await
}

/// Keys that are registered with an identity speak for that identity, and for no issuer of the configuration.
async fn the_keys_of_static_identities(organisation: &Organisation) -> Result<()> {
    let registry = organisation.cluster.anonymous()?;
    let key = SigningKey::es256("robot");
    let now = Clock::system().unix_seconds();
    let rule = |issuer: &str, jwk: Value| {
        create_identity_request::Rule::Static(StaticKeys {
            issuer: issuer.to_owned(),
            subject: "robot".to_owned(),
            audience: AUDIENCE.to_owned(),
            jwks_json: json!({ "keys": [jwk] }).to_string(),
            expires_at: now + 3_600,
        })
    };
    let root = &organisation.root;
    let mut private = key.jwk();
    private["d"] = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let own = format!("http://{}", organisation.cluster.address());
    let secret = json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "robot" });
    for (issuer, jwk) in [
        ("https://robots.example", private),
        ("https://robots.example", secret),
        (GitHubJob::ISSUER, key.jwk()),
        (organisation.issuers.people.url(), key.jwk()),
        (own.as_str(), key.jwk()),
    ] {
        let refused = root.create_identity("acme", "robot", rule(issuer, jwk)).await;
        let status = refused.err().with_context(|| format!("keys for {issuer}"))?;
        ensure!(
            roadstead_rpc::reason(&status) == ErrorReason::IdentityInvalid,
            "{issuer}: {status:?}"
        );
    }
    root.create_identity("acme", "robot", rule("https://robots.example", key.jwk()))
        .await?;
    let token = |issuer: &str, subject: &str, key: &SigningKey| {
        let claims = json!({ "iss": issuer, "sub": subject, "aud": AUDIENCE, "iat": now, "exp": now + 300 });
        key.sign("JWT", &claims)
    };
    let answer = exchanged(&registry, &token("https://robots.example", "robot", &key)).await?;
    ensure!(answer["identities"][0]["name"] == "acme/robot", "{answer}");
    for (what, token) in [
        ("another subject", token("https://robots.example", "other", &key)),
        ("another issuer", token(GitHubJob::ISSUER, "robot", &key)),
        (
            "another key",
            token("https://robots.example", "robot", &SigningKey::es256("robot")),
        ),
    ] {
        refused_with(exchange(&registry, &token).await, what).await?;
    }
    Ok(())
}

/// A pattern means the whole subject: what stands around it, on the same line or another, makes it another subject.
async fn patterns_match_whole_subjects(mode: Mode) -> Result<()> {
    let organisation = Organisation::start(mode).await?;
    let registry = organisation.cluster.anonymous()?;
    let root = &organisation.root;
    root.create_group("acme").await?;
    let pattern = |subject: &str| ClaimMatch {
        issuer: GitHubJob::ISSUER.to_owned(),
        subject_pattern: subject.to_owned(),
        ..ClaimMatch::default()
    };
    root.create_claim_match(
        "acme",
        "releases",
        pattern("repo:acme/images:ref:refs/(heads/main|tags/v[0-9.]+)"),
    )
    .await?;
    // Each branch of an alternative is anchored on both sides.
    root.create_claim_match("acme", "either", pattern("repo:acme/a:x|repo:acme/b:x"))
        .await?;
    let job = GitHubJob::on_branch("acme/images", "main").workload();
    let identities = async |subject: &str| {
        let workload = job.clone().with("sub", json!(subject));
        let reply = exchange(&registry, &organisation.issuers.workload(&workload)).await?;
        // Some subjects are nobody's from the first.
        if reply.status == 403 {
            return anyhow::Ok(0);
        }
        let answer = reply.expect(200)?.json()?;
        Ok(answer["identities"].as_array().map_or(0, Vec::len))
    };
    for subject in [
        "repo:acme/images:ref:refs/heads/main",
        "repo:acme/images:ref:refs/tags/v1.2",
        "repo:acme/a:x",
        "repo:acme/b:x",
    ] {
        ensure!(identities(subject).await? == 1, "{subject:?}");
    }
    for subject in [
        "xrepo:acme/images:ref:refs/heads/main",
        "repo:acme/images:ref:refs/heads/mainx",
        "repo:acme/images:ref:refs/heads/main\n",
        "\nrepo:acme/images:ref:refs/heads/main",
        "x\nrepo:acme/images:ref:refs/heads/main\nx",
        "repo:acme/images:ref:refs/heads/main\u{2028}x",
        "REPO:ACME/IMAGES:REF:REFS/HEADS/MAIN",
        "repo:acme/images:ref:refs/heads/main\u{0}",
        "repo:acme/a:xy",
        "xrepo:acme/b:x",
        "repo:acme/a:x|repo:acme/b:x",
    ] {
        ensure!(
            identities(subject).await? == 0,
            "{subject:?} was taken for another"
        );
    }
    // Patterns that mean everybody, that are none, or that take the machine with them.
    for bad in [
        ".*",
        ".+",
        "^.*$",
        "(?s).*",
        "[^\\n]*",
        "(.|\\n)*",
        "(",
        "a)|(.*",
        "(?i",
        "\\",
        "(a{1000}){1000}",
        "",
    ] {
        let refused = root.create_claim_match("acme", "bad", pattern(bad)).await;
        let status = refused.err().with_context(|| format!("pattern {bad:?}"))?;
        ensure!(
            roadstead_rpc::reason(&status) == ErrorReason::IdentityInvalid,
            "{bad:?}: {status:?}"
        );
    }
    organisation.stop().await
}

/// An issuer that turns against the registry sends it nowhere, and is not believed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_turns_gets_nowhere() -> Result<()> {
    let victim = TcpListener::bind("127.0.0.1:0").await?;
    let inside = victim.local_addr()?;
    let home = Home::new()?;
    let certificates = TestCertificates::mint();
    let ca_file = home.scratch().join("ca.pem");
    std::fs::write(&ca_file, certificates.authority_pem())?;
    let mut issuers = vec![("nothing", issuer(&certificates).await)];
    for (what, keys) in [
        ("keys inside", format!("http://{inside}/keys")),
        (
            "keys of the cloud",
            "http://169.254.169.254/latest/meta-data/".to_owned(),
        ),
        ("keys in a file", "file:///etc/passwd".to_owned()),
    ] {
        let issuer = issuer(&certificates).await;
        issuer.set_jwks_uri(&keys);
        issuers.push((what, issuer));
    }
    for (what, fault) in [
        ("answers without end", Fault::Oversized),
        ("another's document", Fault::OtherIssuer),
        ("no keys", Fault::NoKeys),
        ("an answer elsewhere", Fault::Redirect),
        ("no answer", Fault::Unavailable),
    ] {
        let issuer = issuer(&certificates).await;
        issuer.set_fault(Some(fault));
        issuers.push((what, issuer));
    }
    let trusted: Vec<String> = issuers
        .iter()
        .map(|(_, issuer)| {
            let (url, ca_file) = (issuer.url(), ca_file.display());
            format!("{{issuer=\"{url}\",audience=\"{AUDIENCE}\",allow_private=true,ca_file=\"{ca_file}\"}}")
        })
        .collect();
    let cluster = Cluster::setup(Mode::AllInOne)
        .without_dev()
        .with("auth.issuers", &format!("[{}]", trusted.join(",")))
        .start_in(home, ports::free()?)
        .await?;
    for (what, issuer) in &issuers {
        let token = issuer.issue(&json!({ "sub": "ci", "aud": AUDIENCE }));
        let reply = exchange(&cluster.anonymous()?, &token).await?;
        let is_refused = matches!(reply.status.as_u16(), 401 | 503);
        ensure!(is_refused == (*what != "nothing"), "{what}: {}", reply.status);
    }
    let reached = victim.accept().now_or_never();
    ensure!(reached.is_none(), "the registry went where an issuer sent it");
    cluster.stop().await.map(drop)
}

async fn issuer(certificates: &TestCertificates) -> OidcIssuer {
    OidcIssuer::start_tls(Clock::system(), certificates).await
}
