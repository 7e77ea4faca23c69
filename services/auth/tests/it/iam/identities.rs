use roadstead_proto::auth::v1::{
    ClaimMatch, GetIdentityRequest, Human, IamIdentity, ListIdentitiesRequest, ServiceAccount, StaticKeys,
    UpdateIdentityRequest, create_identity_request::Rule, update_identity_request,
};
use roadstead_rpc::ErrorReason;
use roadstead_testkit::SigningKey;
use serde_json::json;
use tonic::Status;

use super::support::{Caller, Registry};
use crate::harness::{by, group, refused, repository};

async fn seen(caller: &Caller<'_>, reference: &str) -> Result<IamIdentity, Status> {
    let request = GetIdentityRequest {
        identity: reference.to_owned(),
    };
    let answer = caller.identities().get_identity(by(&caller.token, request)).await;
    answer.map(|answer| answer.into_inner().identity.unwrap())
}

async fn names(caller: &Caller<'_>, of: &str, kind: &str) -> Vec<String> {
    let (mut names, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListIdentitiesRequest {
            group: of.to_owned(),
            kind: kind.to_owned(),
            page_size: 2,
            page_token,
        };
        let answer = caller
            .identities()
            .list_identities(by(&caller.token, request))
            .await;
        let answer = answer.unwrap().into_inner();
        assert!(answer.identities.len() <= 2);
        names.extend(answer.identities.into_iter().map(|identity| identity.name));
        if answer.next_page_token.is_empty() {
            return names;
        }
        page_token = answer.next_page_token;
    }
}

async fn update(
    caller: &Caller<'_>,
    reference: &str,
    rule: Option<update_identity_request::Rule>,
) -> Result<IamIdentity, Status> {
    let request = UpdateIdentityRequest {
        identity: reference.to_owned(),
        description: "changed".to_owned(),
        rule,
    };
    let answer = caller
        .identities()
        .update_identity(by(&caller.token, request))
        .await;
    answer.map(|answer| answer.into_inner().identity.unwrap())
}

fn keys(registry: &Registry, issuer: &str) -> StaticKeys {
    StaticKeys {
        issuer: issuer.to_owned(),
        subject: "robot".to_owned(),
        audience: String::new(),
        jwks_json: json!({ "keys": [SigningKey::es256("a").jwk()] }).to_string(),
        expires_at: registry.auth.clock.unix_seconds() + 3600,
    }
}

#[tokio::test]
async fn each_kind_is_made_found_listed_and_deleted() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    owner.create_group("acme/web").await.unwrap();
    let mut rule = registry.exact("main");
    rule.claims.insert("ref".to_owned(), "refs/heads/main".to_owned());
    rule.claim_patterns
        .insert("environment".to_owned(), "prod-.*".to_owned());
    let ci = owner
        .create_identity("acme", "ci", Rule::ClaimMatch(rule.clone()))
        .await
        .unwrap();
    assert_eq!((ci.name.as_str(), ci.group.as_str()), ("acme/ci", "acme"));
    assert!(ci.id.starts_with("idn_"));
    assert_eq!(
        ci.rule,
        Some(roadstead_proto::auth::v1::iam_identity::Rule::ClaimMatch(rule))
    );
    let robot = owner
        .create_identity(
            "acme/web",
            "robot",
            Rule::Static(keys(&registry, "https://keys.example")),
        )
        .await
        .unwrap();
    let service = Rule::Service(ServiceAccount {
        peer: "events".to_owned(),
    });
    owner.create_identity("acme", "scanner", service).await.unwrap();
    for reference in [&robot.id, &robot.name] {
        assert_eq!(seen(&owner, reference).await.unwrap(), robot);
    }
    assert_eq!(
        names(&owner, "acme", "").await,
        ["acme/ci", "acme/scanner", "acme/web/robot"]
    );
    assert_eq!(names(&owner, "acme", "static").await, ["acme/web/robot"]);
    owner.delete_identity("acme/ci").await.unwrap();
    assert_eq!(refused(seen(&owner, &ci.id).await), ErrorReason::NotFound);
    assert_eq!(
        refused(owner.delete_identity("acme/ci").await),
        ErrorReason::NotFound
    );
}

#[tokio::test]
async fn names_and_groups_are_checked() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    owner.create_group("acme").await.unwrap();
    owner.workload("acme", "ci", "main").await;
    let create = async |group: &str, name: &str| {
        let rule = Rule::ClaimMatch(registry.exact("main"));
        refused(owner.create_identity(group, name, rule).await)
    };
    assert_eq!(create("acme", "ci").await, ErrorReason::AlreadyExists);
    assert_eq!(create("", "anonymous").await, ErrorReason::AlreadyExists);
    for name in ["", "a/b", "CI", "idn_1", "ptk_1", "bnd_1", "a b"] {
        assert_eq!(create("acme", name).await, ErrorReason::NameInvalid, "{name}");
    }
    assert_eq!(create("acme/", "x").await, ErrorReason::NameInvalid);
}

#[tokio::test]
async fn a_missing_group_is_made_by_whoever_may_make_it() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    owner.create_group("acme/old").await.unwrap();
    owner.delete_group("acme/old").await.unwrap();
    owner
        .create_role(
            "acme",
            "hirer",
            &["identities.create", "roles.create", "repo.pull"],
        )
        .await
        .unwrap();
    let admin = registry.person_with("admin", "owner", group("acme")).await;
    admin.workload("acme/web/front", "ci", "main").await;
    admin
        .create_role("acme/api", "puller", &["repo.pull"])
        .await
        .unwrap();
    for there in ["acme/web", "acme/web/front", "acme/api"] {
        assert_eq!(
            refused(owner.create_group(there).await),
            ErrorReason::AlreadyExists
        );
    }
    let hirer = registry.person_with("hirer", "acme/hirer", group("acme")).await;
    hirer.workload("acme/web", "other", "main").await;
    let rule = || Rule::ClaimMatch(registry.exact("main"));
    for (caller, path, expected) in [
        (&admin, "acme/old", ErrorReason::PathTombstoned),
        (&admin, "acme/old/x", ErrorReason::PathTombstoned),
        (&admin, "beta", ErrorReason::CapabilityMissing),
        (&hirer, "acme/new", ErrorReason::CapabilityMissing),
    ] {
        assert_eq!(
            refused(caller.create_identity(path, "ci", rule()).await),
            expected,
            "{path}"
        );
        assert_eq!(
            refused(caller.create_role(path, "puller", &["repo.pull"]).await),
            expected,
            "{path}"
        );
    }
}

#[tokio::test]
async fn rules_that_say_too_little_or_too_much_are_refused() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    let refusal = async |rule: Rule| refused(owner.create_identity("", "x", rule).await);
    let anybody = ClaimMatch {
        issuer: registry.workloads.url().to_owned(),
        subject_pattern: ".*".to_owned(),
        ..ClaimMatch::default()
    };
    let unknown_issuer = ClaimMatch {
        issuer: "https://other.example".to_owned(),
        subject: "main".to_owned(),
        ..ClaimMatch::default()
    };
    let own = keys(&registry, "http://127.0.0.1:5000/x");
    let configured = keys(&registry, registry.people.url());
    let mut ended = keys(&registry, "https://keys.example");
    ended.expires_at = registry.auth.clock.unix_seconds();
    for rule in [
        Rule::ClaimMatch(anybody),
        Rule::ClaimMatch(unknown_issuer),
        Rule::ClaimMatch(ClaimMatch::default()),
        Rule::Static(own),
        Rule::Static(configured),
        Rule::Static(ended),
        Rule::Service(ServiceAccount {
            peer: "stranger".to_owned(),
        }),
    ] {
        assert_eq!(
            refusal(rule.clone()).await,
            ErrorReason::IdentityInvalid,
            "{rule:?}"
        );
    }
    let named_person = Rule::Human(Human {
        issuer: registry.people.url().to_owned(),
        subject: "alice".to_owned(),
        email: String::new(),
    });
    assert_eq!(refusal(named_person).await, ErrorReason::IdentityInvalid);
    let twice = || Rule::Static(keys(&registry, "https://keys.example"));
    owner.create_identity("", "one", twice()).await.unwrap();
    assert_eq!(
        refused(owner.create_identity("", "two", twice()).await),
        ErrorReason::AlreadyExists
    );
}

#[tokio::test]
async fn a_person_is_known_before_they_come_and_belongs_to_no_group() {
    let registry = Registry::start().await;
    registry.owner().await.create_group("acme").await.unwrap();
    let admin = registry.person_with("admin", "owner", group("acme")).await;
    let alice = Rule::Human(Human {
        issuer: registry.people.url().to_owned(),
        subject: "alice".to_owned(),
        email: "boss@acme.example".to_owned(),
    });
    // Whoever administers a group may say who is meant, and gives them something there.
    assert_eq!(
        refused(admin.create_identity("", "", alice.clone()).await),
        ErrorReason::CapabilityMissing
    );
    let made = admin.create_identity("acme", "", alice.clone()).await.unwrap();
    assert_eq!((made.group.as_str(), made.name.as_str()), ("", made.id.as_str()));
    let Some(roadstead_proto::auth::v1::iam_identity::Rule::Human(human)) = &made.rule else {
        panic!("{made:?}")
    };
    assert_eq!(human.email, "");
    admin
        .bind(&made.id, "registry.pull", group("acme"))
        .await
        .unwrap();
    let token = registry.person("alice").await;
    assert_eq!(token.who_am_i().await.unwrap().identities[0].id, made.id);
    assert_eq!(token.actions("acme/web").await, "pull");
    // But they neither see nor change somebody who belongs to all.
    assert_eq!(refused(seen(&admin, &made.id).await), ErrorReason::NotFound);
    assert_eq!(
        refused(admin.delete_identity(&made.id).await),
        ErrorReason::NotFound
    );
    assert_eq!(
        refused(admin.create_identity("acme", "", alice).await),
        ErrorReason::AlreadyExists
    );
}

#[tokio::test]
async fn what_lies_in_other_groups_is_unknown() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    for path in ["acme", "other"] {
        owner.create_group(path).await.unwrap();
    }
    let secret = owner.workload("other", "secret", "x").await;
    let admin = registry.person_with("admin", "owner", group("acme")).await;
    for reference in [secret.as_str(), "other/secret", "other/absent", "idn_0"] {
        assert_eq!(
            refused(seen(&admin, reference).await),
            ErrorReason::NotFound,
            "{reference}"
        );
        assert_eq!(
            refused(admin.delete_identity(reference).await),
            ErrorReason::NotFound
        );
        assert_eq!(
            refused(update(&admin, reference, None).await),
            ErrorReason::NotFound
        );
    }
    assert!(names(&admin, "", "").await.is_empty());
    assert!(names(&admin, "other", "").await.is_empty());
    // By its name it cannot be given anything either.
    for reference in ["other/secret", "other/absent"] {
        assert_eq!(
            refused(admin.bind(reference, "registry.pull", group("acme")).await),
            ErrorReason::NotFound
        );
    }
    // Whoever sees and may not change is told.
    let viewer = registry.person_with("viewer", "viewer", group("other")).await;
    assert_eq!(seen(&viewer, "other/secret").await.unwrap().id, secret);
    assert_eq!(
        refused(viewer.delete_identity("other/secret").await),
        ErrorReason::CapabilityMissing
    );
    assert_eq!(
        refused(update(&viewer, "other/secret", None).await),
        ErrorReason::CapabilityMissing
    );
}

#[tokio::test]
async fn whoever_changes_a_rule_must_be_able_to_give_all_that_the_identity_has() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    owner.create_group("acme").await.unwrap();
    owner.create_group("other").await.unwrap();
    let ci = owner.workload("acme", "ci", "main").await;
    let admin = registry.person_with("admin", "owner", group("acme")).await;
    let own_build = || Some(update_identity_request::Rule::ClaimMatch(registry.exact("mine")));
    // As long as it has something in their own group only, they may.
    owner.bind(&ci, "registry.push", group("acme")).await.unwrap();
    update(&admin, &ci, own_build()).await.unwrap();
    // Once somebody gave it more than they have, the rule decides over that.
    owner
        .bind(&ci, "registry.pull", repository("other/web"))
        .await
        .unwrap();
    assert_eq!(
        refused(update(&admin, &ci, own_build()).await),
        ErrorReason::CapabilityMissing
    );
    update(&admin, &ci, None).await.unwrap();
    let build = registry.build(json!({ "sub": "mine" })).await;
    assert_eq!(build.actions("other/web").await, "pull");
}

#[tokio::test]
async fn a_changed_rule_ends_what_the_old_one_gave() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    let ci = owner.workload("", "ci", "main").await;
    owner.bind(&ci, "registry.push", group("acme")).await.unwrap();
    let build = registry.build(json!({ "sub": "main" })).await;
    assert_eq!(build.actions("acme/web").await, "pull,push");
    let kept = update(&owner, &ci, None).await.unwrap();
    assert_eq!(kept.description, "changed");
    assert_eq!(build.actions("acme/web").await, "pull,push");
    let rule = update_identity_request::Rule::ClaimMatch(registry.exact("dev"));
    update(&owner, &ci, Some(rule)).await.unwrap();
    assert_eq!(refused(build.who_am_i().await), ErrorReason::TokenInvalid);
    let again = registry.build(json!({ "sub": "main" })).await;
    assert_eq!(again.actions("acme/web").await, "");
    let dev = registry.build(json!({ "sub": "dev" })).await;
    assert_eq!(dev.actions("acme/web").await, "pull,push");
    // A rule does not become one of another kind.
    let other_kind = update_identity_request::Rule::Static(keys(&registry, "https://keys.example"));
    assert_eq!(
        refused(update(&owner, &ci, Some(other_kind)).await),
        ErrorReason::IdentityInvalid
    );
    owner.delete_identity(&ci).await.unwrap();
    assert_eq!(refused(dev.who_am_i().await), ErrorReason::TokenInvalid);
}

#[tokio::test]
async fn everybody_is_not_changed() {
    let registry = Registry::start().await;
    let owner = registry.owner().await;
    assert_eq!(
        refused(owner.delete_identity("anonymous").await),
        ErrorReason::IdentityInvalid
    );
    let rule = update_identity_request::Rule::ClaimMatch(registry.exact("main"));
    assert_eq!(
        refused(update(&owner, "anonymous", Some(rule)).await),
        ErrorReason::IdentityInvalid
    );
}
