//! `roadstead auth status` and `roadstead version --check`.

use serde_json::{Value, json};

use crate::support::{DEV_SECRET, Machine, Registry, assert_code, given_once, session, stderr, stdout};

#[test]
fn status_says_who_by_whom_until_when_and_what() {
    let machine = Machine::new();
    let registry = Registry::start();
    let host = registry.host();
    machine.leave_dev_secret(registry.port(), DEV_SECRET);
    assert_code(&machine.run(&["login", &host]), 0);
    let status = machine.run(&["auth", "status"]);
    assert_code(&status, 0);
    let text = stdout(&status);
    for part in [
        host.as_str(),
        "you are    dev",
        "issuer     https://issuer.example",
        " minutes, then renewed by the development issuer",
        "identity   acme/ci (claim_match)",
        "you have   registry.push at group acme, if environment=production",
        "only       acme/web",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let status = machine.run(&["auth", "status", &host, "-o", "json"]);
    assert_code(&status, 0);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status[0]["registry"], host);
    assert_eq!(status[0]["renewed_by"], "dev");
    assert_eq!(status[0]["you"]["bindings"][0]["role"], "registry.push");
    assert_eq!(status[0]["you"]["identities"][0]["id"], "idn_1");
}

#[test]
fn a_registry_that_cannot_be_asked_spoils_no_list() {
    let machine = Machine::new();
    let registry = Registry::start();
    let host = registry.host();
    machine.seed_token(&host, "secret-1", 3_000, &session("rsr_1"));
    drop(registry);
    machine.seed_token("registry.invalid", "secret-2", -5, &given_once());
    let list = machine.run(&["auth", "status"]);
    assert_code(&list, 0);
    let text = stdout(&list);
    assert!(text.contains(&host) && text.contains("cannot reach"), "{text}");
    assert!(
        text.contains("registry.invalid") && text.contains("expired"),
        "{text}"
    );
    for secret in ["secret-1", "secret-2", "rsr_1"] {
        assert!(!text.contains(secret));
    }
    // Who asks about one wants to know whether it would work.
    assert_code(&machine.run(&["auth", "status", &host]), 4);
    assert_code(&machine.run(&["auth", "status", &host, "--offline"]), 0);
    assert_code(&machine.run(&["auth", "status", "elsewhere.example"]), 3);
}

#[test]
fn versions_that_do_not_fit_are_warned_of() {
    let machine = Machine::new();
    let registry = Registry::start();
    let host = registry.host();
    let check = || machine.run(&["version", "--check", "--registry", &host]);
    let silent = check();
    assert_code(&silent, 0);
    assert!(
        stderr(&silent).contains("does not say its version"),
        "{}",
        stderr(&silent)
    );

    registry.describe(json!({ "issuers": [], "version": env!("CARGO_PKG_VERSION") }));
    let same = check();
    assert_code(&same, 0);
    assert_eq!(stderr(&same), "");
    let line = format!("{host} {}\n", env!("CARGO_PKG_VERSION"));
    assert!(stdout(&same).ends_with(&line), "{}", stdout(&same));

    registry.describe(json!({ "version": "9.0.0\u{1b}[2J" }));
    let newer = check();
    assert_code(&newer, 0);
    assert!(stderr(&newer).contains("newer roadstead"), "{}", stderr(&newer));
    assert!(!stderr(&newer).contains('\u{1b}'));
    let json = machine.run(&["version", "--check", "--registry", &host, "-o", "json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["fits"], false);
    assert_eq!(json["client"], env!("CARGO_PKG_VERSION"));
}
