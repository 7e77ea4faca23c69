//! Workloads of continuous integration systems, clusters and clouds, which are known without anything stored.

use std::sync::{Arc, Mutex};

use axum::{
    Json, Router,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;

use crate::support::{Machine, Registry, Server, TRUSTED_TOKEN, assert_code, given_once, stderr, stdout};

/// A token with an audience, which the registry trusts.
fn token_for(registry: &Registry, audience: &str) -> String {
    let claims = json!({ "aud": audience }).to_string();
    let token = format!("h.{}.s", URL_SAFE_NO_PAD.encode(claims));
    registry.trust(&token, "workload");
    token
}

#[test]
fn github_actions_is_asked_for_a_token_of_the_registrys_audience() {
    let machine = Machine::new();
    let registry = Registry::start();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = asked.clone();
    let service = Server::start(|_| {
        Router::new().fallback(async move |headers: HeaderMap, uri: Uri| -> Response {
            let mut asked = seen.lock().unwrap();
            asked.push(uri.to_string());
            if headers
                .get("authorization")
                .is_none_or(|value| value != "Bearer of-the-job")
            {
                return StatusCode::UNAUTHORIZED.into_response();
            }
            // The service fails now and then.
            if asked.len() == 1 {
                return StatusCode::BAD_GATEWAY.into_response();
            }
            Json(json!({ "value": TRUSTED_TOKEN })).into_response()
        })
    });
    let host = registry.host();
    let url = format!("http://{}/token?api-version=2.0", service.address());
    let login = || {
        let mut command = machine.command(&["login", &host]);
        command
            .env("GITHUB_ACTIONS", "true")
            .env("ACTIONS_ID_TOKEN_REQUEST_URL", &url)
            .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of-the-job");
        command
    };
    let output = login().output().unwrap();
    assert_code(&output, 0);
    assert!(stdout(&output).contains("as workload"));
    let audience = host.replace(':', "%3A");
    let wanted = format!("/token?api-version=2.0&audience={audience}");
    assert_eq!(*asked.lock().unwrap(), [wanted.clone(), wanted]);

    let mut elsewhere = login();
    assert_code(&elsewhere.args(["--audience", "other"]).output().unwrap(), 0);
    assert!(asked.lock().unwrap()[2].ends_with("&audience=other"));
}

#[test]
fn a_job_that_may_not_ask_is_told_what_to_add() {
    let machine = Machine::new();
    let registry = Registry::start();
    let mut command = machine.command(&["login", &registry.host()]);
    let output = command.env("GITHUB_ACTIONS", "true").output().unwrap();
    assert_code(&output, 3);
    assert!(stderr(&output).contains("id-token: write"), "{}", stderr(&output));

    let mut command = machine.command(&["login", &registry.host()]);
    let output = command.env("GITLAB_CI", "true").output().unwrap();
    assert_code(&output, 3);
    let advice = format!("aud: {}", registry.host());
    assert!(stderr(&output).contains("id_tokens:"), "{}", stderr(&output));
    assert!(stderr(&output).contains(&advice), "{}", stderr(&output));
}

#[test]
fn the_secret_of_a_job_goes_nowhere_in_the_clear() {
    let machine = Machine::new();
    let registry = Registry::start();
    let mut command = machine.command(&["login", &registry.host()]);
    command
        .env("ACTIONS_ID_TOKEN_REQUEST_URL", "http://actions.example/token")
        .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of-the-job");
    let output = command.output().unwrap();
    assert_code(&output, 3);
    assert!(stderr(&output).contains("not https"), "{}", stderr(&output));
    assert!(!stderr(&output).contains("of-the-job"));
}

#[test]
fn gitlab_keeps_the_token_in_a_variable() {
    let machine = Machine::new();
    let registry = Registry::start();
    let login = |variable: &str, token: &str| {
        let mut command = machine.command(&["login", &registry.host()]);
        command
            .env("GITLAB_CI", "true")
            .env(variable, token)
            .output()
            .unwrap()
    };
    let token = token_for(&registry, &registry.host());
    assert_code(&login("ROADSTEAD_IDENTITY_TOKEN", &token), 0);
    assert_code(&login("ROADSTEAD_ID_TOKEN", &token), 0);

    let of_another = token_for(&registry, "https://gitlab.example");
    let output = login("ROADSTEAD_ID_TOKEN", &of_another);
    assert_code(&output, 3);
    assert!(stderr(&output).contains("--audience"), "{}", stderr(&output));
}

#[test]
fn buildkite_circleci_and_aws_are_asked_by_their_programs() {
    let registry = Registry::start();
    let host = registry.host();
    for (program, variable, arguments) in [
        (
            "buildkite-agent",
            "BUILDKITE_AGENT_ACCESS_TOKEN",
            format!("oidc request-token --audience {host} --lifetime 300"),
        ),
        (
            "circleci",
            "CIRCLECI",
            format!("run oidc get --claims {{\"aud\":\"{host}\"}}"),
        ),
        (
            "aws",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            format!(
                "sts get-web-identity-token --audience {host} --signing-algorithm ES384 --duration-seconds 300 \
                 --query WebIdentityToken --output text"
            ),
        ),
    ] {
        let machine = Machine::new();
        let called = machine.path("called");
        let script = format!("echo \"$@\" >{}\necho {TRUSTED_TOKEN}", called.display());
        machine.put_program(program, &script);
        let mut command = machine.command(&["login", &host]);
        assert_code(&command.env(variable, "set").output().unwrap(), 0);
        assert_eq!(std::fs::read_to_string(called).unwrap().trim(), arguments);

        machine.put_program(program, "echo no such audience >&2; exit 1");
        let mut command = machine.command(&["login", &host]);
        let output = command.env(variable, "set").output().unwrap();
        assert_code(&output, 3);
        assert!(
            stderr(&output).contains("no such audience"),
            "{}",
            stderr(&output)
        );
        assert!(stderr(&output).contains(program));
    }
}

/// The usual token of a pod on AWS is good for taking the pod's role there, so it is not given to a registry.
#[test]
fn a_token_that_opens_something_else_is_not_sent() {
    let machine = Machine::new();
    let registry = Registry::start();
    let file = machine.path("projected");
    std::fs::write(&file, token_for(&registry, "sts.amazonaws.com")).unwrap();
    let login = || {
        let mut command = machine.command(&["login", &registry.host()]);
        command
            .env("AWS_WEB_IDENTITY_TOKEN_FILE", &file)
            .output()
            .unwrap()
    };
    assert_code(&login(), 3);
    assert!(registry.sts(|sts| sts.forms.is_empty()));

    std::fs::write(&file, token_for(&registry, &registry.host())).unwrap();
    assert_code(&login(), 0);
}

#[test]
fn google_is_asked_by_the_metadata_server() {
    let machine = Machine::new();
    let registry = Registry::start();
    let service = Server::start(|_| {
        Router::new().fallback(async |headers: HeaderMap, uri: Uri| -> Response {
            let path = "/computeMetadata/v1/instance/service-accounts/default/identity";
            let flavor = headers
                .get("metadata-flavor")
                .is_some_and(|value| value == "Google");
            let query = uri.query().unwrap_or_default();
            if uri.path() == path && flavor && query.starts_with("audience=127.0.0.1%3A") {
                return TRUSTED_TOKEN.into_response();
            }
            StatusCode::NOT_FOUND.into_response()
        })
    });
    let mut command = machine.command(&["login", &registry.host()]);
    command.env("GCE_METADATA_HOST", service.address().to_string());
    assert_code(&command.output().unwrap(), 0);
}

#[test]
fn a_workload_is_asked_again_when_its_token_ends() {
    let machine = Machine::new();
    let registry = Registry::start();
    let host = registry.host();
    machine.put_program("buildkite-agent", &format!("echo {TRUSTED_TOKEN}"));
    let source = json!({ "kind": "ambient", "provider": "buildkite" });
    machine.seed_token(&host, "over", -1, &source);
    let token = machine.run(&["auth", "token", &host]);
    assert_code(&token, 0);
    assert_eq!(stdout(&token), "access-1\n");
}

#[test]
fn a_file_of_the_environment_is_read_again() {
    let machine = Machine::new();
    let registry = Registry::start();
    let host = registry.host();
    let file = machine.path("projected");
    std::fs::write(&file, TRUSTED_TOKEN).unwrap();
    registry.sts(|sts| sts.life = Some(0));
    let mut command = machine.command(&["login", &host]);
    assert_code(
        &command
            .env("ROADSTEAD_IDENTITY_TOKEN_FILE", &file)
            .output()
            .unwrap(),
        0,
    );
    assert_eq!(stdout(&machine.run(&["auth", "token", &host])), "access-2\n");
    std::fs::write(&file, "of-a-stranger").unwrap();
    assert_code(&machine.run(&["auth", "token", &host]), 3);
}

/// A credential helper is asked about any host that an image names.
#[test]
fn a_workload_shows_itself_only_where_it_logged_in() {
    let machine = Machine::new();
    let registry = Registry::start();
    machine.put_program("buildkite-agent", &format!("echo {TRUSTED_TOKEN}"));
    let mut command = machine.command(&["auth", "token", &registry.host()]);
    let output = command
        .env("BUILDKITE_AGENT_ACCESS_TOKEN", "set")
        .output()
        .unwrap();
    assert_code(&output, 3);
    assert!(registry.sts(|sts| sts.forms.is_empty()));
    machine.seed_token(&registry.host(), "over", -1, &given_once());
    let mut command = machine.command(&["auth", "token", &registry.host()]);
    let output = command
        .env("BUILDKITE_AGENT_ACCESS_TOKEN", "set")
        .output()
        .unwrap();
    assert_code(&output, 3);
    assert!(registry.sts(|sts| sts.forms.is_empty()));
}

#[test]
fn a_provider_can_be_named() {
    let machine = Machine::new();
    let registry = Registry::start();
    machine.put_program("circleci", &format!("echo {TRUSTED_TOKEN}"));
    let host = registry.host();
    assert_code(&machine.run(&["login", &host, "--provider", "circleci"]), 0);
    let absent = machine.run(&["login", &host, "--provider", "kubernetes"]);
    assert_code(&absent, 3);
    assert!(
        stderr(&absent).contains("serviceAccountToken"),
        "{}",
        stderr(&absent)
    );
    assert_code(
        &machine.run(&["login", &host, "--provider", "circleci", "--device"]),
        2,
    );
}
