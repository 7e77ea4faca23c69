use serde_json::{Value, json};

use crate::support::{Machine, Registry, assert_code, given_once, stderr, stdout};

const NOT_FOUND: &str = "credentials not found in native keychain\n";

#[test]
fn get_answers_for_every_spelling_of_the_server() {
    let machine = Machine::new();
    machine.seed_token("registry.example", "secret-1", 3_000, &given_once());
    for server in [
        "registry.example",
        "registry.example\n",
        "https://registry.example",
        "https://registry.example/v2/",
    ] {
        let output = machine.helper("get", server);
        assert_code(&output, 0);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            answer,
            json!({ "ServerURL": server.trim(), "Username": "_token", "Secret": "secret-1" })
        );
    }
}

#[test]
fn localhost_and_its_number_are_one_registry() {
    let machine = Machine::new();
    machine.seed_token("127.0.0.1:5000", "secret-1", 3_000, &given_once());
    let output = machine.helper("get", "localhost:5000");
    assert_code(&output, 0);
    assert!(stdout(&output).contains("secret-1"));
    assert_code(&machine.helper("get", "localhost:5001"), 1);
}

#[test]
fn errors_are_the_texts_that_clients_compare() {
    let machine = Machine::new();
    machine.seed_token("expired.example", "secret-1", -10, &given_once());
    for (action, input, text) in [
        ("get", "unknown.example", NOT_FOUND),
        ("get", "expired.example", NOT_FOUND),
        ("get", "not a host", NOT_FOUND),
        ("get", "", "no credentials server URL\n"),
        ("erase", " \n", "no credentials server URL\n"),
        (
            "store",
            r#"{"Username":"u","Secret":"s"}"#,
            "no credentials server URL\n",
        ),
        (
            "store",
            r#"{"ServerURL":"registry.example","Secret":"s"}"#,
            "no credentials username\n",
        ),
    ] {
        let output = machine.helper(action, input);
        assert_code(&output, 1);
        assert_eq!(stdout(&output), text, "{action} {input:?}");
    }
    assert_code(&machine.helper("frobnicate", ""), 1);
}

#[test]
fn store_succeeds_and_says_that_it_keeps_nothing() {
    let machine = Machine::new();
    let input = r#"{"ServerURL":"registry.example","Username":"_token","Secret":"pasted-secret"}"#;
    let output = machine.helper("store", input);
    assert_code(&output, 0);
    assert_eq!(stdout(&output), "");
    assert!(stderr(&output).contains("roadstead login registry.example"));
    assert!(!stderr(&output).contains("pasted-secret"));
    assert_code(&machine.helper("get", "registry.example"), 1);
}

#[test]
fn list_names_registries_and_erase_forgets_one() {
    let machine = Machine::new();
    machine.seed_token("a.example", "secret-1", 3_000, &given_once());
    machine.seed_token("b.example", "secret-2", 3_000, &given_once());
    let list = |machine: &Machine| -> Value {
        let output = machine.helper("list", "");
        assert_code(&output, 0);
        serde_json::from_slice(&output.stdout).unwrap()
    };
    assert_eq!(
        list(&machine),
        json!({ "a.example": "_token", "b.example": "_token" })
    );
    assert_code(&machine.helper("erase", "https://a.example"), 0);
    assert_code(&machine.helper("erase", "https://a.example"), 0);
    assert_eq!(list(&machine), json!({ "b.example": "_token" }));
}

#[test]
fn get_renews_by_itself() {
    let machine = Machine::new();
    let registry = Registry::start();
    machine.leave_dev_secret(registry.port(), crate::support::DEV_SECRET);
    let get = || {
        let output = machine.helper("get", &registry.host());
        assert_code(&output, 0);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        answer["Secret"].as_str().unwrap().to_owned()
    };
    assert_eq!(get(), "access-1");
    assert_eq!(get(), "access-1", "a token with life left is used again");
    machine.seed_token(&registry.host(), "nearly-over", 60, &given_once());
    assert_eq!(get(), "access-2");
}

#[test]
fn get_prefers_a_token_with_minutes_left_to_none() {
    let machine = Machine::new();
    machine.seed_token("registry.example", "nearly-over", 60, &given_once());
    let output = machine.helper("get", "registry.example");
    assert_code(&output, 0);
    assert!(stdout(&output).contains("nearly-over"));
}

#[test]
fn a_token_of_an_earlier_dev_process_is_replaced() {
    let machine = Machine::new();
    let registry = Registry::start();
    machine.leave_dev_secret(registry.port(), crate::support::DEV_SECRET);
    machine.seed_token(
        &registry.host(),
        "of-another-process",
        3_000,
        &json!({ "kind": "dev", "secret_digest": "sha256:of-another-secret" }),
    );
    let output = machine.helper("get", &registry.host());
    assert_code(&output, 0);
    assert!(stdout(&output).contains("access-1"));
}

#[test]
fn a_registry_without_login_is_not_shown_the_environments_token() {
    let machine = Machine::new();
    let registry = Registry::start();
    let mut command = machine.command(&["auth", "token", &registry.host()]);
    let output = command
        .env("ROADSTEAD_IDENTITY_TOKEN", crate::support::TRUSTED_TOKEN)
        .output()
        .unwrap();
    assert_code(&output, 3);

    machine.seed_token(&registry.host(), "expired", -1, &given_once());
    let mut command = machine.command(&["auth", "token", &registry.host()]);
    let output = command
        .env("ROADSTEAD_IDENTITY_TOKEN", crate::support::TRUSTED_TOKEN)
        .output()
        .unwrap();
    assert_code(&output, 0);
    assert_eq!(stdout(&output), "access-1\n");
}
