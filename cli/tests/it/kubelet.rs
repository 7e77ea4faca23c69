//! The kubelet's plugin, called as a kubelet calls it.

use std::process::Command;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::support::{Machine, Registry, assert_code, output_with_input, stderr, stdout};

fn token(audience: &Value, subject: &str) -> String {
    let claims = json!({ "aud": audience, "sub": subject }).to_string();
    format!("h.{}.s", URL_SAFE_NO_PAD.encode(claims))
}

/// A token for the registry, which trusts it.
fn trusted(registry: &Registry) -> String {
    let token = token(&json!([registry.host()]), "web");
    registry.trust(&token, "web");
    token
}

fn request(image: &str, token: &str) -> String {
    json!({
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        "kind": "CredentialProviderRequest",
        "image": image,
        "serviceAccountToken": token,
        "serviceAccountAnnotations": {},
    })
    .to_string()
}

fn plugin(machine: &Machine) -> Command {
    let program = machine.path("bin").join("kubelet-credential-provider-roadstead");
    if !program.exists() {
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_roadstead"), &program).unwrap();
    }
    machine.isolated(program)
}

#[test]
fn a_pod_pulls_as_its_service_account() {
    let machine = Machine::new();
    let registry = Registry::start();
    let host = registry.host();
    let image = format!("{host}/acme/web:v1");
    let token = trusted(&registry);
    let output = output_with_input(&mut plugin(&machine), &request(&image, &token));
    assert_code(&output, 0);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        answer,
        json!({
            "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
            "kind": "CredentialProviderResponse",
            "cacheKeyType": "Registry",
            "cacheDuration": "3000s",
            "auth": { host: { "username": "_token", "password": "access-1" } },
        })
    );
    let form = registry.sts(|sts| sts.forms[0].clone());
    let capabilities: Vec<&str> = form
        .iter()
        .filter(|(name, _)| name == "capability")
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(capabilities, ["repo.pull", "repo.list"], "a node may only pull");
    assert!(
        !machine.path("cache/roadstead").exists(),
        "nothing is kept on the node"
    );

    let mut command = machine.command(&["kubelet-credential-provider"]);
    assert_code(&output_with_input(&mut command, &request(&image, &token)), 0);
}

#[test]
fn failures_are_for_the_kubelets_log() {
    let machine = Machine::new();
    let registry = Registry::start();
    let image = format!("{}/acme/web:v1", registry.host());
    let trusted = trusted(&registry);
    let stranger = token(&json!(registry.host()), "of-a-stranger");
    for (input, code, said) in [
        (request(&image, &stranger), 3, "not trusted here"),
        (request(&image, ""), 2, "serviceAccountTokenAudience"),
        (request("alpine", &trusted), 2, "names no registry"),
        ("{}".to_owned(), 2, "CredentialProviderRequest"),
        (
            request(&image, &trusted).replace("/v1\"", "/v1alpha1\""),
            2,
            "v1alpha1",
        ),
    ] {
        let output = output_with_input(&mut plugin(&machine), &input);
        assert_code(&output, code);
        assert_eq!(stdout(&output), "");
        assert!(stderr(&output).contains(said), "{said}: {}", stderr(&output));
        assert!(!stderr(&output).contains(&stranger));
    }
}

#[test]
fn a_token_for_another_registry_is_not_sent_to_the_one_that_the_image_names() {
    let machine = Machine::new();
    let registry = Registry::start();
    let image = format!("{}/acme/web:v1", registry.host());
    for audience in [
        json!("registry.example"),
        json!([registry.host(), "registry.example"]),
        json!([]),
        Value::Null,
    ] {
        let token = token(&audience, "web");
        registry.trust(&token, "web");
        let output = output_with_input(&mut plugin(&machine), &request(&image, &token));
        assert_code(&output, 3);
        assert_eq!(stdout(&output), "");
        let said = stderr(&output);
        assert!(said.contains(&format!("not for {}", registry.host())), "{said}");
        assert!(said.contains("serviceAccountTokenAudience") && !said.contains(&token));
    }
    assert!(registry.sts(|sts| sts.forms.is_empty()), "no token left the node");
}
