use serde_json::Value;

use crate::support::{DEV_SECRET, Machine, Registry, assert_code, stderr, stdout};

fn logged_in() -> (Machine, Registry) {
    let machine = Machine::new();
    let registry = Registry::start();
    machine.leave_dev_secret(registry.port(), DEV_SECRET);
    assert_code(&machine.run(&["login", &registry.host()]), 0);
    (machine, registry)
}

#[test]
fn events_come_from_the_last_login_page_by_page() {
    let (machine, registry) = logged_in();
    let output = machine.run(&[
        "events",
        "list",
        "-o",
        "json",
        "--repository",
        "a/b",
        "--type",
        "push",
    ]);
    assert_code(&output, 0);
    let events: Value = serde_json::from_slice(&output.stdout).unwrap();
    let offsets: Vec<u64> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["offset"].as_u64().unwrap())
        .collect();
    assert_eq!(offsets, [1, 2, 3]);
    assert_eq!(events[0]["event"]["subject"], "a/b:v1");
    let requests = registry.event_requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].page_token, "second");
    assert_eq!(requests[0].repository, "a/b");
    assert_eq!(requests[0].type_prefix, "dev.roadstead.registry.push");
}

#[test]
fn limit_and_order_are_the_registrys_work() {
    let (machine, registry) = logged_in();
    let host = registry.host();
    let mut command = machine.command(&["events", "list", "--limit", "2", "--newest-first"]);
    let output = command.env("ROADSTEAD_REGISTRY", &host).output().unwrap();
    assert_code(&output, 0);
    let requests = registry.event_requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].page_size, 2);
    assert!(requests[0].newest_first);
    let table = stdout(&output);
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.contains("push.v1"), "{table}");
    assert!(!table.contains('\u{1b}'), "a name cannot control the terminal");
}

#[test]
fn tag_history_shows_what_was_before() {
    let (machine, registry) = logged_in();
    let host = registry.host();
    let table = machine.run(&["tags", "history", "a/b", "v1", "--registry", &host]);
    assert_code(&table, 0);
    assert!(stdout(&table).contains("(deleted)"));
    assert!(stdout(&table).contains("sha256:11"));
    let output = machine.run(&["tags", "history", "a/b", "v1", "-o", "json"]);
    assert_code(&output, 0);
    let changes: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(changes[0]["digest"], Value::Null);
    assert_eq!(changes[0]["previous_digest"], "sha256:11");
    assert_eq!(changes[0]["version"], 2);
}

#[test]
fn failures_have_their_codes() {
    let (machine, registry) = logged_in();
    let denied = machine.run(&["tags", "history", "secret", "v1"]);
    assert_code(&denied, 5);
    assert!(stderr(&denied).contains("dev may not pull from secret"));
    assert_code(&machine.run(&["tags", "history", "Not/A/Name", "v1"]), 2);

    machine.seed_token(
        &registry.host(),
        "of-no-use",
        3_000,
        &crate::support::given_once(),
    );
    let refused = machine.run(&["tags", "history", "a/b", "v1"]);
    assert_code(&refused, 3);
    assert!(stderr(&refused).contains("roadstead login"));

    drop(registry);
    assert_code(&machine.run(&["events", "list"]), 4);
}

#[test]
fn without_registry_and_login_the_command_says_so() {
    let machine = Machine::new();
    let output = machine.run(&["events", "list"]);
    assert_code(&output, 2);
    assert!(stderr(&output).contains("ROADSTEAD_REGISTRY"));
}

#[test]
fn a_logout_also_ends_being_the_last_login() {
    let (machine, registry) = logged_in();
    assert_code(&machine.run(&["logout", &registry.host()]), 0);
    assert_code(&machine.run(&["events", "list"]), 2);
}
