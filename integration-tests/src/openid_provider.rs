//! Somebody else's OpenID provider, over HTTPS with an authority of its own, and people who log in to it with a browser.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::pki::{self, ServerFiles};
use crate::process::{Process, run};
use crate::programs;

/// Node reads a few hundred files first.
const START_LIMIT: Duration = Duration::from_secs(30);
/// A browser's start and four pages, on a loaded two-core machine.
const VISIT_LIMIT: Duration = Duration::from_mins(1);
const HOST: &str = "localhost";

/// A running provider. Whoever types a name at its login page is that person.
#[derive(Debug)]
pub struct OpenIdProvider {
    // Before the directory: when a test fails, the logs in it are shown first.
    process: Process,
    directory: TempDir,
    tls: ServerFiles,
    issuer: String,
}

impl OpenIdProvider {
    /// Starts a provider with the given clients, in the words of OpenID Connect Dynamic Client Registration.
    pub async fn start(clients: &[Value]) -> Result<Self> {
        let directory = tempfile::tempdir().context("a temporary directory")?;
        let tls = pki::mint(directory.path(), HOST)?;
        let configuration = directory.path().join("provider.json");
        let content = json!({
            "name": HOST,
            "certificate": tls.certificate,
            "key": tls.key,
            "clients": clients,
        });
        std::fs::write(&configuration, content.to_string())?;
        let mut command = Command::new(programs::theirs("node")?);
        command.arg(script("server.mjs")?).arg(configuration);
        let mut process = Process::start("openid-provider", command, directory.path())?;
        let issuer = process
            .until("listens", START_LIMIT, async |process| {
                let said = process.stdout();
                let line = said.lines().find_map(|line| line.strip_prefix("ready "));
                Ok(line.map(ToOwned::to_owned))
            })
            .await?;
        Ok(Self {
            process,
            directory,
            tls,
            issuer,
        })
    }

    /// A client without a secret, such as our program: browser with PKCE, device, refresh.
    pub fn public_client(id: &str) -> Value {
        json!({
            "client_id": id,
            "application_type": "native",
            "token_endpoint_auth_method": "none",
            "redirect_uris": ["http://127.0.0.1/callback"],
            "response_types": ["code"],
            "grant_types": [
                "authorization_code",
                "refresh_token",
                "urn:ietf:params:oauth:grant-type:device_code",
            ],
        })
    }

    /// The issuer's URL.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The certificate of the authority that its clients must trust.
    pub fn ca_file(&self) -> &Path {
        &self.tls.ca
    }

    /// Lets a person open a page, log in and consent, and gives the text of the page that they are left with. For a device
    /// the person also types the code that it shows.
    pub async fn visit(&self, person: &str, url: &str, code: Option<&str>) -> Result<String> {
        let home = self.directory.path().display().to_string();
        let environment = [("HOME".to_owned(), home.clone()), ("TMPDIR".to_owned(), home)];
        let arguments = [
            script("browser.mjs")?.display().to_string(),
            programs::theirs("chromium-headless-shell")?.display().to_string(),
            self.tls.certificate.display().to_string(),
            person.to_owned(),
            url.to_owned(),
        ];
        run(
            &programs::theirs("node")?,
            arguments.iter().map(String::as_str).chain(code),
            &environment,
            None,
            VISIT_LIMIT,
        )
        .await
    }

    /// Stops the provider.
    pub async fn stop(self) -> Result<()> {
        self.process.terminate(Duration::from_secs(10)).await
    }
}

fn script(name: &str) -> Result<PathBuf> {
    let directory = programs::repository().join("integration-tests/openid-provider");
    ensure!(
        directory.join("node_modules").is_dir(),
        "{} lacks its packages; integration-tests/run installs them",
        directory.display()
    );
    Ok(directory.join(name))
}
