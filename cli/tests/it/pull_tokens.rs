use serde_json::{Value, json};

use crate::support::{DEV_SECRET, Machine, Registry, assert_code, stderr, stdout};

fn logged_in() -> (Machine, Registry) {
    let machine = Machine::new();
    let registry = Registry::start();
    machine.leave_dev_secret(registry.port(), DEV_SECRET);
    assert_code(&machine.run(&["login", &registry.host()]), 0);
    (machine, registry)
}

#[test]
fn a_pull_token_is_shown_once_and_can_be_piped() {
    let (machine, registry) = logged_in();
    let made = machine.run(&[
        "pull-token",
        "create",
        "--repo",
        "acme/web",
        "--group",
        "acme/public",
        "--ttl",
        "30d",
        "--name",
        "staging",
        "--cidr",
        "10.0.0.0/8",
    ]);
    assert_code(&made, 0);
    assert_eq!(stdout(&made), "rspt_1_secret\n", "the secret alone");
    assert!(stderr(&made).contains("shown this once"), "{}", stderr(&made));
    assert!(stderr(&made).contains("-u pull-token --password-stdin"));
    assert!(!stderr(&made).contains("rspt_1_secret"));
    let request = registry.call("CreatePullToken");
    for part in [
        "name: \"staging\"",
        "kind: Repository, path: \"acme/web\"",
        "kind: Group, path: \"acme/public\"",
        "ttl: 2592000",
        "networks: [\"10.0.0.0/8\"]",
    ] {
        assert!(request.contains(part), "{part} is not in {request}");
    }
}

#[test]
fn json_has_what_a_program_needs() {
    let (machine, _registry) = logged_in();
    let made = machine.run(&[
        "pull-token",
        "create",
        "--repo",
        "acme/web",
        "--name",
        "staging",
        "-o",
        "json",
    ]);
    assert_code(&made, 0);
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(made["id"], "ptk_1");
    assert_eq!(made["username"], "pull-token");
    assert_eq!(made["token"], "rspt_1_secret");
    assert_eq!(made["expires_at"], "2026-01-02T00:00:00Z");

    let list = machine.run(&["pull-token", "list", "-o", "json"]);
    assert_code(&list, 0);
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    assert_eq!(list[0]["resources"], json!([{ "group": "acme" }]));
    assert_eq!(list[0]["last_used_at"], Value::Null);
    assert_eq!(list[0]["token"], Value::Null, "a list has no secret");
}

#[test]
fn lists_say_who_until_when_and_last_used() {
    let (machine, registry) = logged_in();
    let list = machine.run(&["pull-token", "list", "acme", "--all"]);
    assert_code(&list, 0);
    let table = stdout(&list);
    for part in [
        "staging",
        "group acme",
        "10.0.0.0/8",
        "2026-01-02T00:00:00Z",
        "never",
        "dev",
        "ptk_1",
    ] {
        assert!(table.contains(part), "{part} is not in {table}");
    }
    let request = registry.call("ListPullTokens");
    assert!(
        request.contains("group: \"acme\"") && request.contains("all: true"),
        "{request}"
    );
}

#[test]
fn rotation_and_revocation() {
    let (machine, registry) = logged_in();
    let rotated = machine.run(&["pull-token", "rotate", "staging", "--overlap", "10m"]);
    assert_code(&rotated, 0);
    assert_eq!(stdout(&rotated), "rspt_1_other\n");
    let request = registry.call("RotatePullToken");
    assert!(
        request.contains("ttl: 0") && request.contains("overlap: 600"),
        "{request}"
    );
    assert!(
        request.contains("ptk_1"),
        "the name that the list shows is enough: {request}"
    );
    let revoked = machine.run(&["pull-token", "revoke", "acme/staging"]);
    assert_code(&revoked, 0);
    assert!(stdout(&revoked).contains("within five seconds"));
    assert!(registry.call("RevokePullToken").contains("acme/staging"));
    let unknown = machine.run(&["pull-token", "revoke", "production"]);
    assert_code(&unknown, 2);
    assert!(
        stderr(&unknown).contains("pull-token list"),
        "{}",
        stderr(&unknown)
    );
}

#[test]
fn a_pull_token_pulls_something_for_some_time() {
    let (machine, _registry) = logged_in();
    for wrong in [
        &["pull-token", "create", "--name", "x"][..],
        &["pull-token", "create", "--repo", "acme/web"],
        &[
            "pull-token",
            "create",
            "--name",
            "x",
            "--repo",
            "acme/web",
            "--ttl",
            "30",
        ],
        &[
            "pull-token",
            "create",
            "--name",
            "x",
            "--repo",
            "acme/web",
            "--ttl",
            "0d",
        ],
    ] {
        assert_code(&machine.run(wrong), 2);
    }
}
