//! Where only workloads may push.

use roadstead_proto::auth::v1::{
    ClaimMatch, ListPushPoliciesRequest, PushPolicy, Resource, create_identity_request::Rule,
};
use roadstead_rpc::ErrorReason;
use serde_json::json;

use super::support::{Caller, Registry};
use crate::harness::{AUDIENCE, by, group, refused, repository};

async fn marks(caller: &Caller<'_>, path: &str) -> Vec<String> {
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListPushPoliciesRequest {
            path: path.to_owned(),
            page_size: 1,
            page_token,
        };
        let answer = caller
            .groups()
            .list_push_policies(by(&caller.token, request))
            .await;
        let answer = answer.unwrap().into_inner();
        found.extend(answer.policies.into_iter().map(|mark| {
            assert_eq!(mark.policy(), PushPolicy::WorkloadOnly);
            mark.resource.unwrap().path
        }));
        if answer.next_page_token.is_empty() {
            return found;
        }
        page_token = answer.next_page_token;
    }
}

/// A registry where a build, a build by pattern, a build of an unmarked issuer, and an owner may push to `acme/images`.
struct Pushers {
    registry: Registry,
}

impl Pushers {
    async fn start() -> Self {
        let registry = Registry::start().await;
        let owner = registry.owner().await;
        owner.create_group("acme/images").await.unwrap();
        let by_pattern = ClaimMatch {
            issuer: registry.workloads.url().to_owned(),
            subject_pattern: "repo:acme/.*".to_owned(),
            ..ClaimMatch::default()
        };
        let by_issuer_pattern = ClaimMatch {
            issuer_pattern: ".*".to_owned(),
            subject: "any-issuer".to_owned(),
            ..ClaimMatch::default()
        };
        let by_audience_pattern = ClaimMatch {
            audience_pattern: format!("{AUDIENCE}|other"),
            ..registry.exact("any-audience")
        };
        let by_audience = ClaimMatch {
            audience: AUDIENCE.to_owned(),
            ..registry.exact("exact-audience")
        };
        let unmarked = ClaimMatch {
            issuer: registry.people.url().to_owned(),
            subject: "robot".to_owned(),
            ..ClaimMatch::default()
        };
        for (name, rule) in [
            ("exact", registry.exact("main")),
            ("pattern", by_pattern),
            ("issuer", by_issuer_pattern),
            ("any-audience", by_audience_pattern),
            ("audience", by_audience),
            ("robot", unmarked),
        ] {
            let made = owner.create_identity("acme", name, Rule::ClaimMatch(rule)).await;
            owner
                .bind(&made.unwrap().id, "registry.push", group("acme"))
                .await
                .unwrap();
        }
        registry.person_with("alice", "owner", group("acme")).await;
        Self { registry }
    }

    /// Who of all that have `repo.push` on a repository gets it.
    async fn pushing(&self, name: &str) -> Vec<&'static str> {
        let mut pushing = Vec::new();
        for subject in [
            "main",
            "exact-audience",
            "repo:acme/images",
            "any-issuer",
            "any-audience",
        ] {
            let build = self.registry.build(json!({ "sub": subject })).await;
            if build.actions(name).await.contains("push") {
                pushing.push(subject);
            }
        }
        for subject in ["robot", "alice"] {
            let person = self.registry.person(subject).await;
            if person.actions(name).await.contains("push") {
                pushing.push(subject);
            }
        }
        if self.registry.owner().await.actions(name).await.contains("push") {
            pushing.push("owner");
        }
        pushing
    }
}

const ALL: [&str; 8] = [
    "main",
    "exact-audience",
    "repo:acme/images",
    "any-issuer",
    "any-audience",
    "robot",
    "alice",
    "owner",
];
const EXACT: [&str; 2] = ["main", "exact-audience"];

#[tokio::test]
async fn only_exact_identities_of_marked_issuers_push_where_it_is_marked() {
    let pushers = Pushers::start().await;
    let owner = pushers.registry.owner().await;
    let image = "acme/images/base";
    assert_eq!(pushers.pushing(image).await, ALL);
    for place in [group("acme/images"), group("acme"), group(""), repository(image)] {
        owner.mark(place.clone(), PushPolicy::WorkloadOnly).await.unwrap();
        assert_eq!(pushers.pushing(image).await, EXACT, "{place:?}");
        owner.mark(place, PushPolicy::Unspecified).await.unwrap();
        assert_eq!(pushers.pushing(image).await, ALL);
    }
    owner
        .mark(group("acme/images"), PushPolicy::WorkloadOnly)
        .await
        .unwrap();
    assert_eq!(pushers.pushing("acme/other").await, ALL);
    assert_eq!(pushers.pushing("acme/images-two").await, ALL);
    // Another mark above is not lifted with the one below.
    owner.mark(group("acme"), PushPolicy::WorkloadOnly).await.unwrap();
    owner
        .mark(group("acme/images"), PushPolicy::Unspecified)
        .await
        .unwrap();
    assert_eq!(pushers.pushing(image).await, EXACT);
}

#[tokio::test]
async fn a_mark_revokes_what_was_signed_before() {
    let pushers = Pushers::start().await;
    let owner = pushers.registry.owner().await;
    let alice = pushers.registry.person("alice").await;
    let sign = async |scope: &str| {
        let answer = pushers.registry.auth.registry_token(&alice.token, &[scope]).await;
        answer.unwrap().token
    };
    let here = sign("repository:acme/images/base:push").await;
    let elsewhere = sign("repository:acme/other:push").await;
    owner
        .mark(group("acme/images"), PushPolicy::WorkloadOnly)
        .await
        .unwrap();
    assert_eq!(
        refused(pushers.registry.auth.readable(&here).await),
        ErrorReason::TokenInvalid
    );
    pushers.registry.auth.readable(&elsewhere).await.unwrap();
}

#[tokio::test]
async fn marking_and_lifting_are_capabilities_of_their_own() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    owner.create_group("acme/images").await.unwrap();
    owner
        .create_role("acme", "marker", &["push_policies.set", "groups.list"])
        .await
        .unwrap();
    let marker = registry.person_with("marker", "acme/marker", group("acme")).await;
    marker
        .mark(group("acme/images"), PushPolicy::WorkloadOnly)
        .await
        .unwrap();
    // Once more changes nothing.
    marker
        .mark(group("acme/images"), PushPolicy::WorkloadOnly)
        .await
        .unwrap();
    for (place, policy) in [
        (group("acme/images"), PushPolicy::Unspecified),
        (group(""), PushPolicy::WorkloadOnly),
        (repository("other/web"), PushPolicy::WorkloadOnly),
    ] {
        assert_eq!(
            refused(marker.mark(place, policy).await),
            ErrorReason::CapabilityMissing
        );
    }
    let editor = registry.person_with("editor", "editor", group("acme")).await;
    assert_eq!(
        refused(editor.mark(group("acme"), PushPolicy::WorkloadOnly).await),
        ErrorReason::CapabilityMissing
    );
    assert_eq!(
        refused(owner.mark(group("absent"), PushPolicy::WorkloadOnly).await),
        ErrorReason::NotFound
    );
    assert_eq!(
        refused(owner.mark(repository("A"), PushPolicy::WorkloadOnly).await),
        ErrorReason::NameInvalid
    );
}

#[tokio::test]
async fn marks_outlive_the_group_and_are_listed_where_it_is_visible() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    for path in ["acme/images", "other"] {
        owner.create_group(path).await.unwrap();
    }
    let places: [Resource; 3] = [group("acme/images"), repository("acme/images"), group("other")];
    for place in places {
        owner.mark(place, PushPolicy::WorkloadOnly).await.unwrap();
    }
    assert_eq!(marks(&owner, "").await, ["acme/images", "acme/images", "other"]);
    assert_eq!(marks(&owner, "acme").await, ["acme/images", "acme/images"]);
    let viewer = registry.person_with("viewer", "viewer", group("other")).await;
    assert_eq!(marks(&viewer, "").await, ["other"]);
    assert!(marks(&viewer, "acme").await.is_empty());
    // Deleting and restoring a group is no way around lifting.
    owner.delete_group("acme/images").await.unwrap();
    owner.create_group_as("acme/images", true).await.unwrap();
    assert_eq!(owner.actions("acme/images/base").await, "pull,delete");
}
