//! What operators and users write.

use std::path::Path;

use roadstead_auth::fuzzing as auth;
use roadstead_cli::{RegistryHost, fuzzing as cli};
use roadstead_runtime::{
    ConfigSources, ConfigTree, PublicAddress, RpcConfig, RuntimeConfig, TelemetryConfig, fuzzing as runtime,
    parse_assignment,
};
use serde_json::{Map, Value};

use crate::{Parser, first_line_and_rest};

pub(crate) const PARSERS: &[Parser] = &[
    Parser {
        name: "configuration file",
        check: file,
    },
    Parser {
        name: "assignment",
        check: assignment,
    },
    Parser {
        name: "registry host",
        check: host,
    },
    Parser {
        name: "client configuration",
        check: client_configuration,
    },
    Parser {
        name: "subject pattern",
        check: subject_pattern,
    },
];

const SECRET_ENDINGS: [&str; 5] = ["secret", "token", "password", "key", "credentials"];

fn file(text: &str) {
    let Ok(tree) = runtime::tree(text) else { return };
    check_tree(&tree);
}

/// Every section is read or refused with a reason; what is shown of it shows no secret.
fn check_tree(tree: &ConfigTree) {
    let shown = tree.redacted();
    match shown.parse() {
        Ok(table) => check_redacted(&toml::Value::Table(table), false),
        // Flags nest without end, TOML does not.
        Err(error) => assert!(
            shown.matches('.').count() > 60,
            "what is shown is no TOML: {error}"
        ),
    }
    assert!(format!("{tree:?}").contains("ConfigTree"));

    let mut reader = tree.reader();
    let _: RuntimeConfig = reader.section("runtime");
    let _: TelemetryConfig = reader.section("telemetry");
    let _: RpcConfig = reader.section("rpc");
    let _: roadstead_gateway::Config = reader.section("gateway");
    let _: roadstead_auth::Config = reader.section("auth");
    let _: roadstead_metadata::Config = reader.section("metadata");
    let _: roadstead_blobs::Config = reader.section("blobs");
    let _: roadstead_events::Config = reader.section("events");
    let public = PublicAddress::read(&mut reader);
    match reader.finish() {
        Ok(()) => {
            let public = public.expect("an address, or a reason why there is none");
            let origin = public.origin();
            assert!(
                origin.starts_with("http://") || origin.starts_with("https://"),
                "{origin}"
            );
            assert!(
                !origin.ends_with('/') && origin.matches('/').count() == 2,
                "{origin}"
            );
            assert!(origin.ends_with(&public.service), "{origin} {}", public.service);
        }
        Err(error) => assert!(error.problems().iter().all(|problem| !problem.is_empty())),
    }
}

fn check_redacted(value: &toml::Value, secret: bool) {
    match value {
        toml::Value::Table(table) => {
            assert!(!secret, "a table under the name of a secret is shown: {table}");
            for (key, value) in table {
                check_redacted(value, SECRET_ENDINGS.iter().any(|ending| key.ends_with(ending)));
            }
        }
        toml::Value::Array(items) => items.iter().for_each(|item| check_redacted(item, secret)),
        toml::Value::String(text) => assert!(!secret || text == "***", "a secret is shown: {text}"),
        other => assert!(!secret, "a secret is shown: {other}"),
    }
}

/// Takes assignments, one in each line, as flags and environment variables make them.
fn assignment(text: &str) {
    let mut overrides = Vec::new();
    for line in text.lines() {
        let Ok((key, value)) = parse_assignment(line) else {
            assert!(
                !line.split_once('=').is_some_and(|(key, _)| key.contains('.')),
                "{line:?}"
            );
            continue;
        };
        assert!(line.trim_start().starts_with(&key), "{line:?}");
        overrides.push((key, value));
    }
    let sources = ConfigSources {
        overrides,
        ..ConfigSources::default()
    };
    if let Ok(tree) = ConfigTree::load(sources) {
        check_tree(&tree);
    }
}

/// A host has one spelling, leads to that host, and its token is kept in a directory below the cache.
fn host(text: &str) {
    let Ok(host) = RegistryHost::parse(text) else {
        return;
    };
    let written = host.to_string();
    assert_eq!(
        RegistryHost::parse(&written).expect("what was written is read"),
        host
    );
    assert_eq!(written, written.to_ascii_lowercase());
    let url = url::Url::parse(&format!("http://{written}/v2/")).expect("a URL");
    assert_eq!((url.username(), url.password(), url.path()), ("", None, "/v2/"));
    let name = cli::cache_name(&host);
    let parts: Vec<_> = Path::new(&name).components().collect();
    assert!(
        matches!(parts.as_slice(), [std::path::Component::Normal(only)] if *only == std::ffi::OsStr::new(&name)),
        "{name:?} is no name of a directory"
    );
}

/// Takes a host and a client's configuration, which is left as it was but for the helper.
fn client_configuration(text: &str) {
    let (host, content) = first_line_and_rest(text);
    let Ok(host) = RegistryHost::parse(host) else {
        return;
    };
    let Ok(changed) = cli::with_helper(content.as_bytes(), &host) else {
        return;
    };
    let Some(changed) = changed else { return };
    let read = |content: &[u8]| serde_json::from_slice::<Map<String, Value>>(content).unwrap_or_default();
    let (mut before, mut after) = (read(content.as_bytes()), read(&changed));
    let helpers = |config: &mut Map<String, Value>| match config.remove("credHelpers") {
        Some(Value::Object(helpers)) => helpers,
        _ => Map::new(),
    };
    let (mut old, mut new) = (helpers(&mut before), helpers(&mut after));
    assert_eq!(before, after, "something else was changed");
    for alias in cli::aliases(&host) {
        assert_eq!(new.remove(&alias), Some(Value::from("roadstead")));
        old.remove(&alias);
    }
    assert_eq!(old, new, "another helper was changed");
    let again = cli::with_helper(&changed, &host).expect("what was written is read");
    assert_eq!(again, None, "a second time changes nothing");
}

/// Takes a pattern and a subject: a match is one of the whole subject by the pattern itself.
fn subject_pattern(text: &str) {
    let (pattern, subject) = first_line_and_rest(text);
    if auth::subject_matches(pattern, subject) == Some(true) {
        let alone = regex::Regex::new(pattern).expect("a pattern");
        assert!(alone.is_match(subject), "{pattern:?} {subject:?}");
    }
}
