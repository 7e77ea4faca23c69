//! Starting: keys that last, and configuration that is refused.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};

use roadstead_auth::Config;
use roadstead_rpc::SealKey;
use roadstead_runtime::Validate as _;
use roadstead_testkit::{OidcIssuer, TestDirectory, test_dir};
use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{Auth, config, issuer, local, public, stopped_clock, trusting};

async fn start_in(directory: &Arc<TestDirectory>, config: Config) -> Result<Auth, String> {
    let (clock, time) = stopped_clock();
    let outcome = Auth::start_in(directory.clone(), config, local(), clock, time).await;
    outcome.map_err(|error| error.to_string())
}

async fn signed_in(directory: &Arc<TestDirectory>, issuer: &OidcIssuer) -> String {
    let auth = start_in(directory, trusting(issuer)).await.unwrap();
    let token = auth.access_token(issuer, json!({ "sub": "ci" })).await;
    auth.stop().await;
    token
}

#[tokio::test]
async fn keys_outlive_a_restart() {
    let (issuer, _, _) = issuer().await;
    let directory = Arc::new(test_dir());
    let token = signed_in(&directory, &issuer).await;
    let again = start_in(&directory, trusting(&issuer)).await.unwrap();
    again.registry_token(&token, &[]).await.unwrap();
}

#[tokio::test]
async fn two_processes_do_not_share_a_directory() {
    let directory = Arc::new(test_dir());
    let first = start_in(&directory, Config::default()).await.unwrap();
    assert!(start_in(&directory, Config::default()).await.is_err());
    first.stop().await;
    start_in(&directory, Config::default()).await.unwrap();
}

#[tokio::test]
async fn keys_are_sealed_and_private() {
    let directory = Arc::new(test_dir());
    start_in(&directory, Config::default()).await.unwrap();
    let auth = directory.path().join("auth");
    let mut names = Vec::new();
    for entry in fs::read_dir(&auth).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry
            .path()
            .extension()
            .is_none_or(|extension| extension != "key")
        {
            continue;
        }
        assert_eq!(
            entry.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{name}"
        );
        names.push(name);
    }
    names.sort();
    assert_eq!(
        names,
        [
            "access-signing.key",
            "refresh-tokens.key",
            "registry-signing.key",
            "sealing.key"
        ]
    );
    // The database beside them is nobody else's either.
    assert_eq!(fs::metadata(&auth).unwrap().permissions().mode() & 0o777, 0o700);
    let sealed = fs::read(auth.join("access-signing.key")).unwrap();
    assert!(
        !sealed.windows(5).any(|window| window == b"pkcs8"),
        "the key file is not sealed"
    );
}

#[rstest]
#[case::lost(&|auth: &Path| fs::remove_file(auth.join("sealing.key")).unwrap())]
#[case::another(&|auth: &Path| fs::write(auth.join("sealing.key"), SealKey::generate().to_base64()).unwrap())]
#[case::malformed(&|auth: &Path| fs::write(auth.join("sealing.key"), "secret").unwrap())]
#[case::changed_keys(&|auth: &Path| {
    let path = auth.join("access-signing.key");
    let mut sealed = fs::read(&path).unwrap();
    *sealed.last_mut().unwrap() ^= 1;
    fs::write(&path, sealed).unwrap();
})]
#[case::exchanged_keys(&|auth: &Path| {
    fs::rename(auth.join("registry-signing.key"), auth.join("access-signing.key")).unwrap();
})]
#[case::refresh_key_of_another_length(&|auth: &Path| {
    let seal = SealKey::from_file(auth.join("sealing.key")).unwrap();
    fs::write(auth.join("refresh-tokens.key"), seal.seal("auth-refresh-tokens-key", &vec![1_u8; 16])).unwrap();
})]
#[case::signing_key_as_refresh_key(&|auth: &Path| {
    fs::copy(auth.join("access-signing.key"), auth.join("refresh-tokens.key")).unwrap();
})]
#[tokio::test]
async fn keys_that_cannot_be_opened_are_not_replaced(#[case] damage: &dyn Fn(&Path)) {
    let directory = Arc::new(test_dir());
    let first = start_in(&directory, Config::default()).await.unwrap();
    first.stop().await;
    let auth = directory.path().join("auth");
    damage(&auth);
    let before = fs::read(auth.join("access-signing.key")).unwrap();
    assert!(start_in(&directory, Config::default()).await.is_err());
    assert_eq!(fs::read(auth.join("access-signing.key")).unwrap(), before);
}

#[tokio::test]
async fn a_named_sealing_key_must_be_there() {
    let directory = Arc::new(test_dir());
    let file = directory.path().join("elsewhere.key");
    let configured = config(json!({ "sealing_key_file": file }));
    assert!(start_in(&directory, configured.clone()).await.is_err());
    assert!(!file.exists());
    fs::write(&file, SealKey::generate().to_base64()).unwrap();
    start_in(&directory, configured).await.unwrap();
    assert!(!directory.path().join("auth/sealing.key").exists());
}

fn one_issuer(issuer: &str) -> Value {
    json!({ "issuers": [{ "issuer": issuer, "audience": "roadstead" }] })
}

fn one_issuer_with(key: &str, value: &Value, more: &Value) -> Value {
    let mut all = one_issuer("https://issuer.example");
    let issuer = &mut all["issuers"][0];
    issuer[key] = value.clone();
    for (key, value) in more.as_object().unwrap() {
        issuer[key] = value.clone();
    }
    all
}

fn one_grant(grant: &Value) -> Value {
    let mut value = one_issuer("https://issuer.example");
    value["grants"] = json!([grant]);
    value
}

#[rstest]
#[case::long_access_tokens(json!({ "access_token_ttl": "2h" }))]
#[case::short_access_tokens(json!({ "access_token_ttl": "59s" }))]
#[case::short_registry_tokens(json!({ "registry_token_ttl": "10s" }))]
#[case::long_registry_tokens(json!({ "registry_token_ttl": "61m" }))]
#[case::plain_issuer(one_issuer("http://issuer.example"))]
#[case::plain_loopback_without_dev(one_issuer("http://127.0.0.1:9000"))]
#[case::no_url(one_issuer("issuer.example"))]
#[case::other_scheme(one_issuer("ftp://issuer.example"))]
#[case::query(one_issuer("https://issuer.example?tenant=1"))]
#[case::credentials(one_issuer("https://user:word@issuer.example"))]
#[case::fragment(one_issuer("https://issuer.example#tenant"))]
#[case::final_dot(one_issuer("https://issuer.example."))]
#[case::unicode_look_alike(one_issuer("https://\u{456}ssuer.example"))]
#[case::upper_case_host(one_issuer("https://ISSUER.example"))]
#[case::own_port_written_out(one_issuer("https://issuer.example:443"))]
#[case::path_with_dots(one_issuer("https://issuer.example/a/../b"))]
#[case::path_with_encoded_dots(one_issuer("https://issuer.example/a/%2e%2e/b"))]
#[case::backslash(one_issuer("https://issuer.example\\@other.example"))]
#[case::white_space(one_issuer("https://issuer.example/ a"))]
#[case::tab(one_issuer("https://issuer\t.example"))]
#[case::address_in_another_way(one_issuer("https://0x7f.1"))]
#[case::too_long(one_issuer(&format!("https://issuer.example/{}", "a".repeat(240))))]
#[case::no_audience(json!({ "issuers": [{ "issuer": "https://issuer.example", "audience": "" }] }))]
#[case::twice(json!({ "issuers": [
    { "issuer": "https://issuer.example", "audience": "a" },
    { "issuer": "https://issuer.example", "audience": "b" },
] }))]
#[case::long_sessions(json!({ "session_ttl": "366d" }))]
#[case::short_sessions(json!({ "session_idle_ttl": "59m" }))]
#[case::short_key_rotation(json!({ "key_rotation": "1h" }))]
#[case::no_revocations(json!({ "revocations_limit": 0 }))]
#[case::many_revocations(json!({ "revocations_limit": 100_001 }))]
#[case::two_key_sets(one_issuer_with("jwks_file", &json!("keys.json"), &json!({ "jwks": "{}" })))]
#[case::login_of_no_client(one_issuer_with("login", &json!({ "client_id": "" }), &json!({})))]
#[case::login_of_workloads(one_issuer_with("login", &json!({ "client_id": "cli" }), &json!({ "workload": true })))]
#[case::owner_of_nowhere(json!({ "bootstrap_owners": [{ "issuer": "https://issuer.example", "subject": "a" }] }))]
#[case::everybody_pushes(json!({ "grants": [{ "anonymous": true, "prefix": "", "actions": ["push"] }] }))]
#[case::everybody_by_name(json!({ "grants": [{ "anonymous": true, "subject": "a", "prefix": "", "actions": ["pull"] }] }))]
#[case::unknown_issuer(one_grant(&json!({ "issuer": "https://other.example", "subject": "a", "prefix": "", "actions": ["pull"] })))]
#[case::nobody(one_grant(&json!({ "issuer": "https://issuer.example", "prefix": "", "actions": ["pull"] })))]
#[case::both_subjects(one_grant(&json!({ "issuer": "https://issuer.example", "subject": "a", "subject_pattern": "b", "prefix": "", "actions": ["pull"] })))]
#[case::bad_pattern(one_grant(&json!({ "issuer": "https://issuer.example", "subject_pattern": "a)|(?:b", "prefix": "", "actions": ["pull"] })))]
#[case::no_actions(one_grant(&json!({ "issuer": "https://issuer.example", "subject": "a", "prefix": "", "actions": [] })))]
#[tokio::test]
async fn configuration_that_cannot_be_meant_is_refused(#[case] value: Value) {
    let configured = config(value);
    let mut problems = Vec::new();
    configured.validate(&mut problems);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(start_in(&Arc::new(test_dir()), configured).await.is_err());
}

#[test]
fn all_problems_are_reported() {
    let configured = config(json!({
        "access_token_ttl": "2h",
        "issuers": [{ "issuer": "http://issuer.example", "audience": "a" }],
        "grants": [{ "issuer": "https://other.example", "prefix": "", "actions": ["pull"] }],
    }));
    let mut problems = Vec::new();
    configured.validate(&mut problems);
    let keys: Vec<_> = problems
        .iter()
        .filter_map(|problem| problem.split(':').next())
        .collect();
    assert_eq!(
        keys,
        [
            "access_token_ttl",
            "issuers[0].issuer",
            "grants[0].subject",
            "grants[0].issuer"
        ]
    );
}

#[rstest]
#[case::unknown_key(json!({ "password": "x" }))]
#[case::unknown_issuer_key(json!({ "issuers": [{ "issuer": "https://a.example", "audience": "a", "keys": "x" }] }))]
#[case::unknown_action(one_grant(&json!({ "issuer": "https://issuer.example", "subject": "a", "prefix": "", "actions": ["admin"] })))]
#[case::impossible_prefix(one_grant(&json!({ "issuer": "https://issuer.example", "subject": "a", "prefix": "ACME", "actions": ["pull"] })))]
#[case::no_prefix(one_grant(&json!({ "issuer": "https://issuer.example", "subject": "a", "actions": ["pull"] })))]
fn configuration_that_cannot_be_read_is_refused(#[case] value: Value) {
    assert!(serde_json::from_value::<Config>(value).is_err());
}

#[rstest]
#[case::public_url("https://registry.example", "https://registry.example/oidc", false)]
#[case::public_url_by_default_port("https://registry.example", "https://registry.example:443", false)]
#[case::public_url_with_a_final_dot("https://registry.example", "https://Registry.example.", false)]
#[case::listener("https://registry.example", "https://127.0.0.1:5000", false)]
#[case::listener_by_name("https://registry.example", "https://localhost:5000/dev", false)]
#[case::neighbour("https://registry.example", "https://issuer.example", true)]
#[case::other_port("https://registry.example", "https://registry.example:8443", true)]
#[tokio::test]
async fn the_registry_is_not_its_own_issuer(
    #[case] origin: &str,
    #[case] issuer: &str,
    #[case] starts: bool,
) {
    let (clock, time) = stopped_clock();
    let address = public(origin, "127.0.0.1:5000");
    let outcome = Auth::start_in(
        Arc::new(test_dir()),
        config(one_issuer(issuer)),
        address,
        clock,
        time,
    )
    .await;
    assert_eq!(outcome.is_ok(), starts);
}

#[rstest]
#[case::loopback("127.0.0.1:5000", true)]
#[case::loopback_v6("[::1]:5000", true)]
#[case::everywhere("0.0.0.0:5000", false)]
#[case::private("10.0.0.1:5000", false)]
#[tokio::test]
async fn the_development_issuer_needs_a_loopback_listener(#[case] listen: &str, #[case] starts: bool) {
    let (clock, time) = stopped_clock();
    let address = public("http://127.0.0.1:5000", listen);
    let outcome = Auth::start_in(
        Arc::new(test_dir()),
        config(json!({ "dev": true })),
        address,
        clock,
        time,
    )
    .await;
    assert_eq!(outcome.is_ok(), starts);
}
