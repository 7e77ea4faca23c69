//! A registry that has people log in as another registry's client.

use std::{fs, process::Output};

use serde_json::{Value, json};

use crate::support::{Machine, Provider, Registry, assert_code, mode, stderr};

const FILE: &str = "cache/roadstead/.login-clients.json";

fn hosts(machine: &Machine) -> Value {
    let known: Value = serde_json::from_slice(&fs::read(machine.path(FILE)).unwrap()).unwrap();
    assert_eq!(known["clients"].as_array().unwrap().len(), 1, "{known}");
    known["clients"][0]["hosts"].clone()
}

#[track_caller]
fn assert_refused(output: &Output, evil: &Registry, good: &Registry, provider: &Provider) {
    assert_code(output, 3);
    let said = stderr(output);
    for part in [
        evil.host(),
        good.host(),
        provider.url(),
        "--shared-client".to_owned(),
    ] {
        assert!(said.contains(&part), "{part}: {said}");
    }
    assert!(!said.contains("/authorize") && !said.contains("WDJB"), "{said}");
    assert!(evil.sts(|sts| sts.forms.is_empty()), "it got a token");
}

#[test]
fn a_client_of_another_registry_is_refused_before_anybody_is_asked() {
    let machine = Machine::new();
    let (good, evil) = (Registry::start(), Registry::start());
    let provider = Provider::start(&good);
    evil.describe(json!({ "issuers": [provider.login()] }));
    assert_code(&machine.run(&["login", &good.host(), "--device"]), 0);
    assert_eq!(mode(&machine.path(FILE)), 0o600);
    let polls = provider.polls();
    let opened = machine.path("opened");
    machine.put_program("xdg-open", &format!("echo \"$1\" >{}", opened.display()));

    for way in ["--device", "--no-browser", "--browser"] {
        assert_refused(
            &machine.run(&["login", &evil.host(), way]),
            &evil,
            &good,
            &provider,
        );
    }
    // It is no credential, so a logout does not forget it.
    assert_code(&machine.run(&["logout", &good.host()]), 0);
    assert_refused(
        &machine.run(&["login", &evil.host(), "--device"]),
        &evil,
        &good,
        &provider,
    );
    assert_eq!(provider.polls(), polls);
    assert!(!opened.exists(), "a browser was opened");
    assert_eq!(hosts(&machine), json!([good.host()]));
    assert_code(&machine.run(&["login", &good.host(), "--device"]), 0);
}

#[test]
fn one_registry_may_have_several_names() {
    let machine = Machine::new();
    let (one, two) = (Registry::start(), Registry::start());
    let provider = Provider::start(&one);
    two.describe(json!({ "issuers": [provider.login()] }));
    let localhost = format!("localhost:{}", one.port());
    assert_code(&machine.run(&["login", &one.host(), "--device"]), 0);
    assert_code(&machine.run(&["login", &localhost, "--device"]), 0);
    assert_eq!(hosts(&machine), json!([one.host()]));

    // The provider's tokens are trusted by the first registry only, so the second refuses what it now gets.
    let output = machine.run(&["login", &two.host(), "--device", "--shared-client"]);
    assert_code(&output, 3);
    assert!(
        stderr(&output).contains("not trusted here"),
        "{}",
        stderr(&output)
    );
    assert_eq!(hosts(&machine), json!([one.host(), two.host()]));
    for host in [one.host(), two.host()] {
        let said = stderr(&machine.run(&["login", &host, "--device"]));
        assert!(said.contains("WDJB-MJHT"), "{said}");
    }
}
