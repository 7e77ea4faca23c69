//! Bindings that hold only for tokens with certain claims.

use roadstead_proto::auth::v1::{Condition, CreateBindingRequest};
use roadstead_rpc::ErrorReason;
use roadstead_types::{Action, RepositoryName};
use serde_json::json;

use super::support::Registry;
use crate::harness::{by, group, refused};

const REPOSITORY: &str = "acme/web";

#[tokio::test]
async fn pulls_work_from_the_expected_environment_only() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    let id = owner.workload("", "customer", "customer").await;
    owner
        .bind_if(
            &id,
            "registry.pull",
            group("acme"),
            &[("environment", "production"), ("repository", "customer/app")],
        )
        .await
        .unwrap();
    let actions = async |claims: serde_json::Value| {
        let mut claims = claims;
        claims["sub"] = json!("customer");
        registry.build(claims).await.actions(REPOSITORY).await
    };
    let (production, app) = (json!("production"), json!("customer/app"));
    assert_eq!(
        actions(json!({ "environment": production, "repository": app })).await,
        "pull"
    );
    for claims in [
        json!({ "environment": "staging", "repository": app }),
        json!({ "environment": production, "repository": "evil/app" }),
        json!({ "environment": production }),
        json!({}),
        json!({ "environment": { "name": "production" }, "repository": app }),
    ] {
        assert_eq!(actions(claims.clone()).await, "", "{claims}");
    }
}

#[tokio::test]
async fn a_refusal_says_which_claim_is_missing() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    let id = owner.workload("", "customer", "customer").await;
    owner
        .bind_if(
            &id,
            "registry.pull",
            group("acme"),
            &[("environment", "production")],
        )
        .await
        .unwrap();
    let build = registry
        .build(json!({ "sub": "customer", "environment": "staging" }))
        .await;
    let verifier = registry.auth.verifier().await;
    let token = registry
        .auth
        .registry_token(&build.token, &["repository:acme/web:pull"])
        .await
        .unwrap()
        .token;
    let claims = verifier.registry(&token).unwrap();
    let denial = claims
        .denial(&RepositoryName::parse(REPOSITORY).unwrap(), Action::Pull)
        .unwrap();
    let why = denial.why.as_deref().unwrap();
    assert!(why.contains("environment") && why.contains("production"), "{why}");
    // A stranger learns who they are, and nothing of whom we know.
    let stranger = registry.build(json!({ "sub": "stranger" })).await;
    let token = registry
        .auth
        .registry_token(&stranger.token, &["repository:acme/web:pull"])
        .await
        .unwrap()
        .token;
    let claims = verifier.registry(&token).unwrap();
    let why = claims.denied[0].why.as_deref().unwrap();
    assert!(
        why.contains("stranger") && !why.contains("customer") && !why.contains("environment"),
        "{why}"
    );
}

#[tokio::test]
async fn a_registry_token_keeps_the_claims_that_conditions_look_at() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    let id = owner.workload("", "customer", "customer").await;
    owner
        .bind_if(
            &id,
            "registry.pull",
            group("acme"),
            &[("environment", "production")],
        )
        .await
        .unwrap();
    for (environment, prefixes) in [("production", vec!["acme"]), ("staging", vec![])] {
        let build = registry
            .build(json!({ "sub": "customer", "environment": environment, "padding": "x" }))
            .await;
        // Even of one that was got for something else.
        let token = registry
            .auth
            .registry_token(&build.token, &[])
            .await
            .unwrap()
            .token;
        assert_eq!(registry.auth.readable(&token).await.unwrap().prefixes, prefixes);
        let claims: serde_json::Value = jsonwebtoken::dangerous::insecure_decode_claims(&token).unwrap();
        assert_eq!(claims["act"]["claims"]["environment"], environment);
        assert!(claims["act"]["claims"].get("padding").is_none(), "{claims}");
    }
}

#[tokio::test]
async fn what_is_held_under_a_condition_is_not_freed_of_it() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    owner.create_group("acme").await.unwrap();
    let id = owner.workload("", "deployer", "deployer").await;
    let friend = owner.human(&registry.people, "friend").await;
    owner
        .bind_if(&id, "owner", group("acme"), &[("environment", "production")])
        .await
        .unwrap();
    let build = registry
        .build(json!({ "sub": "deployer", "environment": "production" }))
        .await;
    for identity in [&id, &friend] {
        assert_eq!(
            refused(build.bind(identity, "registry.pull", group("acme")).await),
            ErrorReason::CapabilityMissing
        );
        build
            .bind_if(
                identity,
                "registry.pull",
                group("acme"),
                &[("environment", "production")],
            )
            .await
            .unwrap();
    }
    assert_eq!(
        refused(build.create_role("acme", "puller", &["repo.pull"]).await),
        ErrorReason::CapabilityMissing
    );
    let elsewhere = registry
        .build(json!({ "sub": "deployer", "environment": "staging" }))
        .await;
    assert_eq!(
        refused(elsewhere.create_group("acme/x").await),
        ErrorReason::CapabilityMissing
    );
}

#[tokio::test]
async fn conditions_that_could_not_hold_are_refused() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    let id = owner.workload("", "ci", "main").await;
    let condition = |claim: &str, value: &str, pattern: &str| Condition {
        claim: claim.to_owned(),
        value: value.to_owned(),
        pattern: pattern.to_owned(),
    };
    for wrong in [
        condition("sub", "main", ""),
        condition("", "main", ""),
        condition("ref", "", ""),
        condition("ref", "main", "main"),
        condition("ref", "", "(main"),
    ] {
        let request = CreateBindingRequest {
            identity: id.clone(),
            role: "registry.pull".to_owned(),
            resource: Some(group("acme")),
            conditions: vec![wrong.clone()],
        };
        let outcome = owner.bindings().create_binding(by(&owner.token, request)).await;
        assert_eq!(refused(outcome), ErrorReason::ArgumentInvalid, "{wrong:?}");
    }
}
