//! The story that the registry is made for: one workflow on one branch publishes an image, and nobody else can, whatever
//! they own; everybody may pull what is public, and a customer only from where it said that it would.

use anyhow::{Context as _, Result, ensure};
use roadstead_integration_tests::deadline::eventually;
use roadstead_integration_tests::image::{Image, media};
use roadstead_integration_tests::{Credential, Mode, Registry, in_both_modes};
use roadstead_proto::auth::v1::{ClaimMatch, PushPolicy, StaticKeys, create_identity_request};
use roadstead_testkit::{GitHubJob, SigningKey, Workload};
use roadstead_types::Clock;
use serde_json::json;
use tonic::Code;

use crate::administration::{Administration, group, repository};
use crate::clients::{ALL, Client, Clients};
use crate::organisation::{AUDIENCE, Organisation, REVOCATION_LIMIT, exactly, exchange, exchanged, seen};

in_both_modes!(
    one_workflow_publishes_and_nobody_else,
    everybody_pulls_what_is_public_and_a_customer_only_from_its_own_environment,
);

const REPOSITORY: &str = "acme/images";

/// The one workflow that may push.
fn release() -> GitHubJob {
    GitHubJob::on_branch(REPOSITORY, "main").workflow("release.yml")
}

/// Everybody else who might come with a token of the same platform.
fn others() -> Vec<(&'static str, Workload)> {
    let job = |job: GitHubJob| job.workload();
    vec![
        ("another branch", job(GitHubJob::on_branch(REPOSITORY, "next"))),
        (
            "a branch that begins the same",
            job(GitHubJob::on_branch(REPOSITORY, "main2")),
        ),
        (
            "a tag of the branch's name",
            job(GitHubJob::on_tag(REPOSITORY, "main")),
        ),
        (
            "another workflow of the same branch",
            job(release().workflow("test.yml")),
        ),
        (
            "another repository",
            job(GitHubJob::on_branch("acme/website", "main")),
        ),
        (
            "a repository that begins the same",
            job(GitHubJob::on_branch("acme/images2", "main")),
        ),
        ("a fork", job(GitHubJob::on_branch("mallory/images", "main"))),
        (
            "a fork's pull request",
            job(GitHubJob::on_pull_request(REPOSITORY, 7, "mallory:main")),
        ),
        (
            "an environment of the same workflow",
            job(release().environment("refs/heads/main")),
        ),
        (
            "the subject in its other form",
            job(release().immutable_subject()),
        ),
    ]
}

/// Makes `acme/images` what only the release workflow may push.
async fn publish_only_by_release(organisation: &Organisation) -> Result<String> {
    let root = &organisation.root;
    root.create_group("acme").await?;
    let job = release();
    let rule = ClaimMatch {
        claims: [("job_workflow_ref".to_owned(), job.workflow_ref())].into(),
        ..exactly(&job.workload())
    };
    let identity = root.create_claim_match("acme", "release", rule).await?;
    let pushes = root
        .bind(&identity.id, "registry.push", repository(REPOSITORY), &[])
        .await?;
    root.set_push_policy(repository(REPOSITORY), PushPolicy::WorkloadOnly)
        .await?;
    Ok(pushes.id)
}

/// What a client must have printed, for its user to know what is missing where, and what to do.
fn must_explain(printed: &str, action: &str) -> Result<()> {
    let capability = format!("repo.{action}");
    let command = format!("roadstead iam explain --repo {REPOSITORY} --action {action}");
    for wanted in [REPOSITORY, capability.as_str(), command.as_str()] {
        ensure!(printed.contains(wanted), "{wanted:?} is not in:\n{printed}");
    }
    Ok(())
}

async fn one_workflow_publishes_and_nobody_else(mode: Mode) -> Result<()> {
    let organisation = Organisation::start(mode).await?;
    let binding = publish_only_by_release(&organisation).await?;
    organisation.employ("olivia", "owner", group("acme")).await?;
    let clients = Clients::start(&organisation.cluster.address()).await?;

    let release = release().workload();
    let token = organisation
        .access_token(&organisation.issuers.workload(&release))
        .await?;
    clients.log_in("_token", &token).await?;
    for client in ALL {
        clients
            .push(client, &format!("{REPOSITORY}:{client:?}").to_lowercase())
            .await?;
    }

    for (who, workload) in others() {
        let caller = organisation.workload(&workload).await?;
        must_not_push(who, &caller, workload.subject()).await?;
    }
    // One of them with the clients themselves, and the owner, whom it is said to that no role helps here.
    let (_, stranger) = others().swap_remove(0);
    for token in [
        organisation.issuers.workload(&stranger),
        organisation.issuers.person("olivia"),
    ] {
        let token = organisation.access_token(&token).await?;
        clients.log_in("_token", &token).await?;
        for client in ALL {
            let printed = clients
                .refused(client, "push", &format!("{REPOSITORY}:stolen"))
                .await?;
            must_explain(&printed, "push")?;
        }
    }
    the_printed_command_explains(&organisation).await?;
    the_owner_cannot_help_it(&organisation).await?;
    old_tokens_end(&organisation, &release, &token, &binding).await?;
    clients.close().await?;
    organisation.stop().await
}

async fn must_not_push(who: &str, caller: &Registry, subject: &str) -> Result<()> {
    let session = caller.session_for(&[REPOSITORY]).await?;
    let uploads = format!("/v2/{REPOSITORY}/blobs/uploads/");
    let reply = session.request(reqwest::Method::POST, &uploads).send().await?;
    ensure!(reply.status == 403, "{who}: {}", reply.status);
    let said = String::from_utf8_lossy(&reply.body).into_owned();
    must_explain(&said, "push")?;
    ensure!(said.contains(subject), "{who} is not told who it is: {said}");
    let image = Image::small(who)?;
    session
        .put_manifest(REPOSITORY, "latest", media::MANIFEST, &image.manifest)
        .await?
        .expect_error(403, "DENIED")?;
    Ok(())
}

/// Whoever types what the refusal told them to learns more, from our own program.
async fn the_printed_command_explains(organisation: &Organisation) -> Result<()> {
    let cluster = &organisation.cluster;
    let session = organisation
        .person("olivia")
        .await?
        .session_for(&[REPOSITORY])
        .await?;
    let uploads = format!("/v2/{REPOSITORY}/blobs/uploads/");
    let reply = session.request(reqwest::Method::POST, &uploads).send().await?;
    let said = reply.expect(403)?.json()?["errors"][0]["message"].clone();
    let said = said.as_str().context("a message")?;
    let (_, command) = said.split_once("Run: roadstead ").context("no command")?;

    let file = cluster.home().scratch().join("identity-token");
    std::fs::write(&file, organisation.issuers.person("olivia"))?;
    let (file, address) = (file.display().to_string(), cluster.address());
    cluster
        .cli(&["login", "--identity-token", &file, &address])
        .await?;
    let words: Vec<&str> = command.split_whitespace().collect();
    // A command whose answer is no ends so, with the explanation on its standard output.
    let printed = match cluster.cli(&words).await {
        Ok(printed) => printed,
        Err(refused) => refused.to_string(),
    };
    for wanted in ["no", REPOSITORY, "workload"] {
        ensure!(printed.contains(wanted), "{wanted:?} is not in:\n{printed}");
    }
    Ok(())
}

/// Identities that a `workload-only` policy does not count, with a token of each and its subject.
fn insufficient(
    organisation: &Organisation,
) -> Vec<(&'static str, create_identity_request::Rule, String, &'static str)> {
    use create_identity_request::Rule;

    let github = |subject: &str, subject_pattern: &str, audience_pattern: &str| {
        Rule::ClaimMatch(ClaimMatch {
            issuer: GitHubJob::ISSUER.to_owned(),
            subject: subject.to_owned(),
            subject_pattern: subject_pattern.to_owned(),
            audience_pattern: audience_pattern.to_owned(),
            ..ClaimMatch::default()
        })
    };
    let branch = |name: &str| {
        let job = GitHubJob::on_branch(REPOSITORY, name).workload();
        organisation.issuers.workload(&job)
    };
    let people = &organisation.issuers.people;
    let key = SigningKey::es256("own");
    let now = Clock::system().unix_seconds();
    let issuer = "https://keys.acme.example";
    let keys = Rule::Static(StaticKeys {
        issuer: issuer.to_owned(),
        subject: "robot".to_owned(),
        audience: AUDIENCE.to_owned(),
        jwks_json: json!({ "keys": [key.jwk()] }).to_string(),
        expires_at: now + 3_600,
    });
    let robot = json!({ "iss": issuer, "sub": "robot", "aud": AUDIENCE, "iat": now, "exp": now + 300 });
    let of_people = Rule::ClaimMatch(ClaimMatch {
        issuer: people.url().to_owned(),
        subject: "builder".to_owned(),
        ..ClaimMatch::default()
    });
    let builder = people.issue(&json!({ "sub": "builder", "aud": AUDIENCE }));
    vec![
        (
            "any-branch",
            github("", "repo:acme/images:ref:refs/heads/[a-z]+", ""),
            branch("next"),
            "repo:acme/images:ref:refs/heads/next",
        ),
        (
            "any-audience",
            github("repo:acme/images:ref:refs/heads/stable", "", "registry[.].*"),
            branch("stable"),
            "repo:acme/images:ref:refs/heads/stable",
        ),
        ("own-keys", keys, key.sign("JWT", &robot), "robot"),
        ("of-people", of_people, builder, "builder"),
    ]
}

/// An owner who may do everything with the group can give nobody what the policy takes, and lifting it is seen.
async fn the_owner_cannot_help_it(organisation: &Organisation) -> Result<()> {
    let token = organisation
        .access_token(&organisation.issuers.person("olivia"))
        .await?;
    let olivia = Administration::of(&organisation.cluster, &token).await?;
    // A colleague, a key of her own, and rules that are not exact or of an issuer that is not for workloads: none of them
    // is what the policy asks for, and each of them would do without it.
    let carl = exchanged(
        &organisation.cluster.anonymous()?,
        &organisation.issuers.person("carl"),
    )
    .await?;
    let carl = carl["identities"][0]["id"].as_str().context("carl's id")?;
    olivia
        .bind(carl, "registry.push", repository(REPOSITORY), &[])
        .await?;
    must_not_push("a colleague", &organisation.person("carl").await?, "carl").await?;
    for (name, rule, token, subject) in insufficient(organisation) {
        let identity = olivia.create_identity("acme", name, rule).await?;
        olivia
            .bind(&identity.id, "registry.push", group("acme"), &[])
            .await?;
        let caller = organisation.caller(&token).await?;
        caller
            .session_for(&["acme/else"])
            .await?
            .open_upload("acme/else")
            .await?;
        must_not_push(name, &caller, subject).await?;
    }

    // A group below, where she may do everything as well, does not take the policy off what it is on.
    let refused = olivia
        .set_push_policy(repository("other/images"), PushPolicy::WorkloadOnly)
        .await
        .err();
    ensure!(
        refused.is_some_and(|status| matches!(status.code(), Code::PermissionDenied | Code::NotFound)),
        "an owner of acme set a policy elsewhere"
    );
    olivia
        .set_push_policy(repository(REPOSITORY), PushPolicy::Unspecified)
        .await?;
    let session = organisation
        .person("olivia")
        .await?
        .session_for(&[REPOSITORY])
        .await?;
    session.open_upload(REPOSITORY).await?;
    olivia
        .set_push_policy(repository(REPOSITORY), PushPolicy::WorkloadOnly)
        .await?;
    for change in ["lifted", "set"] {
        let kind = format!("dev.roadstead.iam.push_policy.{change}.v1");
        let event = seen(organisation, &kind, "olivia").await?;
        ensure!(event["path"] == REPOSITORY, "{event}");
    }
    Ok(())
}

/// Tokens that were good once: the platform's that has expired, ours from before the binding was taken away, and those
/// that clients keep.
async fn old_tokens_end(
    organisation: &Organisation,
    release: &Workload,
    access: &str,
    binding: &str,
) -> Result<()> {
    let registry = organisation.cluster.anonymous()?;
    let expired = organisation
        .issuers
        .platforms
        .issue_workload_at(release, AUDIENCE, -3_600);
    exchange(&registry, &expired)
        .await?
        .expect_error(401, "UNAUTHORIZED")?;

    let caller = registry.with(Credential::Token(access.to_owned()))?;
    let session = caller.session_for(&[REPOSITORY]).await?;
    session.open_upload(REPOSITORY).await?;
    organisation.root.unbind(binding).await?;
    let revoked = eventually("the registry token ends", REVOCATION_LIMIT, async || {
        let uploads = format!("/v2/{REPOSITORY}/blobs/uploads/");
        let reply = session.request(reqwest::Method::POST, &uploads).send().await?;
        Ok((reply.status != 202).then_some(reply))
    })
    .await?;
    revoked.expect_error(401, "UNAUTHORIZED")?;
    must_not_push("an old access token", &caller, release.subject()).await
}

async fn everybody_pulls_what_is_public_and_a_customer_only_from_its_own_environment(
    mode: Mode,
) -> Result<()> {
    let organisation = Organisation::start(mode).await?;
    publish_only_by_release(&organisation).await?;
    let root = &organisation.root;
    let clients = Clients::start(&organisation.cluster.address()).await?;
    let token = organisation
        .access_token(&organisation.issuers.workload(&release().workload()))
        .await?;
    clients.log_in("_token", &token).await?;
    clients
        .push(Client::Crane, &format!("{REPOSITORY}:latest"))
        .await?;
    clients.log_out().await?;

    let image = format!("{REPOSITORY}:latest");
    for client in ALL {
        let printed = clients.refused(client, "pull", &image).await?;
        // An anonymous caller learns nothing.
        ensure!(!printed.contains("repo.pull"), "{printed}");
    }
    let deployment = |environment: &str, workflow: &str| {
        GitHubJob::on_branch("customer/platform", "main")
            .environment(environment)
            .workflow(workflow)
    };
    let production = deployment("production", "deploy.yml");
    let customer = root
        .create_claim_match(
            "acme",
            "customer",
            ClaimMatch {
                issuer: GitHubJob::ISSUER.to_owned(),
                subject_pattern: "repo:customer/platform:environment:.+".to_owned(),
                ..ClaimMatch::default()
            },
        )
        .await?;
    let conditions = [
        ("repository", "customer/platform"),
        ("ref", "refs/heads/main"),
        ("environment", "production"),
        ("job_workflow_ref", &production.workflow_ref()),
    ];
    root.bind(&customer.id, "registry.pull", repository(REPOSITORY), &conditions)
        .await?;
    let deployed = organisation.workload(&production.workload()).await?;
    deployed
        .session_for(&[REPOSITORY])
        .await?
        .pull_everything(REPOSITORY, "latest")
        .await?;
    for job in [
        deployment("staging", "deploy.yml"),
        deployment("production", "test.yml"),
        GitHubJob::on_branch("customer/other", "main").environment("production"),
        GitHubJob::on_branch("customer/platform", "next").environment("production"),
    ] {
        let workload = job.workload();
        let caller = organisation.workload(&workload).await?;
        let reply = caller
            .session_for(&[REPOSITORY])
            .await?
            .get(&format!("/v2/{REPOSITORY}/manifests/latest"))
            .await?
            .expect_error(403, "DENIED")?;
        must_explain(&String::from_utf8_lossy(&reply.body), "pull")?;
    }

    root.bind("anonymous", "registry.pull", repository(REPOSITORY), &[])
        .await?;
    for client in ALL {
        clients.pull(client, &image).await?;
    }
    let anonymous = organisation.cluster.anonymous()?;
    let uploads = format!("/v2/{REPOSITORY}/blobs/uploads/");
    anonymous
        .request(reqwest::Method::POST, &uploads)
        .send()
        .await?
        .expect_error(401, "UNAUTHORIZED")?;
    let refused = root
        .bind("anonymous", "registry.push", repository(REPOSITORY), &[])
        .await
        .err();
    ensure!(refused.is_some(), "everybody was allowed to push");
    clients.close().await?;
    organisation.stop().await
}
