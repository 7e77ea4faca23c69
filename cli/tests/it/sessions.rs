//! A person's session: refresh tokens that are good once, and processes that want a token at the same moment.

use std::process::Stdio;

use serde_json::Value;

use crate::support::{Machine, Registry, assert_code, mode, session, stderr, stdout};

fn kept(machine: &Machine, host: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(machine.token_file(host)).unwrap()).unwrap()
}

#[test]
fn a_session_is_renewed_before_its_token_ends() {
    let machine = Machine::new();
    let registry = Registry::start();
    let host = registry.host();
    let refresh_token = registry.session("jane");
    machine.seed_token(&host, "nearly-over", 60, &session(&refresh_token));
    let token = machine.run(&["auth", "token", &host]);
    assert_code(&token, 0);
    assert_eq!(stdout(&token), "access-1\n");
    let kept = kept(&machine, &host);
    assert_eq!(kept["source"]["refresh_token"], "rsr_2");
    assert_eq!(mode(&machine.token_file(&host)), 0o600);

    assert_eq!(stdout(&machine.run(&["auth", "token", &host])), "access-1\n");
    assert_eq!(
        registry.sts(|sts| sts.refreshes),
        1,
        "a token with life left is used again"
    );
}

#[test]
fn processes_that_want_a_token_at_once_refresh_once() {
    let machine = Machine::new();
    let registry = Registry::start();
    let host = registry.host();
    let refresh_token = registry.session("jane");
    machine.seed_token(&host, "over", -1, &session(&refresh_token));
    let children: Vec<_> = (0..8)
        .map(|_| {
            let mut command = machine.command(&["auth", "token", &host]);
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert_code(&output, 0);
        assert_eq!(stdout(&output), "access-1\n");
    }
    let (refreshes, reuses) = registry.sts(|sts| (sts.refreshes, sts.reuses));
    assert_eq!((refreshes, reuses), (1, 0));
}

#[test]
fn processes_go_on_rotating_together() {
    let machine = Machine::new();
    let registry = Registry::start();
    let host = registry.host();
    // No token lasts: each process needs one of its own.
    registry.sts(|sts| sts.life = Some(0));
    let refresh_token = registry.session("jane");
    machine.seed_token(&host, "over", -1, &session(&refresh_token));
    let children: Vec<_> = (0..6)
        .map(|_| {
            let mut command = machine.command(&["auth", "token", &host]);
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut tokens: Vec<String> = children
        .into_iter()
        .map(|child| {
            let output = child.wait_with_output().unwrap();
            assert_code(&output, 0);
            stdout(&output)
        })
        .collect();
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), 6);
    let (refreshes, reuses) = registry.sts(|sts| (sts.refreshes, sts.reuses));
    assert_eq!((refreshes, reuses), (6, 0));
}

#[test]
fn a_session_that_is_over_is_not_asked_for_again() {
    let machine = Machine::new();
    let registry = Registry::start();
    let host = registry.host();
    machine.seed_token(&host, "nearly-over", 60, &session("rsr_unknown"));
    let first = machine.run(&["auth", "token", &host]);
    assert_code(&first, 3);
    assert_eq!(stdout(&first), "", "what the registry revoked is not handed out");
    assert!(
        stderr(&first).contains(&format!("roadstead login {host}")),
        "{}",
        stderr(&first)
    );
    assert!(!stderr(&first).contains("rsr_unknown"));
    assert!(
        !std::fs::read_to_string(machine.token_file(&host))
            .unwrap()
            .contains("rsr_unknown")
    );
    let asked = registry.sts(|sts| sts.forms.len());
    assert_code(&machine.run(&["auth", "token", &host]), 3);
    assert_eq!(registry.sts(|sts| sts.forms.len()), asked);
}

#[test]
fn a_registry_that_is_away_ends_no_session() {
    let machine = Machine::new();
    let registry = Registry::start();
    let host = registry.host();
    drop(registry);
    machine.seed_token(&host, "nearly-over", 60, &session("rsr_1"));
    let token = machine.run(&["auth", "token", &host]);
    assert_code(&token, 0);
    assert_eq!(stdout(&token), "nearly-over\n");
    assert_eq!(kept(&machine, &host)["source"]["refresh_token"], "rsr_1");
}

#[test]
fn logout_ends_the_session() {
    let machine = Machine::new();
    let registry = Registry::start();
    let host = registry.host();
    let refresh_token = registry.session("jane");
    machine.seed_token(&host, "secret-1", 3_000, &session(&refresh_token));
    let output = machine.run(&["logout", &host]);
    assert_code(&output, 0);
    assert!(stdout(&output).contains("the session is over"));
    assert!(registry.sts(|sts| sts.sessions.is_empty()));
    assert!(!machine.token_file(&host).exists());

    // Without the registry the tokens go all the same, and the user is told.
    machine.seed_token(&host, "secret-1", 3_000, &session("rsr_9"));
    drop(registry);
    let output = machine.run(&["logout", &host]);
    assert_code(&output, 0);
    assert!(stderr(&output).contains("was not told"), "{}", stderr(&output));
    assert!(!stderr(&output).contains("rsr_9"));
    assert!(!machine.token_file(&host).exists());
}

#[test]
fn a_clients_logout_ends_the_session_too() {
    let machine = Machine::new();
    let registry = Registry::start();
    let host = registry.host();
    let refresh_token = registry.session("jane");
    machine.seed_token(&host, "secret-1", 3_000, &session(&refresh_token));
    assert_code(&machine.helper("erase", &host), 0);
    assert!(registry.sts(|sts| sts.sessions.is_empty()));
    assert!(!machine.token_file(&host).exists());
}

#[test]
fn renewals_ask_for_what_the_login_asked_for() {
    let machine = Machine::new();
    let registry = Registry::start();
    let host = registry.host();
    let file = machine.path("identity");
    std::fs::write(&file, crate::support::TRUSTED_TOKEN).unwrap();
    registry.sts(|sts| sts.life = Some(0));
    let login = machine.run(&[
        "login",
        &host,
        "--identity-token",
        file.to_str().unwrap(),
        "--identity",
        "acme/ci",
        "--scope",
        "acme/web",
        "--scope",
        "acme/api",
        "--capability",
        "repo.pull",
        "--capability",
        "repo.list",
    ]);
    assert_code(&login, 0);
    assert_code(&machine.run(&["auth", "token", &host]), 0);
    let forms = registry.sts(|sts| sts.forms.clone());
    assert_eq!(forms.len(), 2);
    assert_eq!(forms[0], forms[1]);
    for (name, value) in [
        ("identity", "acme/ci"),
        ("scope", "acme/web acme/api"),
        ("capability", "repo.pull"),
        ("capability", "repo.list"),
    ] {
        let wanted = (name.to_owned(), value.to_owned());
        assert!(forms[0].contains(&wanted), "{wanted:?}");
    }
    assert!(!forms[0].iter().any(|(name, _)| name == "session"));
}
