//! Very many identities and bindings, in the registry's own database.
//!
//! A million calls of the administration would take longer than everything that is measured, so the rows are written beside
//! the registry, as it writes them itself. The ones that are measured lie in the middle.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use roadstead_integration_tests::Cluster;
use roadstead_testkit::SigningKey;
use roadstead_types::Clock;
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

/// Where the measured identity may pull and push.
pub(crate) const REPOSITORY: &str = "bench-org/app0/image";

const ISSUER: &str = "https://workloads.bench.example";
const AUDIENCE: &str = "bench";
const KID: &str = "bench";
const LIFE_SECONDS: i64 = 3600;
const BINDINGS_PER_IDENTITY: usize = 10;
/// Rows of one transaction: the registry writes in between, and is not to wait for long.
const ROWS: usize = 20_000;

/// An issuer of workloads, and the key that it signs with.
#[derive(Debug)]
pub(crate) struct Permissions {
    key: SigningKey,
    /// Its public half, as the registry is told of it.
    jwks: NamedTempFile,
}

impl Permissions {
    pub(crate) fn new() -> Result<Self> {
        // As GitHub and GitLab sign.
        let key = SigningKey::rs256(KID);
        let jwks = NamedTempFile::new()?;
        std::fs::write(jwks.path(), json!({ "keys": [key.jwk()] }).to_string())?;
        Ok(Self { key, jwks })
    }

    /// The issuer as the configuration has it.
    pub(crate) fn issuer(&self) -> String {
        let jwks = self.jwks.path().display();
        format!("[{{issuer=\"{ISSUER}\",audience=\"{AUDIENCE}\",workload=true,jwks_file=\"{jwks}\"}}]")
    }

    /// A token as a build would have it.
    pub(crate) fn identity_token(&self) -> String {
        let now = Clock::system().unix_seconds();
        let claims = json!({
            "iss": ISSUER, "sub": subject(None), "aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + LIFE_SECONDS,
            "jti": "bench", "repository": "bench-org/app0", "repository_owner": "bench-org", "ref": "refs/heads/main",
            "ref_type": "branch", "environment": "production", "event_name": "push", "runner_environment": "hosted",
            "workflow_ref": "bench-org/app0/.github/workflows/release.yml@refs/heads/main", "run_id": "4000000000",
        });
        self.key.sign("JWT", &claims)
    }

    /// What the registry gives for it.
    pub(crate) async fn access_token(&self, cluster: &Cluster) -> Result<String> {
        let reply = cluster
            .anonymous()?
            .request(reqwest::Method::POST, "/sts/exchange")
            .header("authorization", &format!("Bearer {}", self.identity_token()))
            .send()
            .await?
            .expect(200)?;
        let token = reply.json()?["access_token"].as_str().map(str::to_owned);
        token.context("no access token")
    }
}

/// Requires that a registry token grants what was asked for: the measured identity was found among the others.
pub(crate) fn check(token: &str) -> Result<()> {
    let payload = token.split('.').nth(1).context("no JWT")?;
    let claims: Value =
        serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload)?)?;
    let expected = json!([{ "type": "repository", "name": REPOSITORY, "actions": ["pull", "push"] }]);
    ensure!(claims["access"] == expected, "it grants {}", claims["access"]);
    Ok(())
}

/// Writes identities, ten bindings for each.
pub(crate) fn fill(data: &Path, identities: usize) -> Result<()> {
    let file = data.join("auth/auth.db");
    let mut database = Connection::open(&file).with_context(|| format!("open {}", file.display()))?;
    database.busy_timeout(Duration::from_secs(30))?;
    let numbers: Vec<usize> = (0..identities).collect();
    for part in numbers.chunks(ROWS / BINDINGS_PER_IDENTITY) {
        let transaction = database.transaction()?;
        for number in part {
            // The measured one in the middle.
            let other = (*number != identities / 2).then_some(*number);
            insert(&transaction, other)?;
        }
        transaction.commit()?;
    }
    let bindings: i64 = database.query_row("SELECT count(*) FROM bindings", [], |row| row.get(0))?;
    let expected = identities * BINDINGS_PER_IDENTITY;
    ensure!(usize::try_from(bindings)? >= expected, "{bindings} bindings");
    Ok(())
}

fn subject(number: Option<usize>) -> String {
    number.map_or_else(
        || "repo:bench-org/app0:ref:refs/heads/main".to_owned(),
        |number| format!("repo:org{number}/app:ref:refs/heads/main"),
    )
}

fn insert(transaction: &rusqlite::Transaction<'_>, number: Option<usize>) -> rusqlite::Result<()> {
    let name = number.map_or_else(|| "bench".to_owned(), |number| format!("ci{number}"));
    let id = format!("idn_bench{name}");
    let subject = subject(number);
    let rule =
        json!({ "kind": "claim_match", "issuer": { "exact": ISSUER }, "subject": { "exact": subject } });
    transaction
        .prepare_cached(
            "INSERT INTO identities (id, group_path, name, full_name, kind, description, issuer, subject, rule,
                 created_at, created_by)
             VALUES (?1, '', ?2, ?2, 'claim_match', '', ?3, ?4, ?5, 0, 'bench')",
        )?
        .execute(params![id, name, ISSUER, subject, rule.to_string()])?;
    let mut bind = transaction.prepare_cached(
        "INSERT INTO bindings (id, identity_id, role, resource_kind, path, conditions, created_at, created_by)
         VALUES (?1, ?2, 'registry.push', 'group', ?3, '[]', 0, 'bench')",
    )?;
    let organisation = number.map_or_else(|| "bench-org".to_owned(), |number| format!("org{number}"));
    for app in 0..BINDINGS_PER_IDENTITY {
        let binding = format!("bnd_{name}-{app}");
        bind.execute(params![binding, id, format!("{organisation}/app{app}")])?;
    }
    Ok(())
}
