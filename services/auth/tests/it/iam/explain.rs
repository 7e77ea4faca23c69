//! Explanations, and who may have them.

use roadstead_proto::auth::v1::{
    ExplainRequest, Explanation, PushPolicy, TestClaimsRequest, create_identity_request::Rule,
};
use roadstead_rpc::ErrorReason;
use serde_json::{Value, json};
use tonic::Status;

use super::support::{Caller, Registry};
use crate::harness::{AUDIENCE, by, group, refused, repository};

const IMAGE: &str = "acme/images/base";

async fn explain(
    caller: &Caller<'_>,
    identity: &str,
    action: &str,
    claims: &Value,
) -> Result<Explanation, Status> {
    let request = ExplainRequest {
        identity: identity.to_owned(),
        repository: IMAGE.to_owned(),
        action: action.to_owned(),
        claims_json: claims.to_string(),
    };
    let answer = caller.policies().explain(by(&caller.token, request)).await;
    answer.map(|answer| answer.into_inner().explanation.unwrap())
}

async fn test_claims(caller: &Caller<'_>, claims: &Value, action: &str) -> Result<Explanation, Status> {
    let request = TestClaimsRequest {
        claims_json: claims.to_string(),
        repository: IMAGE.to_owned(),
        action: action.to_owned(),
    };
    let answer = caller.policies().test_claims(by(&caller.token, request)).await;
    answer.map(|answer| answer.into_inner().explanation.unwrap())
}

fn findings(explanation: &Explanation) -> String {
    let lines = explanation
        .steps
        .iter()
        .map(|step| format!("{} {}: {}", step.holds, step.subject, step.finding));
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn an_explanation_agrees_with_the_token() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    owner.create_group("acme").await.unwrap();
    let id = owner.workload("acme", "ci", "main").await;
    let binding = owner
        .bind(&id, "registry.push", group("acme/images"))
        .await
        .unwrap();
    let build = registry.build(json!({ "sub": "main" })).await;
    let granted = build.actions(IMAGE).await;
    for action in ["pull", "push", "delete"] {
        let own = explain(&build, "", action, &json!({})).await.unwrap();
        assert_eq!(own.allowed, granted.contains(action), "{action}: {}", own.summary);
        assert_eq!(own.capability, format!("repo.{action}"));
        assert_eq!(own.identities[0].name, "acme/ci");
        for reference in [&id, "acme/ci"] {
            let other = explain(&owner, reference, action, &json!({})).await.unwrap();
            assert_eq!((other.allowed, &other.summary), (own.allowed, &own.summary));
        }
    }
    let push = explain(&build, "", "push", &json!({})).await.unwrap();
    assert!(
        push.summary.contains(&binding.id) && push.summary.contains("acme/images"),
        "{}",
        push.summary
    );
    assert!(push.next_commands.is_empty());
    let delete = explain(&build, "", "repo.delete", &json!({})).await.unwrap();
    assert!(
        findings(&delete).contains("the role lacks repo.delete"),
        "{delete:?}"
    );
    assert_eq!(
        delete.next_commands,
        ["roadstead iam bindings create --identity acme/ci --role editor --repo acme/images/base"]
    );
}

#[tokio::test]
async fn every_reason_is_named() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    owner.create_group("acme/images").await.unwrap();
    let id = owner.workload("acme", "ci", "main").await;
    let unbound = explain(&owner, &id, "push", &json!({})).await.unwrap();
    assert!(unbound.summary.contains("it has no role"), "{}", unbound.summary);
    owner
        .bind_if(
            &id,
            "registry.push",
            group("acme"),
            &[("environment", "production")],
        )
        .await
        .unwrap();
    let unmet = explain(&owner, &id, "push", &json!({})).await.unwrap();
    assert!(unmet.summary.contains("environment"), "{}", unmet.summary);
    let here = json!({ "environment": "production" });
    assert!(explain(&owner, &id, "push", &here).await.unwrap().allowed);
    let pattern = owner
        .create_identity(
            "acme",
            "any-branch",
            Rule::ClaimMatch(roadstead_proto::auth::v1::ClaimMatch {
                issuer: registry.workloads.url().to_owned(),
                subject_pattern: "repo:acme/.*".to_owned(),
                ..Default::default()
            }),
        )
        .await
        .unwrap();
    owner
        .bind(&pattern.id, "registry.push", group("acme"))
        .await
        .unwrap();
    assert!(explain(&owner, &pattern.id, "push", &here).await.unwrap().allowed);
    owner
        .mark(group("acme/images"), PushPolicy::WorkloadOnly)
        .await
        .unwrap();
    let marked = explain(&owner, &pattern.id, "push", &here).await.unwrap();
    assert!(
        marked.summary.contains("workloads") && marked.summary.contains("its subject is a pattern"),
        "{}",
        marked.summary
    );
    assert!(explain(&owner, &id, "push", &here).await.unwrap().allowed);
    let everybody = explain(&owner, "anonymous", "pull", &json!({})).await.unwrap();
    assert!(!everybody.allowed);
    owner.delete_group("acme/images").await.unwrap();
    let buried = explain(&owner, &id, "push", &here).await.unwrap();
    assert!(
        !buried.allowed && buried.summary.contains("deleted"),
        "{}",
        buried.summary
    );
}

#[tokio::test]
async fn about_others_only_whoever_sees_the_bindings_is_told() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    owner.create_group("acme").await.unwrap();
    owner.create_group("other").await.unwrap();
    owner.workload("acme", "ci", "main").await;
    owner.workload("other", "secret", "x").await;
    let claims = json!({ "iss": registry.workloads.url(), "sub": "main", "aud": AUDIENCE });
    let puller = registry
        .person_with("puller", "registry.pull", group("acme"))
        .await;
    let nobody = registry.person("nobody").await;
    for caller in [&puller, &nobody] {
        explain(caller, "", "push", &json!({})).await.unwrap();
        for identity in ["anonymous", "acme/ci", "other/secret", "other/absent"] {
            assert_eq!(
                refused(explain(caller, identity, "push", &json!({})).await),
                ErrorReason::CapabilityMissing
            );
        }
        assert_eq!(
            refused(test_claims(caller, &claims, "push").await),
            ErrorReason::CapabilityMissing
        );
    }
    let viewer = registry.person_with("viewer", "viewer", group("acme")).await;
    explain(&viewer, "acme/ci", "push", &json!({})).await.unwrap();
    test_claims(&viewer, &claims, "push").await.unwrap();
    for identity in ["other/secret", "other/absent"] {
        assert_eq!(
            refused(explain(&viewer, identity, "push", &json!({})).await),
            ErrorReason::NotFound
        );
    }
    for (action, claims) in [("fly", "{}"), ("push", "[]"), ("push", "{")] {
        let request = ExplainRequest {
            identity: "acme/ci".to_owned(),
            repository: IMAGE.to_owned(),
            action: action.to_owned(),
            claims_json: claims.to_owned(),
        };
        let outcome = viewer.policies().explain(by(&viewer.token, request)).await;
        assert_eq!(
            refused(outcome),
            ErrorReason::ArgumentInvalid,
            "{action} {claims}"
        );
    }
}

#[tokio::test]
async fn claims_are_tried_as_a_token_would_be() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    owner.create_group("acme").await.unwrap();
    let mut rule = registry.exact("main");
    rule.claims.insert("ref".to_owned(), "refs/heads/main".to_owned());
    owner
        .create_identity("acme", "ci", Rule::ClaimMatch(rule))
        .await
        .unwrap();
    owner
        .bind("acme/ci", "registry.push", group("acme"))
        .await
        .unwrap();
    let tried = async |sub: &str, aud: &str, git_ref: &str| {
        let claims = json!({ "iss": registry.workloads.url(), "sub": sub, "aud": aud, "ref": git_ref });
        test_claims(&owner, &claims, "push").await.unwrap()
    };
    let good = tried("main", AUDIENCE, "refs/heads/main").await;
    assert!(good.allowed, "{}", findings(&good));
    assert_eq!(good.identities[0].name, "acme/ci");
    for (explanation, differs) in [
        (
            tried("dev", AUDIENCE, "refs/heads/main").await,
            "the subject \"dev\"",
        ),
        (
            tried("main", "other", "refs/heads/main").await,
            "the audience (\"other\")",
        ),
        (
            tried("main", AUDIENCE, "refs/heads/dev").await,
            "the claim ref (\"refs/heads/dev\")",
        ),
    ] {
        assert!(!explanation.allowed);
        assert!(explanation.identities.is_empty());
        let told = findings(&explanation);
        assert!(
            told.contains("acme/ci") && told.contains(differs) && explanation.summary.contains(differs),
            "{differs}: {told}"
        );
    }
    for wrong in [json!({ "iss": "https://x.example" }), json!({ "sub": "main" })] {
        assert_eq!(
            refused(test_claims(&owner, &wrong, "push").await),
            ErrorReason::ArgumentInvalid
        );
    }
    let stranger = json!({ "iss": "https://x.example", "sub": "main", "aud": AUDIENCE });
    assert!(!test_claims(&owner, &stranger, "push").await.unwrap().allowed);
}

#[tokio::test]
async fn trying_claims_tells_nothing_of_other_groups() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    owner.create_group("acme").await.unwrap();
    owner.create_group("other").await.unwrap();
    let secret = owner.workload("other", "secret", "main").await;
    owner
        .bind(&secret, "registry.push", group("other"))
        .await
        .unwrap();
    let viewer = registry.person_with("viewer", "viewer", group("acme")).await;
    let claims = json!({ "iss": registry.workloads.url(), "sub": "main", "aud": AUDIENCE });
    let told = test_claims(&viewer, &claims, "push").await.unwrap();
    assert!(!format!("{told:?}").contains("secret"), "{told:?}");
    // What it was given here is theirs to know.
    owner
        .bind(&secret, "registry.pull", repository(IMAGE))
        .await
        .unwrap();
    let told = test_claims(&viewer, &claims, "pull").await.unwrap();
    assert!(
        told.allowed && findings(&told).contains("other/secret"),
        "{told:?}"
    );
}

#[tokio::test]
async fn everybody_is_told_who_they_are() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    let dev = owner.who_am_i().await.unwrap();
    assert_eq!(dev.identities[0].kind, "human");
    assert_eq!(dev.bindings[0].role, "owner");
    assert_eq!(dev.upstream.unwrap().subject, "dev");
    assert_eq!(dev.expires_at, registry.auth.clock.unix_seconds() + 3600);
    let nobody = registry.person("nobody").await.who_am_i().await.unwrap();
    assert!(nobody.identities.is_empty() && nobody.bindings.is_empty());
    assert_eq!(nobody.upstream.unwrap().subject, "nobody");
    let id = owner.workload("", "ci", "main").await;
    owner
        .bind_if(&id, "registry.push", group("acme"), &[("ref", "main")])
        .await
        .unwrap();
    let build = registry.build(json!({ "sub": "main" })).await;
    let me = build.who_am_i().await.unwrap();
    assert_eq!(me.identities[0].name, "ci");
    let [binding] = me.bindings.as_slice() else {
        panic!("{:?}", me.bindings)
    };
    assert_eq!(binding.conditions[0].claim, "ref");
}
