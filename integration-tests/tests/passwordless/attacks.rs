//! Tokens that are not for here, not any more, or for less than is asked.

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use roadstead_integration_tests::deadline::eventually;
use roadstead_integration_tests::{Credential, Mode, Registry, Reply, in_both_modes};
use roadstead_testkit::GitHubJob;
use roadstead_types::Clock;
use serde_json::{Value, json};

use crate::administration::{group, repository};
use crate::organisation::{AUDIENCE, LOGIN_CLIENT, Organisation, REVOCATION_LIMIT, exactly, exchange};

in_both_modes!(
    a_refresh_token_that_comes_twice_ends_the_session,
    narrowing_never_widens,
    tokens_of_another_registry_are_worth_nothing,
    time_is_the_registrys_own,
);

const REPOSITORY: &str = "acme/web";

pub(crate) async fn refused_with(reply: Result<Reply>, what: &str) -> Result<()> {
    let reply = reply?;
    ensure!(
        reply.status == 401,
        "{what}: {} {:?}",
        reply.status,
        String::from_utf8_lossy(&reply.body)
    );
    Ok(())
}

/// A registry in whose group a workflow may push, and the workflow.
pub(crate) async fn with_release(mode: Mode) -> Result<(Organisation, GitHubJob)> {
    let organisation = Organisation::start(mode).await?;
    let root = &organisation.root;
    root.create_group("acme").await?;
    let job = GitHubJob::on_branch(REPOSITORY, "main");
    let identity = root
        .create_claim_match("acme", "ci", exactly(&job.workload()))
        .await?;
    root.bind(&identity.id, "registry.push", group("acme"), &[])
        .await?;
    Ok((organisation, job))
}

async fn refresh(registry: &Registry, token: &str) -> Result<Reply> {
    registry
        .request(Method::POST, "/sts/exchange")
        .form(&[("grant_type", "refresh_token"), ("refresh_token", token)])
        .send()
        .await
}

fn text(answer: &Value, name: &str) -> Result<String> {
    let text = answer[name].as_str();
    Ok(text.with_context(|| format!("no {name} in {answer}"))?.to_owned())
}

/// Logs a person in for longer than an access token lives.
pub(crate) async fn log_in(organisation: &Organisation, person: &str) -> Result<Value> {
    let registry = organisation.cluster.anonymous()?;
    let token = organisation.issuers.person(person);
    let fields = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
        ("subject_token", token.as_str()),
        ("scope", "offline_access"),
    ];
    let request = registry.request(Method::POST, "/sts/exchange").form(&fields);
    request.send().await?.expect(200)?.json()
}

async fn a_refresh_token_that_comes_twice_ends_the_session(mode: Mode) -> Result<()> {
    let organisation = Organisation::start(mode).await?;
    let registry = organisation.cluster.anonymous()?;
    let login = log_in(&organisation, "olivia").await?;
    let first = text(&login, "refresh_token")?;
    let second = text(
        &refresh(&registry, &first).await?.expect(200)?.json()?,
        "refresh_token",
    )?;
    ensure!(first != second, "it is replaced with each use");
    // The answer may have been lost on the way: the one before is good for as long as that takes, and changes nothing.
    let again = text(
        &refresh(&registry, &first).await?.expect(200)?.json()?,
        "refresh_token",
    )?;
    ensure!(again == second);
    let answer = refresh(&registry, &second).await?.expect(200)?.json()?;
    let (third, access) = (text(&answer, "refresh_token")?, text(&answer, "access_token")?);
    let bearer = registry.with(Credential::Token(access))?;
    bearer.ask_token(&[]).await?.expect(200)?;

    // Two generations back: somebody else has it.
    refused_with(refresh(&registry, &first).await, "a replayed refresh token").await?;
    for token in [&first, &second, &third] {
        refused_with(refresh(&registry, token).await, "a token of the ended session").await?;
    }
    eventually("the session's access tokens end", REVOCATION_LIMIT, async || {
        Ok((bearer.ask_token(&[]).await?.status == 401).then_some(()))
    })
    .await?;

    let other = text(&log_in(&organisation, "olivia").await?, "refresh_token")?;
    for token in tampered(&other) {
        refused_with(refresh(&registry, &token).await, &token).await?;
    }
    refresh(&registry, &other).await?.expect(200)?;
    organisation.stop().await
}

/// A refresh token with each of its parts changed.
fn tampered(token: &str) -> Vec<String> {
    let parts: Vec<&str> = token.split('.').collect();
    let flipped = |part: &str| {
        let last = if part.ends_with('A') { 'B' } else { 'A' };
        format!("{}{last}", &part[..part.len() - 1])
    };
    let mut all: Vec<String> = (0..parts.len())
        .map(|changed| {
            let changed = parts.iter().enumerate().map(|(at, part)| {
                if at == changed {
                    flipped(part)
                } else {
                    (*part).to_owned()
                }
            });
            changed.collect::<Vec<_>>().join(".")
        })
        .collect();
    all.extend([
        parts[..parts.len() - 1].join("."),
        format!("{token}."),
        format!("{token}A"),
    ]);
    all
}

/// A token that was made for less stays less, whatever is asked of it later.
async fn narrowing_never_widens(mode: Mode) -> Result<()> {
    let (organisation, job) = with_release(mode).await?;
    let registry = organisation.cluster.anonymous()?;
    let identity = organisation.issuers.workload(&job.workload());
    let narrowed = async |query: &str| {
        let request = registry.request(Method::POST, &format!("/sts/exchange?{query}"));
        let reply = request
            .header("authorization", &format!("Bearer {identity}"))
            .send()
            .await?;
        let token = text(&reply.expect(200)?.json()?, "access_token")?;
        registry.with(Credential::Token(token))
    };
    let may = async |caller: &Registry, repository: &str| {
        let scope = format!("repository:{repository}:pull,push,delete");
        let claims = crate::table::claims(&caller.token(&[&scope]).await?)?;
        let actions = claims["access"][0]["actions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let mut actions: Vec<String> = actions.iter().filter_map(Value::as_str).map(Into::into).collect();
        actions.sort_unstable();
        anyhow::Ok(actions.join(","))
    };
    let all = narrowed("").await?;
    ensure!(may(&all, REPOSITORY).await? == "pull,push");
    let here = narrowed("scope=acme/web").await?;
    ensure!(may(&here, REPOSITORY).await? == "pull,push");
    for elsewhere in ["acme/other", "acme", "acme/website"] {
        ensure!(may(&here, elsewhere).await?.is_empty(), "{elsewhere}");
    }
    let pulls = narrowed("scope=acme&cap=repo.pull").await?;
    ensure!(may(&pulls, REPOSITORY).await? == "pull");
    // Asking for more than one has gives nothing more.
    let greedy = narrowed("scope=acme&cap=repo.pull&cap=repo.delete").await?;
    ensure!(may(&greedy, REPOSITORY).await? == "pull");
    for wrong in ["scope=../acme", "scope=acme//web", "cap=repo.everything", "cap=*"] {
        let request = registry.request(Method::POST, &format!("/sts/exchange?{wrong}"));
        let request = request.header("authorization", &format!("Bearer {identity}"));
        let reply = request.send().await?;
        ensure!(reply.status == 400, "{wrong}: {}", reply.status);
    }
    organisation.stop().await
}

/// Two registries that trust the same issuers and know the same people.
async fn tokens_of_another_registry_are_worth_nothing(mode: Mode) -> Result<()> {
    let here = Organisation::start(mode).await?;
    let elsewhere = Organisation::start(Mode::AllInOne).await?;
    for organisation in [&here, &elsewhere] {
        organisation.root.create_group("acme").await?;
        organisation.employ("olivia", "owner", group("acme")).await?;
    }
    let theirs = log_in(&elsewhere, "olivia").await?;
    let access = text(&theirs, "access_token")?;
    let caller = elsewhere
        .cluster
        .anonymous()?
        .with(Credential::Token(access.clone()))?;
    let registry_token = caller.token(&["repository:acme/web:pull,push"]).await?;
    let pull_token = elsewhere
        .root
        .create_pull_token("theirs", vec![repository(REPOSITORY)])
        .await?
        .token;

    let ours = here.cluster.anonymous()?;
    for credential in [&access, &pull_token, &registry_token] {
        let asked = ours
            .with(Credential::Token(credential.clone()))?
            .ask_token(&[])
            .await;
        refused_with(asked, "a credential of another registry").await?;
    }
    refused_with(
        refresh(&ours, &text(&theirs, "refresh_token")?).await,
        "a refresh token of another registry",
    )
    .await?;
    let pushed = ours
        .request(Method::POST, "/v2/acme/web/blobs/uploads/")
        .header("authorization", &format!("Bearer {registry_token}"));
    refused_with(pushed.send().await, "a registry token of another registry").await?;
    // Nor is a token that a workload got for somebody else.
    let job = GitHubJob::on_branch(REPOSITORY, "main").workload();
    for audience in ["sts.amazonaws.com", "", LOGIN_CLIENT] {
        let token = here.issuers.platforms.issue_workload(&job, audience);
        refused_with(exchange(&ours, &token).await, audience).await?;
    }
    let both = job.claims(AUDIENCE, Clock::system().unix_seconds());
    let mut both = both;
    both["aud"] = json!([AUDIENCE, "sts.amazonaws.com"]);
    let token = here.issuers.platforms.key().sign("JWT", &both);
    refused_with(exchange(&ours, &token).await, "a token for two").await?;
    elsewhere.stop().await?;
    here.stop().await
}

async fn time_is_the_registrys_own(mode: Mode) -> Result<()> {
    let (organisation, job) = with_release(mode).await?;
    let registry = organisation.cluster.anonymous()?;
    let at = |seconds| {
        let platforms = &organisation.issuers.platforms;
        platforms.issue_workload_at(&job.workload(), AUDIENCE, seconds)
    };
    // Clocks differ by seconds, not by minutes.
    for seconds in [-200, 0, 20] {
        exchange(&registry, &at(seconds)).await?.expect(200)?;
    }
    for seconds in [-3_600, -400, 300, 3_600] {
        refused_with(exchange(&registry, &at(seconds)).await, &format!("{seconds} s")).await?;
    }
    organisation.stop().await
}
