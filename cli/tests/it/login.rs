//! A person's login, against a provider that lets nothing pass.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Output, Stdio},
};

use serde_json::{Value, json};

use crate::support::{
    Behaviour, Machine, Provider, Registry, Server, assert_code, mode, stderr, stdout, visit,
};

/// A login that waits for the browser.
struct Waiting {
    child: Child,
    address: String,
    said: BufReader<std::process::ChildStderr>,
}

impl Waiting {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut all = String::new();
        let address = loop {
            let mut line = String::new();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "no address: {all}");
            if line.starts_with("http") {
                break line.trim().to_owned();
            }
            all.push_str(&line);
        };
        Self { child, address, said }
    }

    /// Has the user agree; returns where the browser is sent then.
    fn agree(&self) -> String {
        let (status, location, body) = visit(&self.address);
        assert_eq!(status, 303, "{body}");
        location.unwrap()
    }

    fn end(mut self) -> Output {
        let mut stderr = Vec::new();
        self.said.read_to_end(&mut stderr).unwrap();
        let mut output = self.child.wait_with_output().unwrap();
        output.stderr = stderr;
        output
    }
}

fn token_file(machine: &Machine, host: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(machine.token_file(host)).unwrap()).unwrap()
}

#[test]
fn a_person_logs_in_with_a_browser() {
    let machine = Machine::new();
    let registry = Registry::start();
    let _provider = Provider::start(&registry);
    let host = registry.host();

    let login = Waiting::start(machine.command(&["login", &host, "--no-browser"]));
    let callback = login.agree();
    assert!(callback.starts_with("http://127.0.0.1:"), "{callback}");
    let (status, _, page) = visit(&callback);
    assert_eq!(status, 200);
    assert!(page.contains("can be closed"), "{page}");
    let output = login.end();
    assert_code(&output, 0);
    assert!(stdout(&output).contains("as jane"), "{}", stdout(&output));
    assert!(stdout(&output).contains("7 days"), "{}", stdout(&output));
    for secret in ["access-1", "rsr_1"] {
        assert!(!stdout(&output).contains(secret) && !stderr(&output).contains(secret));
    }
    let kept = token_file(&machine, &host);
    assert_eq!(kept["access_token"], "access-1");
    assert_eq!(kept["source"]["refresh_token"], "rsr_1");
    assert_eq!(mode(&machine.token_file(&host)), 0o600);
    assert!(
        registry.sts(|sts| sts.forms[0].contains(&("session".to_owned(), "true".to_owned()))),
        "a person's login asks for a session"
    );
}

#[test]
fn the_browser_is_opened_where_that_is_wanted() {
    let machine = Machine::new();
    let registry = Registry::start();
    let _provider = Provider::start(&registry);
    let opened = machine.path("opened");
    machine.put_program("xdg-open", &format!("echo \"$1\" >{}", opened.display()));

    let login = Waiting::start(machine.command(&["login", &registry.host(), "--browser"]));
    visit(&login.agree());
    let address = login.address.clone();
    assert_code(&login.end(), 0);
    assert_eq!(fs::read_to_string(opened).unwrap().trim(), address);
}

#[test]
fn what_others_send_to_the_listener_changes_nothing() {
    let machine = Machine::new();
    let registry = Registry::start();
    let _provider = Provider::start(&registry);

    let login = Waiting::start(machine.command(&["login", &registry.host(), "--no-browser"]));
    let callback = login.agree();
    let (base, _) = callback.split_once('?').unwrap();
    assert_eq!(visit(&format!("{base}?code=stolen&state=guessed")).0, 400);
    assert_eq!(visit(&format!("{base}?error=access_denied&state=guessed")).0, 400);
    assert_eq!(visit(&base.replace("/callback", "/favicon.ico")).0, 404);
    assert_eq!(visit(&callback.replace("127.0.0.1", "localhost")).0, 421);
    assert_eq!(visit(&callback).0, 200);
    assert_code(&login.end(), 0);
}

#[test]
fn a_refused_login_says_why_and_keeps_nothing() {
    let machine = Machine::new();
    let registry = Registry::start();
    for (behaviour, reason) in [
        (
            Behaviour {
                denies: true,
                ..Behaviour::default()
            },
            "access_denied not you",
        ),
        (
            Behaviour {
                nonce: Some("of-another-login".to_owned()),
                ..Behaviour::default()
            },
            "identity token is not good",
        ),
        (
            Behaviour {
                audience: Some("another-client".to_owned()),
                ..Behaviour::default()
            },
            "identity token is not good",
        ),
        (
            Behaviour {
                other_key: true,
                ..Behaviour::default()
            },
            "identity token is not good",
        ),
        (
            Behaviour {
                names: Some("https://other.example".to_owned()),
                ..Behaviour::default()
            },
            "another issuer",
        ),
    ] {
        let provider = Provider::misbehaving(&registry, behaviour);
        let login = Waiting::start(machine.command(&["login", &registry.host(), "--no-browser"]));
        visit(&login.agree());
        let output = login.end();
        assert_code(&output, 3);
        assert!(stderr(&output).contains(reason), "{reason}: {}", stderr(&output));
        assert!(stderr(&output).contains(&provider.url()));
        assert!(!machine.token_file(&registry.host()).exists());
    }
    assert!(
        registry.sts(|sts| sts.forms.is_empty()),
        "no bad token reached the registry"
    );
}

#[test]
fn a_client_with_a_secret_shows_it_as_its_provider_wants() {
    let machine = Machine::new();
    let registry = Registry::start();
    let _provider = Provider::misbehaving(
        &registry,
        Behaviour {
            secret: Some("installed".to_owned()),
            ..Behaviour::default()
        },
    );
    let login = Waiting::start(machine.command(&["login", &registry.host(), "--no-browser"]));
    visit(&login.agree());
    let output = login.end();
    assert_code(&output, 0);
    assert!(!stderr(&output).contains("installed"));
}

#[test]
fn a_device_waits_for_the_code_to_be_typed_in() {
    let machine = Machine::new();
    let registry = Registry::start();
    let provider = Provider::start(&registry);
    let output = machine.run(&["login", &registry.host(), "--device"]);
    assert_code(&output, 0);
    assert!(stderr(&output).contains("WDJB-MJHT"));
    assert!(stderr(&output).contains(&format!("{}/activate", provider.url())));
    assert_eq!(provider.polls(), 2, "it asks again while the login is pending");
    let kept = token_file(&machine, &registry.host());
    assert_eq!(kept["source"]["refresh_token"], "rsr_1");
    assert_eq!(kept["identity"]["subject"], "jane");

    // The next login takes the place of this one, whose session nobody can use any more.
    assert_code(&machine.run(&["login", &registry.host(), "--device"]), 0);
    let sessions: Vec<String> = registry.sts(|sts| sts.sessions.keys().cloned().collect());
    assert_eq!(sessions, ["rsr_2"]);

    let denied = Provider::misbehaving(
        &registry,
        Behaviour {
            denies: true,
            ..Behaviour::default()
        },
    );
    let output = machine.run(&["login", &registry.host(), "--device"]);
    assert_code(&output, 3);
    assert!(stderr(&output).contains("access_denied"), "{}", stderr(&output));
    assert_eq!(denied.polls(), 1);
}

#[test]
fn nothing_is_typed_where_anybody_listens() {
    let machine = Machine::new();
    let registry = Registry::start();
    let login = |issuer: &str| json!({ "issuer": issuer, "client_id": "c" });
    registry.describe(json!({ "issuers": [login("http://login.example")] }));
    let output = machine.run(&["login", &registry.host(), "--device"]);
    assert_code(&output, 2);
    assert!(stderr(&output).contains("not https"), "{}", stderr(&output));

    // Nor where a good issuer's document sends people.
    let _provider = Provider::misbehaving(
        &registry,
        Behaviour {
            authorization_endpoint: Some("http://login.example/authorize".to_owned()),
            ..Behaviour::default()
        },
    );
    let output = machine.run(&["login", &registry.host(), "--no-browser"]);
    assert_code(&output, 2);
    assert!(
        stderr(&output).contains("login.example/authorize"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn an_answer_without_end_is_not_read() {
    let machine = Machine::new();
    let registry = Registry::start();
    let flood = Server::start(|_| axum::Router::new().fallback(|| async { "x".repeat(2 << 20) }));
    let issuer = format!("http://{}", flood.address());
    registry.describe(json!({ "issuers": [{ "issuer": issuer, "client_id": "c" }] }));
    let output = machine.run(&["login", &registry.host(), "--device"]);
    assert_code(&output, 3);
    assert!(stderr(&output).contains("too long"), "{}", stderr(&output));
}

#[test]
fn one_of_several_issuers_has_to_be_chosen() {
    let machine = Machine::new();
    let registry = Registry::start();
    let provider = Provider::start(&registry);
    let other = json!({ "issuer": "https://other.example", "client_id": "c" });
    registry.describe(json!({ "issuers": [other, provider.login()] }));
    let host = registry.host();
    let output = machine.run(&["login", &host, "--device"]);
    assert_code(&output, 2);
    assert!(stderr(&output).contains("--issuer") && stderr(&output).contains(&provider.url()));
    let unknown = machine.run(&["login", &host, "--device", "--issuer", "https://third.example"]);
    assert_code(&unknown, 2);
    assert_code(
        &machine.run(&["login", &host, "--device", "--issuer", &provider.url()]),
        0,
    );
}

#[test]
fn a_registry_without_issuers_for_people_says_so() {
    let machine = Machine::new();
    let registry = Registry::start();
    let output = machine.run(&["login", &registry.host(), "--device"]);
    assert_code(&output, 3);
    assert!(
        stderr(&output).contains("--identity-token"),
        "{}",
        stderr(&output)
    );
    // Without a terminal nobody is asked anything.
    let output = machine.run(&["login", &registry.host()]);
    assert_code(&output, 3);
    assert!(stderr(&output).contains("--device"), "{}", stderr(&output));
}
