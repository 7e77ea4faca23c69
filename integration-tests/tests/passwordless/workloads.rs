//! Workloads of every platform, with tokens exactly as their platforms issue them: exchange, push, pull.

use anyhow::{Result, ensure};
use roadstead_integration_tests::image::Image;
use roadstead_integration_tests::{Mode, in_both_modes};
use roadstead_proto::auth::v1::ClaimMatch;
use roadstead_testkit::{
    BuildkiteJob, CircleCiJob, ComputeInstance, GitHubJob, GitLabJob, KubernetesPod, Workload,
};

use crate::administration::group;
use crate::organisation::{AUDIENCE, Organisation, exactly, exchanged};

in_both_modes!(
    every_platform_pushes_and_pulls,
    rules_and_conditions_look_at_any_claim,
);

/// A workload of each platform, and how the rest of the world differs from it in its subject.
fn platforms() -> Vec<(&'static str, Workload, Workload)> {
    let github = |branch: &str| GitHubJob::on_branch("acme/images", branch);
    let gitlab = |branch: &str| GitLabJob::on_branch("acme/backend/images", branch).workload();
    let buildkite = |branch: &str| BuildkiteJob::on_branch("acme", "images", branch).workload();
    let circleci = |branch: &str| CircleCiJob::on_branch("acme", "images", branch).workload();
    let kubernetes = |account: &str| KubernetesPod::of("production", account).workload();
    let google = |account: &str| ComputeInstance::of("acme-production", account).workload();
    vec![
        ("github", github("main").workload(), github("next").workload()),
        (
            "github-immutable",
            github("main").immutable_subject().workload(),
            github("next").immutable_subject().workload(),
        ),
        (
            "github-environment",
            github("main").environment("production").workload(),
            github("main").environment("staging").workload(),
        ),
        ("gitlab", gitlab("main"), gitlab("next")),
        ("buildkite", buildkite("main"), buildkite("next")),
        ("circleci", circleci("main"), circleci("next")),
        ("kubernetes", kubernetes("builder"), kubernetes("web")),
        ("google", google("builder"), google("web")),
    ]
}

async fn organisation(mode: Mode) -> Result<Organisation> {
    let platforms = platforms();
    let mut trusted: Vec<&Workload> = Vec::new();
    for (_, workload, _) in &platforms {
        let known = |other: &&Workload| other.issuer() == workload.issuer();
        if workload.issuer() != GitHubJob::ISSUER && !trusted.iter().any(known) {
            trusted.push(workload);
        }
    }
    Organisation::start_with(mode, &trusted, |setup| setup).await
}

async fn every_platform_pushes_and_pulls(mode: Mode) -> Result<()> {
    let organisation = organisation(mode).await?;
    let root = &organisation.root;
    for (name, workload, other) in platforms() {
        let path = format!("acme/{name}");
        root.create_group(&path).await?;
        let identity = root.create_claim_match(&path, "ci", exactly(&workload)).await?;
        root.bind(&identity.id, "registry.push", group(&path), &[])
            .await?;

        let answer = exchanged(
            &organisation.cluster.anonymous()?,
            &organisation.issuers.workload(&workload),
        )
        .await?;
        ensure!(answer["identity"]["subject"] == workload.subject(), "{answer}");
        ensure!(
            answer["identities"][0]["name"] == format!("{path}/ci"),
            "{answer}"
        );

        let repository = format!("{path}/web");
        let image = Image::small(name)?;
        let session = organisation
            .workload(&workload)
            .await?
            .session_for(&[&repository])
            .await?;
        session.push_image(&repository, "latest", &image).await?;
        session.pull_everything(&repository, "latest").await?;

        let stranger = organisation.workload(&other).await?;
        let session = stranger.session_for(&[&repository]).await?;
        session
            .get(&format!("/v2/{repository}/manifests/latest"))
            .await?
            .expect_error(403, "DENIED")?;
    }
    organisation.stop().await
}

/// A claim of each type that platforms use, in the rule of an identity and in the condition of a binding.
async fn rules_and_conditions_look_at_any_claim(mode: Mode) -> Result<()> {
    let organisation = organisation(mode).await?;
    let root = &organisation.root;
    root.create_group("acme").await?;
    // (what it is, whose claim, the claim, its value as a rule writes it, another value)
    let gitlab = GitLabJob::on_branch("acme/backend/images", "main").environment("production");
    let circleci = CircleCiJob::on_branch("acme", "images", "main").workload();
    let context = circleci.claim("oidc.circleci.com/context-ids")[1]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let buildkite = BuildkiteJob::on_branch("acme", "images", "main")
        .step("release")
        .workload();
    let google = ComputeInstance::of("acme-production", "builder").workload();
    let github = GitHubJob::on_branch("acme/images", "main");
    let cases = [
        (
            "text",
            github.workload(),
            "job_workflow_ref",
            github.workflow_ref(),
            "other",
        ),
        ("number", buildkite, "build_number", "5".to_owned(), "6"),
        ("boolean", google, "email_verified", "true".to_owned(), "false"),
        (
            "list",
            circleci,
            "oidc.circleci.com/context-ids",
            context,
            "other",
        ),
        (
            "environment",
            gitlab.workload(),
            "environment",
            "production".to_owned(),
            "staging",
        ),
    ];
    for (name, workload, claim, value, other) in cases {
        for (kind, wanted) in [("good", value.as_str()), ("bad", other)] {
            let rule = ClaimMatch {
                claims: [(claim.to_owned(), wanted.to_owned())].into(),
                audience: AUDIENCE.to_owned(),
                ..exactly(&workload)
            };
            let by_rule = format!("acme/{name}/{kind}-rule");
            let by_condition = format!("acme/{name}/{kind}-condition");
            let ruled = root
                .create_claim_match("acme", &format!("{name}-{kind}"), rule)
                .await?;
            root.bind(&ruled.id, "registry.push", group(&by_rule), &[])
                .await?;
            let plain = root
                .create_claim_match("acme", &format!("{name}-{kind}-plain"), exactly(&workload))
                .await?;
            root.bind(
                &plain.id,
                "registry.push",
                group(&by_condition),
                &[(claim, wanted)],
            )
            .await?;
            let caller = organisation.workload(&workload).await?;
            for path in [by_rule, by_condition] {
                let repository = format!("{path}/one");
                let session = caller.session_for(&[&repository]).await?;
                let reply = session
                    .request(reqwest::Method::POST, &format!("/v2/{repository}/blobs/uploads/"))
                    .send()
                    .await?;
                let expected = if kind == "good" { 202 } else { 403 };
                ensure!(
                    reply.status == expected,
                    "{claim} = {wanted:?} ({path}): {} instead of {expected}",
                    reply.status
                );
            }
        }
    }
    organisation.stop().await
}
