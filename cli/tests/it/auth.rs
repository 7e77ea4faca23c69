use std::fs;

use crate::support::{
    DEV_SECRET, Machine, Registry, TRUSTED_TOKEN, assert_code, given_once, mode, output_with_input, stderr,
    stdout,
};

#[test]
fn login_to_a_dev_registry_asks_nothing() {
    let machine = Machine::new();
    let registry = Registry::start();
    let host = registry.host();
    machine.leave_dev_secret(registry.port(), DEV_SECRET);

    let login = machine.run(&["login", &host]);
    assert_code(&login, 0);
    assert!(stdout(&login).contains("as dev"), "{}", stdout(&login));
    assert!(
        !stdout(&login).contains("access-1"),
        "login must not print the token"
    );
    let file = machine.token_file(&host);
    assert_eq!(mode(&file), 0o600);
    assert_eq!(mode(file.parent().unwrap()), 0o700);
    assert!(!fs::read_to_string(&file).unwrap().contains(DEV_SECRET));

    let token = machine.run(&["auth", "token", &host]);
    assert_code(&token, 0);
    assert_eq!(stdout(&token), "access-1\n");

    let status = machine.run(&["auth", "status"]);
    assert_code(&status, 0);
    assert!(stdout(&status).contains(&host));
    assert!(
        !stdout(&status).contains("access-1"),
        "status must not print the token"
    );

    assert_code(&machine.run(&["logout", &host]), 0);
    assert!(!file.exists());
    assert_code(&machine.run(&["logout", &host]), 0);
}

#[test]
fn the_secret_is_also_found_in_the_cache_directory() {
    let machine = Machine::new();
    let registry = Registry::start();
    fs::create_dir_all(machine.path("cache/roadstead")).unwrap();
    let secret = machine
        .path("cache/roadstead")
        .join(format!("dev-{}.secret", registry.port()));
    fs::write(secret, format!("{DEV_SECRET}\n")).unwrap();
    // A stale one in the other place must not stand in the way.
    machine.leave_dev_secret(registry.port(), "of-an-earlier-process");
    assert_code(
        &machine.run(&["login", &format!("localhost:{}", registry.port())]),
        0,
    );
}

#[test]
fn login_exchanges_an_identity_token() {
    let machine = Machine::new();
    let registry = Registry::start();
    let host = registry.host();
    let file = machine.path("identity");
    fs::write(&file, format!("{TRUSTED_TOKEN}\n")).unwrap();

    let from_file = machine.run(&["login", &host, "--identity-token", file.to_str().unwrap()]);
    assert_code(&from_file, 0);
    assert!(stdout(&from_file).contains("as workload"));

    let mut command = machine.command(&["login", &host, "--identity-token", "-"]);
    assert_code(&output_with_input(&mut command, TRUSTED_TOKEN), 0);

    let mut command = machine.command(&["login", &host]);
    assert_code(
        &command
            .env("ROADSTEAD_IDENTITY_TOKEN", TRUSTED_TOKEN)
            .output()
            .unwrap(),
        0,
    );
}

#[test]
fn a_token_from_a_file_is_renewed_from_the_file() {
    let machine = Machine::new();
    let registry = Registry::start();
    let file = machine.path("identity");
    fs::write(&file, TRUSTED_TOKEN).unwrap();
    let source = serde_json::json!({ "kind": "identity-token-file", "path": file });
    machine.seed_token(&registry.host(), "expired", -1, &source);
    let token = machine.run(&["auth", "token", &registry.host()]);
    assert_code(&token, 0);
    assert_eq!(stdout(&token), "access-1\n");
}

#[test]
fn refusals_say_what_to_do() {
    let machine = Machine::new();
    let registry = Registry::start();
    let host = registry.host();

    let mut command = machine.command(&["login", &host]);
    let untrusted = command
        .env("ROADSTEAD_IDENTITY_TOKEN", "of-a-stranger")
        .output()
        .unwrap();
    assert_code(&untrusted, 3);
    assert!(stderr(&untrusted).contains("the issuer is not trusted here"));
    assert!(!stderr(&untrusted).contains("of-a-stranger"));

    let no_secret = machine.run(&["login", &host]);
    assert_code(&no_secret, 3);
    assert!(
        stderr(&no_secret).contains("serve --dev"),
        "{}",
        stderr(&no_secret)
    );

    machine.leave_dev_secret(registry.port(), "of-an-earlier-process");
    let stale_secret = machine.run(&["login", &host]);
    assert_code(&stale_secret, 3);
    assert!(!stderr(&stale_secret).contains("of-an-earlier-process"));

    let elsewhere = machine.run(&["login", "registry.invalid"]);
    assert_code(&elsewhere, 3);
    assert!(stderr(&elsewhere).contains("--identity-token"));
}

/// A development issuer answers to three names only. On any other, also of this machine, it is somebody else who listens,
/// and an image's name is enough to make a client ask for credentials there.
#[test]
fn the_secret_of_a_dev_issuer_goes_nowhere_else() {
    let machine = Machine::new();
    let registry = Registry::start();
    machine.leave_dev_secret(registry.port(), DEV_SECRET);
    for address in ["127.0.0.2", "[::ffff:127.0.0.1]"] {
        let host = format!("{address}:{}", registry.port());
        let asked = machine.helper("get", &host);
        assert_code(&asked, 1);
        // Nobody listens there: had the helper gone on, it would say that.
        assert_eq!(
            stdout(&asked),
            "credentials not found in native keychain\n",
            "{host}"
        );
    }
}

#[test]
fn a_registry_that_does_not_run_is_unreachable() {
    let machine = Machine::new();
    let host = Registry::start().host();
    let output = machine.run(&["login", &host]);
    assert_code(&output, 4);
    assert!(stderr(&output).contains("serve --dev"), "{}", stderr(&output));
}

#[test]
fn an_expired_token_without_successor_is_no_token() {
    let machine = Machine::new();
    machine.seed_token("registry.example", "over", -1, &given_once());
    let output = machine.run(&["auth", "token", "registry.example"]);
    assert_code(&output, 3);
    assert_eq!(stdout(&output), "");
}
