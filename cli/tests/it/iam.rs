//! The nouns of `roadstead iam`: what is asked of the registry, and how its answers and refusals are told.

use std::{fs, process::Output};

use serde_json::{Value, json};

use crate::support::{DEV_SECRET, Machine, Registry, assert_code, output_with_input, stderr, stdout};

fn logged_in() -> (Machine, Registry) {
    let machine = Machine::new();
    let registry = Registry::start();
    machine.leave_dev_secret(registry.port(), DEV_SECRET);
    assert_code(&machine.run(&["login", &registry.host()]), 0);
    (machine, registry)
}

#[track_caller]
fn json_of(output: &Output) -> Value {
    assert_code(output, 0);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn assert_asked(registry: &Registry, call: &str, parts: &[&str]) {
    let request = registry.call(call);
    for part in parts {
        assert!(request.contains(part), "{part} is not in {request}");
    }
}

#[test]
fn groups_are_created_listed_shown_changed_and_deleted() {
    let (machine, registry) = logged_in();
    let made = machine.run(&[
        "iam",
        "groups",
        "create",
        "acme/web",
        "--display-name",
        "Web",
        "-o",
        "json",
    ]);
    let made = json_of(&made);
    assert_eq!(made["path"], "acme/web");
    assert_eq!(made["created_at"], "2026-01-01T00:00:00Z");
    assert_asked(
        &registry,
        "CreateGroup",
        &["path: \"acme/web\"", "display_name: \"Web\"", "restore: false"],
    );

    let list = machine.run(&["iam", "groups", "list"]);
    assert_code(&list, 0);
    let table = stdout(&list);
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.starts_with("PATH"), "{table}");
    assert!(!table.contains('\u{1b}'), "a name cannot control the terminal");
    assert_asked(&registry, "ListGroups2", &["page_token: \"second\""]);

    let show = machine.run(&["iam", "groups", "show", "acme"]);
    assert_code(&show, 0);
    assert!(stdout(&show).contains("path: acme\n"), "{}", stdout(&show));
    assert_code(
        &machine.run(&["iam", "groups", "update", "acme", "--display-name", "A"]),
        0,
    );
    assert_asked(&registry, "UpdateGroup", &["display_name: \"A\""]);
    let deleted = machine.run(&["iam", "groups", "delete", "acme"]);
    assert_code(&deleted, 0);
    assert!(stdout(&deleted).contains("Deleted the group acme"));
    assert_asked(&registry, "DeleteGroup", &["path: \"acme\""]);
}

#[test]
fn identities_are_known_by_claims_keys_or_as_people() {
    let (machine, registry) = logged_in();
    let made = machine.run(&[
        "iam",
        "identities",
        "create",
        "acme/ci",
        "--issuer",
        "https://ci.example",
        "--subject-pattern",
        "repo:acme/.+",
        "--claim",
        "ref=refs/heads/a=b",
        "--claim-pattern",
        "environment=prod.*",
        "--description",
        "builds",
        "-o",
        "json",
    ]);
    let made = json_of(&made);
    assert_eq!(made["kind"], "claim_match");
    assert_eq!(
        made["rule"],
        json!({
            "issuer": "https://ci.example",
            "subject_pattern": "repo:acme/.+",
            "claims": { "ref": "refs/heads/a=b" },
            "claim_patterns": { "environment": "prod.*" },
        })
    );
    assert_asked(
        &registry,
        "CreateIdentity",
        &["group: \"acme\"", "name: \"ci\"", "description: \"builds\""],
    );
    let list = machine.run(&["iam", "identities", "list", "acme", "--kind", "claim_match"]);
    assert_code(&list, 0);
    assert!(
        stdout(&list).contains("https://ci.example repo:acme/web"),
        "{}",
        stdout(&list)
    );
    assert_asked(
        &registry,
        "ListIdentities",
        &["group: \"acme\"", "kind: \"claim_match\""],
    );
}

#[test]
fn an_identity_with_its_own_keys_has_an_end() {
    let (machine, registry) = logged_in();
    let jwks = machine.path("keys.json");
    fs::write(&jwks, r#"{"keys":[]}"#).unwrap();
    let made = machine.run(&[
        "iam",
        "identities",
        "create",
        "acme/box",
        "--jwks",
        jwks.to_str().unwrap(),
        "--issuer",
        "https://box.example",
        "--subject",
        "box-1",
        "--ttl",
        "30d",
        "-o",
        "json",
    ]);
    let made = json_of(&made);
    assert_eq!(made["kind"], "static");
    assert_eq!(made["rule"]["jwks"], json!({ "keys": [] }));
    assert!(made["rule"]["expires_at"].as_str().unwrap().ends_with('Z'));
    assert_asked(&registry, "CreateIdentity", &["Static", "subject: \"box-1\""]);
    for wrong in [
        &["iam", "identities", "create", "acme/box", "--ttl", "30d"][..],
        &["iam", "identities", "create", "acme/box", "--jwks", "x"],
        &["iam", "identities", "create"],
        &[
            "iam",
            "identities",
            "create",
            "--human",
            "--issuer",
            "https://a.example",
        ],
        &[
            "iam",
            "identities",
            "create",
            "a/b",
            "--issuer",
            "x",
            "--issuer-pattern",
            "y",
        ],
    ] {
        assert_code(&machine.run(wrong), 2);
    }
}

#[test]
fn a_person_can_be_made_before_they_log_in() {
    let (machine, registry) = logged_in();
    let made = machine.run(&[
        "iam",
        "identities",
        "create",
        "--human",
        "--issuer",
        "https://login.example",
        "--subject",
        "jane",
    ]);
    assert_code(&made, 0);
    assert!(stdout(&made).contains("subject: jane"), "{}", stdout(&made));
    assert_asked(
        &registry,
        "CreateIdentity",
        &["Human", "group: \"\"", "name: \"\""],
    );
}

#[test]
fn an_update_leaves_what_is_not_given() {
    let (machine, registry) = logged_in();
    let rule = [
        "iam",
        "identities",
        "update",
        "acme/ci",
        "--issuer",
        "https://ci.example",
        "--subject",
        "s",
    ];
    assert_code(&machine.run(&rule), 0);
    assert_asked(&registry, "GetIdentity", &["acme/ci"]);
    assert_asked(
        &registry,
        "UpdateIdentity",
        &["description: \"as it was\"", "subject: \"s\""],
    );
    let nothing = machine.run(&["iam", "identities", "update", "acme/ci"]);
    assert_code(&nothing, 2);

    let (machine, registry) = logged_in();
    let description = ["iam", "identities", "update", "acme/ci", "--description", ""];
    assert_code(&machine.run(&description), 0);
    assert_asked(&registry, "UpdateIdentity", &["description: \"\"", "rule: None"]);
    assert_code(&machine.run(&["iam", "identities", "delete", "acme/ci"]), 0);
    assert_asked(&registry, "DeleteIdentity", &["acme/ci"]);
}

#[test]
fn roles_are_sets_of_capabilities() {
    let (machine, registry) = logged_in();
    let made = machine.run(&[
        "iam",
        "roles",
        "create",
        "acme/deployer",
        "--capability",
        "repo.pull",
        "--capability",
        "repo.list",
        "-o",
        "json",
    ]);
    assert_eq!(json_of(&made)["capabilities"], json!(["repo.pull", "repo.list"]));
    assert_asked(
        &registry,
        "CreateRole",
        &[
            "group: \"acme\"",
            "name: \"deployer\"",
            "[\"repo.pull\", \"repo.list\"]",
        ],
    );
    assert_code(&machine.run(&["iam", "roles", "create", "acme/deployer"]), 2);
    let list = machine.run(&["iam", "roles", "list"]);
    assert!(stdout(&list).contains("repo.pull repo.list"), "{}", stdout(&list));
    assert_code(
        &machine.run(&[
            "iam",
            "roles",
            "update",
            "acme/deployer",
            "--capability",
            "repo.pull",
        ]),
        0,
    );
    assert_asked(
        &registry,
        "UpdateRole",
        &["description: \"as it was\"", "[\"repo.pull\"]"],
    );
    assert_code(&machine.run(&["iam", "roles", "delete", "acme/deployer"]), 0);
}

#[test]
fn bindings_give_a_role_somewhere_and_under_conditions() {
    let (machine, registry) = logged_in();
    let made = machine.run(&[
        "iam",
        "bindings",
        "create",
        "--identity",
        "acme/ci",
        "--role",
        "registry.push",
        "--repo",
        "acme/web",
        "--require",
        "environment=production",
        "--require-pattern",
        "ref=refs/tags/v.+",
        "-o",
        "json",
    ]);
    let made = json_of(&made);
    assert_eq!(made["identity"]["name"], "acme/ci");
    assert_eq!(made["conditions"][0]["value"], "production");
    assert_asked(
        &registry,
        "CreateBinding",
        &[
            "kind: Repository",
            "path: \"acme/web\"",
            "claim: \"environment\", value: \"production\", pattern: \"\"",
            "claim: \"ref\", value: \"\", pattern: \"refs/tags/v.+\"",
        ],
    );
    let list = machine.run(&["iam", "bindings", "list", "acme", "--identity", "acme/ci"]);
    assert_code(&list, 0);
    assert!(stdout(&list).contains("group acme"), "{}", stdout(&list));
    assert!(stdout(&list).contains("environment=production"));
    assert_asked(
        &registry,
        "ListBindings",
        &["group: \"acme\"", "identity: \"acme/ci\""],
    );
    let deleted = machine.run(&["iam", "bindings", "delete", "bnd_1", "-o", "json"]);
    assert_eq!(json_of(&deleted), json!({}));
    for wrong in [
        &["iam", "bindings", "create", "--identity", "a", "--role", "owner"][..],
        &[
            "iam",
            "bindings",
            "create",
            "--identity",
            "a",
            "--role",
            "owner",
            "--group",
            "a",
            "--repo",
            "b",
        ],
    ] {
        assert_code(&machine.run(wrong), 2);
    }
}

#[test]
fn a_push_policy_is_set_listed_and_lifted() {
    let (machine, registry) = logged_in();
    let set = machine.run(&["iam", "push-policy", "set", "--group", "acme"]);
    assert_code(&set, 0);
    assert_asked(
        &registry,
        "SetPushPolicy",
        &["kind: Group", "path: \"acme\"", "WorkloadOnly"],
    );
    let list = machine.run(&["iam", "push-policy", "list", "-o", "json"]);
    assert_eq!(json_of(&list)[0]["push"], "workload-only");

    let (machine, registry) = logged_in();
    let lifted = machine.run(&["iam", "push-policy", "lift", "--repo", "acme/web"]);
    assert_code(&lifted, 0);
    assert_asked(&registry, "SetPushPolicy", &["kind: Repository", "Unspecified"]);
}

#[test]
fn explain_tells_the_verdict_the_steps_and_what_would_help() {
    let (machine, registry) = logged_in();
    let denied = machine.run(&[
        "iam",
        "explain",
        "--identity",
        "acme/ci",
        "--repo",
        "acme/web",
        "--action",
        "push",
    ]);
    assert_code(&denied, 0);
    let text = stdout(&denied);
    assert!(text.starts_with("denied: repo.push on acme/web\n"), "{text}");
    assert!(text.contains("+ binding bnd_1 (registry.pull at acme)"), "{text}");
    assert!(text.contains("\nTry:\n  roadstead iam bindings create"), "{text}");
    assert_asked(
        &registry,
        "ExplainPush",
        &["identity: \"acme/ci\"", "claims_json: \"\""],
    );

    let mut command = machine.command(&[
        "iam", "explain", "--repo", "acme/web", "--claims", "-", "-o", "json",
    ]);
    let allowed = output_with_input(&mut command, r#"{"environment":"production"}"#);
    assert_eq!(json_of(&allowed)["allowed"], true);
    assert_asked(&registry, "ExplainPull", &["identity: \"\"", "environment"]);
}

#[test]
fn a_test_of_claims_fails_where_the_token_would() {
    let (machine, registry) = logged_in();
    let claims = machine.path("claims.json");
    fs::write(&claims, r#"{"iss":"https://ci.example","sub":"s","aud":"a"}"#).unwrap();
    let claims = claims.to_str().unwrap();
    let denied = machine.run(&["iam", "test", "--claims", claims, "--repo", "acme/web"]);
    assert_code(&denied, 1);
    assert!(
        stdout(&denied).starts_with("denied: repo.push"),
        "{}",
        stdout(&denied)
    );
    assert_asked(
        &registry,
        "TestClaims",
        &["action: \"push\"", "https://ci.example"],
    );

    let (machine, _registry) = logged_in();
    let file = machine.path("claims.json");
    fs::write(&file, "{}").unwrap();
    let arguments = [
        "iam",
        "test",
        "--claims",
        file.to_str().unwrap(),
        "--repo",
        "acme/web",
        "--action",
        "pull",
    ];
    assert_code(&machine.run(&arguments), 0);
    for wrong in ["[]", "{", ""] {
        fs::write(&file, wrong).unwrap();
        assert_code(&machine.run(&arguments), 2);
    }
}

#[test]
fn refusals_name_the_next_command() {
    let (machine, _registry) = logged_in();
    for (arguments, said, advice) in [
        (
            &["iam", "groups", "create", "denied"][..],
            "dev needs groups.create at denied",
            "roadstead auth status",
        ),
        (
            &["iam", "groups", "create", "gone"],
            "the path was deleted",
            "iam groups create PATH --restore",
        ),
        (
            &["iam", "identities", "show", "missing"],
            "there is no such thing",
            "roadstead iam identities list",
        ),
        (
            &[
                "iam",
                "roles",
                "create",
                "acme/taken",
                "--capability",
                "repo.pull",
            ],
            "the name is taken",
            "roadstead iam roles list",
        ),
        (
            &["iam", "explain", "--identity", "missing", "--repo", "acme/web"],
            "there is no such thing",
            "roadstead iam identities list",
        ),
        (
            &["pull-token", "create", "--name", "taken", "--repo", "acme/web"],
            "the name is taken",
            "roadstead pull-token list",
        ),
    ] {
        let output = machine.run(arguments);
        assert_code(&output, 5);
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
        assert!(stderr(&output).contains(advice), "{advice}: {}", stderr(&output));
    }
}
