//! The client alone, and how fast it is where speed matters.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use crate::support::{Machine, assert_code, given_once, stdout};

/// What every `docker pull` waits for.
const HELPER_LIMIT: Duration = Duration::from_millis(50);

#[test]
fn the_credential_helper_is_fast_when_it_has_a_token() {
    let machine = Machine::new();
    machine.seed_token("registry.example", "secret-1", 3_000, &given_once());
    // The fastest of several: a busy machine makes all of them slower, a slow program the fastest too.
    let fastest = (0..10)
        .map(|_| {
            let started = Instant::now();
            let output = machine.helper("get", "registry.example");
            let took = started.elapsed();
            assert_code(&output, 0);
            took
        })
        .min();
    let fastest = fastest.unwrap();
    assert!(fastest < HELPER_LIMIT, "it took {fastest:?}");
}

/// `cargo install --path cli --no-default-features` builds no database, no storage and no service.
#[test]
fn the_client_alone_holds_no_service() {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--package",
            "roadstead",
            "--no-default-features",
        ])
        .args(["--edges", "normal,build", "--target", "all", "--prefix", "none"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert_code(&output, 0);
    let tree = stdout(&output);
    let crates: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    let ours: Vec<&str> = crates
        .iter()
        .copied()
        .filter(|name| name.starts_with("roadstead-"))
        .filter(|name| !["roadstead-proto", "roadstead-types"].contains(name))
        .collect();
    assert!(ours.is_empty(), "{ours:?}");
    for crate_name in [
        "rusqlite",
        "libsqlite3-sys",
        "sqlx",
        "aws-sdk-s3",
        "figment",
        "opentelemetry",
        "openssl",
        "ring",
    ] {
        assert!(!crates.contains(&crate_name), "{crate_name}");
    }
    assert!(crates.contains(&"openidconnect"), "the tree was read");
}
