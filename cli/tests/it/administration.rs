//! The nouns of the administration against the real registry, by the owner that `serve --dev` makes.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    serve::Server,
    support::{Machine, assert_code, stderr, stdout},
};

/// Runs a command that has to succeed, and gives its JSON.
#[track_caller]
fn asked(machine: &Machine, arguments: &[&str]) -> Value {
    let output = machine.run(&[arguments, &["-o", "json"]].concat());
    assert_code(&output, 0);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn served() -> (Machine, Server, String) {
    let machine = Machine::new();
    let server = Server::start(&machine, &["--dev", "--data-dir", "data"]);
    let host = server.host();
    assert_code(&machine.run(&["login", &host]), 0);
    (machine, server, host)
}

/// A group, and a person who is not its owner.
fn with_jane(machine: &Machine, host: &str) -> String {
    asked(
        machine,
        &["iam", "groups", "create", "acme/web", "--display-name", "Web"],
    );
    let status = asked(machine, &["auth", "status", host]);
    assert_eq!(status[0]["you"]["bindings"][0]["role"], "owner");
    let issuer = status[0]["issuer"].as_str().unwrap();
    let jane = asked(
        machine,
        &[
            "iam",
            "identities",
            "create",
            "--human",
            "--issuer",
            issuer,
            "--subject",
            "jane",
        ],
    );
    jane["id"].as_str().unwrap().to_owned()
}

fn explained(machine: &Machine, identity: &str, action: &str) -> bool {
    let explanation = asked(
        machine,
        &[
            "iam",
            "explain",
            "--identity",
            identity,
            "--repo",
            "acme/web",
            "--action",
            action,
        ],
    );
    explanation["allowed"].as_bool().unwrap()
}

#[test]
fn an_owner_gives_and_takes() {
    let (machine, server, host) = served();
    let jane = with_jane(&machine, &host);
    let groups = asked(&machine, &["iam", "groups", "list"]);
    let groups = groups.as_array().unwrap().iter();
    let paths: Vec<&str> = groups.filter_map(|group| group["path"].as_str()).collect();
    assert!(
        paths.contains(&"acme") && paths.contains(&"acme/web"),
        "{paths:?}"
    );

    let binding = asked(
        &machine,
        &[
            "iam",
            "bindings",
            "create",
            "--identity",
            &jane,
            "--role",
            "registry.push",
            "--group",
            "acme",
        ],
    );
    let may = |action: &str| explained(&machine, &jane, action);
    assert!(may("push") && may("pull") && !may("delete"));
    asked(
        &machine,
        &["iam", "bindings", "delete", binding["id"].as_str().unwrap()],
    );
    assert!(!may("pull"));

    let role = asked(
        &machine,
        &[
            "iam",
            "roles",
            "create",
            "acme/lister",
            "--capability",
            "repo.list",
        ],
    );
    assert_eq!(role["name"], "acme/lister");
    asked(
        &machine,
        &[
            "iam",
            "roles",
            "update",
            "acme/lister",
            "--capability",
            "repo.pull",
        ],
    );
    asked(&machine, &["iam", "roles", "delete", "acme/lister"]);
    server.stop();
}

#[test]
fn a_push_policy_is_told_of() {
    let (machine, server, host) = served();
    let jane = with_jane(&machine, &host);
    let role = ["--role", "registry.push", "--repo", "acme/web"];
    asked(
        &machine,
        &[&["iam", "bindings", "create", "--identity", &jane][..], &role].concat(),
    );
    asked(&machine, &["iam", "push-policy", "set", "--repo", "acme/web"]);
    let may = |action: &str| explained(&machine, &jane, action);
    assert!(may("pull") && !may("push"), "a person is no workload");
    asked(&machine, &["iam", "push-policy", "lift", "--repo", "acme/web"]);
    assert!(may("push"));

    // The log takes events over after the change that they tell of.
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let events = asked(&machine, &["events", "list", "--type", "iam.push_policy"]);
        let types: Vec<&str> = events
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|logged| logged["event"]["type"].as_str())
            .collect();
        if types
            == [
                "dev.roadstead.iam.push_policy.set.v1",
                "dev.roadstead.iam.push_policy.lifted.v1",
            ]
        {
            break;
        }
        assert!(Instant::now() < deadline, "{types:?}");
        thread::sleep(Duration::from_millis(20));
    }
    server.stop();
}

#[test]
fn claims_are_tested_without_a_token() {
    let (machine, server, host) = served();
    let status = asked(&machine, &["auth", "status", &host]);
    let claims = machine.path("claims.json");
    let token = json!({ "iss": status[0]["issuer"], "sub": "stranger", "aud": host });
    fs::write(&claims, token.to_string()).unwrap();
    let test = [
        "iam",
        "test",
        "--claims",
        claims.to_str().unwrap(),
        "--repo",
        "acme/web",
    ];
    let refused = machine.run(&test);
    assert_code(&refused, 1);
    assert!(
        stdout(&refused).starts_with("denied: repo.push on acme/web"),
        "{}",
        stdout(&refused)
    );
    server.stop();
}

#[test]
fn a_pull_token_lives_and_ends() {
    let (machine, server, host) = served();
    let made = asked(
        &machine,
        &[
            "pull-token",
            "create",
            "--name",
            "staging",
            "--repo",
            "acme/web",
            "--ttl",
            "1d",
        ],
    );
    assert!(made["token"].as_str().unwrap().starts_with("rspt_"));
    let name = made["name"].as_str().unwrap();
    for reference in ["staging", name, made["id"].as_str().unwrap()] {
        let rotated = asked(&machine, &["pull-token", "rotate", reference]);
        assert_eq!(rotated["id"], made["id"], "{reference}");
        assert_ne!(rotated["token"], made["token"]);
    }
    assert_eq!(asked(&machine, &["pull-token", "list"])[0]["id"], made["id"]);
    assert_code(&machine.run(&["pull-token", "revoke", "staging"]), 0);
    assert_eq!(asked(&machine, &["pull-token", "list"]), json!([]));
    let all = asked(&machine, &["pull-token", "list", "--all"]);
    assert!(all[0]["revoked_at"].is_string(), "{all}");

    let version = asked(&machine, &["version", "--check", "--registry", &host]);
    assert_eq!(version["fits"], true);
    server.stop();
}

#[test]
fn refusals_of_the_registry_name_the_next_command() {
    let (machine, server, _) = served();
    for (arguments, advice) in [
        (
            &["iam", "groups", "show", "nowhere"][..],
            "roadstead iam groups list",
        ),
        (
            &[
                "iam",
                "bindings",
                "create",
                "--identity",
                "nobody",
                "--role",
                "owner",
                "--group",
                "acme",
            ],
            "roadstead iam identities list",
        ),
        (
            &["iam", "roles", "update", "owner", "--capability", "repo.pull"],
            "roadstead iam roles create",
        ),
    ] {
        let output = machine.run(arguments);
        assert_code(&output, 5);
        assert!(stderr(&output).contains(advice), "{advice}: {}", stderr(&output));
    }
    server.stop();
}
