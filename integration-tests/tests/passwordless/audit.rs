//! Everything about access is in the log: who came with which token, who was refused, and each change of what anybody may
//! do.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use roadstead_integration_tests::deadline::eventually;
use roadstead_integration_tests::{Credential, Mode, in_both_modes};
use roadstead_proto::auth::v1::{
    CreateRoleRequest, DeleteGroupRequest, DeleteIdentityRequest, DeleteRoleRequest, PushPolicy,
    RevokePullTokenRequest, RotatePullTokenRequest, UpdateGroupRequest, UpdateIdentityRequest,
    UpdateRoleRequest,
};
use roadstead_testkit::GitHubJob;
use roadstead_types::Digest;

use crate::administration::{Administration, group};
use crate::attacks::refused_with;
use crate::organisation::{
    EVENT_LIMIT, FIRST_OWNER, Organisation, events, exactly, exchange, exchanged, seen,
};

in_both_modes!(
    every_change_is_an_event_of_whoever_made_it,
    exchanges_and_refusals_are_events_and_repeated_ones_one,
);

/// Every kind of change that there is.
const CHANGES: [&str; 17] = [
    "group.created",
    "group.updated",
    "group.deleted",
    "identity.created",
    "identity.updated",
    "identity.deleted",
    "role.created",
    "role.updated",
    "role.deleted",
    "binding.created",
    "binding.deleted",
    "push_policy.set",
    "push_policy.lifted",
    "pull_token.created",
    "pull_token.rotated",
    "pull_token.revoked",
    "session.revoked",
];

/// Makes one change of each kind at or under `acme`.
async fn change_everything(root: &Administration) -> Result<()> {
    root.create_group("acme").await?;
    let mut groups = root.groups();
    groups
        .update_group(UpdateGroupRequest {
            path: "acme".to_owned(),
            display_name: "Acme".to_owned(),
        })
        .await?;
    root.set_push_policy(group("acme"), PushPolicy::WorkloadOnly)
        .await?;
    root.set_push_policy(group("acme"), PushPolicy::Unspecified)
        .await?;

    let job = GitHubJob::on_branch("acme/web", "main").workload();
    let identity = root.create_claim_match("acme", "ci", exactly(&job)).await?.id;
    let mut roles = root.roles();
    let capabilities = vec!["repo.pull".to_owned()];
    let role = CreateRoleRequest {
        group: "acme".to_owned(),
        name: "deployer".to_owned(),
        description: String::new(),
        capabilities: capabilities.clone(),
    };
    roles.create_role(role).await?;
    let binding = root.bind(&identity, "acme/deployer", group("acme"), &[]).await?;
    root.unbind(&binding.id).await?;
    let name = "acme/deployer".to_owned();
    let description = "deploys".to_owned();
    roles
        .update_role(UpdateRoleRequest {
            name: name.clone(),
            description: description.clone(),
            capabilities,
        })
        .await?;
    roles.delete_role(DeleteRoleRequest { name }).await?;
    let mut identities = root.identities();
    identities
        .update_identity(UpdateIdentityRequest {
            identity: identity.clone(),
            description,
            rule: None,
        })
        .await?;
    identities
        .delete_identity(DeleteIdentityRequest { identity })
        .await?;

    let token = root.create_pull_token("staging", vec![group("acme")]).await?;
    let id = token.pull_token.unwrap_or_default().id;
    let mut tokens = root.pull_tokens();
    tokens
        .rotate_pull_token(RotatePullTokenRequest {
            id: id.clone(),
            ttl: 0,
            overlap: 0,
        })
        .await?;
    tokens.revoke_pull_token(RevokePullTokenRequest { id }).await?;
    root.create_group("acme/gone").await?;
    groups
        .delete_group(DeleteGroupRequest {
            path: "acme/gone".to_owned(),
        })
        .await?;
    Ok(())
}

async fn every_change_is_an_event_of_whoever_made_it(mode: Mode) -> Result<()> {
    let organisation = Organisation::start(mode).await?;
    change_everything(&organisation.root).await?;
    // A login that is ended by its owner.
    let login = crate::attacks::log_in(&organisation, "olivia").await?;
    let refresh = login["refresh_token"].as_str().context("no refresh token")?;
    organisation
        .cluster
        .anonymous()?
        .request(reqwest::Method::POST, "/sts/revoke")
        .form(&[("token", refresh)])
        .send()
        .await?
        .expect(200)?;

    let wanted: BTreeSet<String> = CHANGES
        .iter()
        .map(|change| format!("dev.roadstead.iam.{change}.v1"))
        .collect();
    let all = eventually("every change is in the log", EVENT_LIMIT, async || {
        let all = events(&organisation, "dev.roadstead.iam.").await?;
        let kinds: BTreeSet<String> = all
            .iter()
            .filter_map(|event| Some(event["type"].as_str()?.into()))
            .collect();
        Ok(wanted.is_subset(&kinds).then_some(all))
    })
    .await?;
    let known: BTreeSet<&str> = all.iter().filter_map(|event| event["type"].as_str()).collect();
    let unknown: Vec<&&str> = known.iter().filter(|kind| !wanted.contains(**kind)).collect();
    ensure!(
        unknown.is_empty(),
        "changes that this test does not make: {unknown:?}"
    );
    for event in &all {
        ensure!(event["path"].is_string(), "an event of no place: {event}");
    }
    let by_root = all.iter().filter(|event| {
        let is_acme = event["path"]
            .as_str()
            .is_some_and(|path| path.starts_with("acme"));
        is_acme && event["data"]["actor"]["subject"] == FIRST_OWNER
    });
    let by_root: BTreeSet<&str> = by_root.filter_map(|event| event["type"].as_str()).collect();
    // All but the end of the login, which was somebody else's.
    ensure!(
        by_root.len() == CHANGES.len() - 1,
        "who and where, of {by_root:?} only"
    );
    organisation.stop().await
}

async fn exchanges_and_refusals_are_events_and_repeated_ones_one(mode: Mode) -> Result<()> {
    const TIMES: u64 = 100;
    const MOST_EVENTS: usize = 10;
    let organisation = Organisation::start_with(mode, &[], |setup| {
        setup.with("gateway.refusal_event_interval", "\"1s\"")
    })
    .await?;
    let registry = organisation.cluster.anonymous()?;
    let job = GitHubJob::on_branch("mallory/web", "main").workload();
    let token = organisation.issuers.workload(&job);
    let answer = exchanged(&registry, &token).await?;
    let exchange_event = seen(&organisation, "dev.roadstead.auth.exchange.v1", job.subject()).await?;
    let hash = Digest::sha256(token.as_bytes());
    ensure!(
        exchange_event["data"]["token_sha256"] == hash.encoded(),
        "{exchange_event}"
    );

    // Somebody known tries again and again.
    let access = answer["access_token"].as_str().context("no access token")?;
    let caller = registry.with(Credential::Token(access.to_owned()))?;
    let session = caller.session_for(&["acme/web"]).await?;
    for _ in 0..TIMES {
        let request = session.request(reqwest::Method::POST, "/v2/acme/web/blobs/uploads/");
        request.send().await?.expect(403)?;
    }
    let kind = "dev.roadstead.registry.refusal.v1";
    let refusals = eventually("all refusals are counted", EVENT_LIMIT, async || {
        let all = events(&organisation, kind).await?;
        let counted: u64 = all
            .iter()
            .filter_map(|event| event["data"]["count"].as_u64())
            .sum();
        Ok((counted >= TIMES).then_some(all))
    })
    .await?;
    ensure!(
        refusals.len() <= MOST_EVENTS,
        "{} events of {TIMES} refusals",
        refusals.len()
    );
    for refusal in &refusals {
        ensure!(
            refusal["path"] == "acme/web" && refusal.to_string().contains(job.subject()),
            "{refusal}"
        );
    }

    // What auth refuses it tells when it stops, at the latest.
    let stranger = job.at("https://issuer.of.nobody.example");
    for _ in 0..TIMES {
        let token = organisation.issuers.workload(&stranger);
        refused_with(exchange(&registry, &token).await, "an issuer of nobody").await?;
    }
    let organisation = organisation.restart().await?;
    let refusals = eventually("auth's refusals are in the log", EVENT_LIMIT, async || {
        let all = events(&organisation, "dev.roadstead.auth.refusal.v1").await?;
        let counted: u64 = all
            .iter()
            .filter_map(|event| event["data"]["count"].as_u64())
            .sum();
        Ok((counted >= TIMES).then_some(all))
    })
    .await?;
    ensure!(
        refusals.len() <= MOST_EVENTS,
        "{} events of {TIMES} refusals",
        refusals.len()
    );
    organisation.stop().await
}
