//! People, with a provider that somebody else wrote and a browser: login, refresh, logout.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use roadstead_integration_tests::cluster::Home;
use roadstead_integration_tests::deadline::eventually;
use roadstead_integration_tests::openid_provider::OpenIdProvider;
use roadstead_integration_tests::process::Process;
use roadstead_integration_tests::{Cluster, Credential, Mode, Setup, in_both_modes, ports, programs};
use serde_json::Value;

use crate::administration::Administration;
use crate::organisation::{LOGIN_CLIENT, REVOCATION_LIMIT};

in_both_modes!(
    a_person_logs_in_by_browser_stays_and_logs_out,
    a_person_logs_in_by_device,
);

/// From the person's consent to the program's end; a device asks every five seconds.
const LOGIN_LIMIT: Duration = Duration::from_secs(30);

const ACCESS_TOKEN_LIFE: Duration = Duration::from_mins(1);

/// The first owner, as the provider knows her.
const ALICE: &str = "alice";

struct Office {
    provider: OpenIdProvider,
    cluster: Cluster,
    ca_file: PathBuf,
}

impl Office {
    async fn open(mode: Mode) -> Result<Self> {
        Self::open_with(mode, "allow_private=true,").await
    }

    /// With more configuration of the issuer.
    async fn open_with(mode: Mode, more: &str) -> Result<Self> {
        let provider = OpenIdProvider::start(&[OpenIdProvider::public_client(LOGIN_CLIENT)]).await?;
        let home = Home::new()?;
        // It outlives the provider.
        let ca_file = home.scratch().join("provider-ca.pem");
        std::fs::copy(provider.ca_file(), &ca_file)?;
        let setup = trusting(&provider, Cluster::setup(mode), more)
            // The shortest that there is.
            .with(
                "auth.access_token_ttl",
                &format!("\"{}s\"", ACCESS_TOKEN_LIFE.as_secs()),
            );
        let cluster = setup.start_in(home, ports::free()?).await?;
        Ok(Self {
            provider,
            cluster,
            ca_file,
        })
    }

    /// Starts the user's program and lets it wait for the person.
    fn login(&self, flag: &str) -> Result<Process> {
        let mut command = Command::new(programs::ours("roadstead")?);
        command
            .args(["login", flag, "--ca-file"])
            .arg(&self.ca_file)
            .arg(self.cluster.address())
            .envs(self.cluster.home().environment());
        Process::start("login", command, &self.cluster.home().logs())
    }

    /// The address that the program prints for the person to open.
    async fn url_of(&self, login: &mut Process) -> Result<String> {
        login
            .until("prints the address to open", LOGIN_LIMIT, async |process| {
                Ok(printed_url(&process.stderr(), self.provider.issuer()))
            })
            .await
    }

    async fn cli(&self, arguments: &[&str]) -> Result<String> {
        let registry = ("ROADSTEAD_REGISTRY".to_owned(), self.cluster.address());
        self.cluster.cli_with(arguments, &[registry]).await
    }

    /// What `auth status` says of the registry.
    async fn status(&self) -> Result<Value> {
        let address = self.cluster.address();
        let printed = self.cli(&["auth", "status", "-o", "json", &address]).await?;
        serde_json::from_str(&printed).with_context(|| format!("not JSON: {printed}"))
    }

    async fn access_token(&self) -> Result<String> {
        let token = self.cli(&["auth", "token", &self.cluster.address()]).await?;
        Ok(token.trim().to_owned())
    }

    /// Who the registry says that the bearer of a token is.
    async fn who_is(&self, token: &str) -> Result<String, tonic::Status> {
        let bearer = Administration::of(&self.cluster, token)
            .await
            .map_err(|error| tonic::Status::unavailable(error.to_string()))?;
        let answer = bearer
            .policy()
            .who_am_i(roadstead_proto::auth::v1::WhoAmIRequest {})
            .await?
            .into_inner();
        Ok(answer.upstream.unwrap_or_default().subject)
    }

    async fn close(self) -> Result<()> {
        self.provider.stop().await?;
        self.cluster.stop().await.map(drop)
    }
}

fn trusting(provider: &OpenIdProvider, setup: Setup, more: &str) -> Setup {
    let issuer = provider.issuer();
    let ca_file = provider.ca_file().display();
    let issuers = format!(
        "[{{issuer=\"{issuer}\",audience=\"unused\",{more}ca_file=\"{ca_file}\",login={{client_id=\"{LOGIN_CLIENT}\",scopes=[\"email\"]}}}}]"
    );
    let owners = format!("[{{issuer=\"{issuer}\",subject=\"{ALICE}\"}}]");
    setup
        .without_dev()
        .with("auth.issuers", &issuers)
        .with("auth.bootstrap_owners", &owners)
}

/// The first address that a program printed for a person to open.
fn printed_url(said: &str, host: &str) -> Option<String> {
    let word = said
        .split_whitespace()
        .find(|word| word.starts_with(&format!("{host}/")));
    word.map(ToOwned::to_owned)
}

/// The refresh tokens that lie in a user's directories, where nobody else may read them.
fn kept_refresh_tokens(directory: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(kept_refresh_tokens(&path)?);
            continue;
        }
        let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && !"_-.".contains(c));
        let tokens = words.filter(|word| word.starts_with("rsr_"));
        let before = found.len();
        found.extend(tokens.map(ToOwned::to_owned));
        let mode = std::fs::metadata(&path)?.permissions().mode() & 0o777;
        ensure!(
            found.len() == before || mode == 0o600,
            "{} is {mode:o}",
            path.display()
        );
    }
    Ok(found)
}

async fn a_person_logs_in_by_browser_stays_and_logs_out(mode: Mode) -> Result<()> {
    let office = Office::open(mode).await?;
    let mut login = office.login("--no-browser")?;
    let url = office.url_of(&mut login).await?;
    ensure!(url.contains("code_challenge_method=S256"), "{url}");
    let page = office.provider.visit(ALICE, &url, None).await?;
    ensure!(page.contains("can be closed"), "{page}");
    let (ended, stdout, stderr) = login.wait(LOGIN_LIMIT).await?;
    ensure!(ended.success(), "{stdout}{stderr}");
    for word in ["eyJ", "rsr_"] {
        ensure!(
            !stdout.contains(word) && !stderr.contains(word),
            "{stdout}{stderr}"
        );
    }

    let status = office.status().await?.to_string();
    for wanted in [ALICE, office.provider.issuer(), "owner"] {
        ensure!(status.contains(wanted), "{wanted:?} is not in {status}");
    }

    // The login lasts although its issuer is gone. A token is replaced when half its life is over.
    let first = office.access_token().await?;
    let cache = office.cluster.home().data().with_file_name("cache");
    let old = kept_refresh_tokens(&cache)?;
    ensure!(old.len() == 1, "{} refresh tokens are kept", old.len());
    let Office {
        provider, cluster, ..
    } = office;
    let issuer = provider.issuer().to_owned();
    provider.stop().await?;
    let second = eventually("the token is refreshed", ACCESS_TOKEN_LIFE, async || {
        let token = cluster.cli(&["auth", "token", &cluster.address()]).await?;
        Ok((token.trim() != first).then(|| token.trim().to_owned()))
    })
    .await?;
    let new = kept_refresh_tokens(&cache)?;
    ensure!(old != new && new.len() == 1, "the refresh token was not replaced");

    cluster.cli(&["logout", &cluster.address()]).await?;
    ensure!(kept_refresh_tokens(&cache)?.is_empty(), "a refresh token is left");
    let registry = cluster.anonymous()?;
    for token in old.iter().chain(&new) {
        let refresh = [("grant_type", "refresh_token"), ("refresh_token", token)];
        registry
            .request(Method::POST, "/sts/exchange")
            .form(&refresh)
            .send()
            .await?
            .expect_error(401, "UNAUTHORIZED")?;
    }
    let bearer = registry.with(Credential::Token(second))?;
    eventually("the session's tokens end", REVOCATION_LIMIT, async || {
        Ok((bearer.ask_token(&[]).await?.status == 401).then_some(()))
    })
    .await?;
    let status = cluster
        .cli(&["auth", "status"])
        .await
        .unwrap_or_else(|error| error.to_string());
    ensure!(!status.contains(&issuer), "still logged in: {status}");
    cluster.stop().await.map(drop)
}

async fn a_person_logs_in_by_device(mode: Mode) -> Result<()> {
    let office = Office::open(mode).await?;
    let mut login = office.login("--device")?;
    let (url, code) = login
        .until("prints a code", LOGIN_LIMIT, async |process| {
            let said = process.stderr();
            let code = said
                .split_once("enter the code ")
                .and_then(|(_, rest)| rest.split_once('\n'))
                .map(|(code, _)| code.trim().to_owned());
            Ok(printed_url(&said, office.provider.issuer()).zip(code))
        })
        .await?;
    office.provider.visit("dora", &url, Some(&code)).await?;
    let (ended, stdout, stderr) = login.wait(LOGIN_LIMIT).await?;
    ensure!(ended.success(), "{stdout}{stderr}");
    let token = office.access_token().await?;
    ensure!(office.who_is(&token).await? == "dora");
    office.close().await
}

/// The provider is on a loopback address and has an authority of its own. Neither goes without saying.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_at_a_private_address_needs_the_operators_word() -> Result<()> {
    let office = Office::open_with(Mode::AllInOne, "").await?;
    let mut login = office.login("--no-browser")?;
    let url = office.url_of(&mut login).await?;
    // All is well between the person, the program and the provider.
    office.provider.visit(ALICE, &url, None).await?;
    let (ended, stdout, stderr) = login.wait(LOGIN_LIMIT).await?;
    ensure!(!ended.success(), "{stdout}{stderr}");
    ensure!(stderr.contains(office.provider.issuer()), "{stderr}");
    office.close().await
}
