use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use serde_json::{Value, json};

use crate::support::{Machine, assert_code, mode, stdout};

fn configure(machine: &Machine, host: &str) -> std::process::Output {
    let bin = machine.path("bin");
    machine.run(&[
        "auth",
        "configure-docker",
        host,
        "--bin-dir",
        bin.to_str().unwrap(),
    ])
}

#[test]
fn other_settings_and_the_mode_survive() {
    let machine = Machine::new();
    let directory = machine.path("home/.docker");
    fs::create_dir(&directory).unwrap();
    let path = directory.join("config.json");
    let before = json!({
        "auths": { "elsewhere.example": { "auth": "eDp5" } },
        "credHelpers": { "gcr.example": "gcr" },
        "credsStore": "pass",
        "HttpHeaders": { "X-Meta": "1" },
        "detachKeys": "ctrl-e,e",
    });
    fs::write(&path, before.to_string()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();

    assert_code(&configure(&machine, "localhost:5000"), 0);
    let after: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let mut expected = before;
    expected["credHelpers"]["localhost:5000"] = "roadstead".into();
    expected["credHelpers"]["127.0.0.1:5000"] = "roadstead".into();
    assert_eq!(after, expected);
    assert_eq!(mode(&path), 0o640);

    let first = fs::read(&path).unwrap();
    let again = configure(&machine, "localhost:5000");
    assert_code(&again, 0);
    assert!(stdout(&again).contains("already names"));
    assert_eq!(fs::read(&path).unwrap(), first);
    assert_eq!(
        fs::read_dir(&directory).unwrap().count(),
        1,
        "no temporary file is left"
    );
}

#[test]
fn a_missing_file_is_made_for_its_owner_alone() {
    let machine = Machine::new();
    let directory = machine.path("docker");
    let bin = machine.path("bin");
    let mut command = machine.command(&[
        "auth",
        "configure-docker",
        "registry.example",
        "--bin-dir",
        bin.to_str().unwrap(),
    ]);
    assert_code(&command.env("DOCKER_CONFIG", &directory).output().unwrap(), 0);
    let path = directory.join("config.json");
    let config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(
        config,
        json!({ "credHelpers": { "registry.example": "roadstead" } })
    );
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn a_linked_file_stays_a_link() {
    let machine = Machine::new();
    let directory = machine.path("home/.docker");
    fs::create_dir(&directory).unwrap();
    let target = machine.path("dotfiles.json");
    fs::write(&target, "{}").unwrap();
    std::os::unix::fs::symlink(&target, directory.join("config.json")).unwrap();
    assert_code(&configure(&machine, "registry.example"), 0);
    assert!(
        fs::symlink_metadata(directory.join("config.json"))
            .unwrap()
            .is_symlink()
    );
    assert!(fs::read_to_string(&target).unwrap().contains("registry.example"));
}

#[test]
fn what_is_not_understood_is_left_alone() {
    let machine = Machine::new();
    let directory = machine.path("home/.docker");
    fs::create_dir(&directory).unwrap();
    let path = directory.join("config.json");
    for content in ["{ broken", "[]", r#"{"credHelpers": 1}"#] {
        fs::write(&path, content).unwrap();
        assert_code(&configure(&machine, "registry.example"), 2);
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
}

#[test]
fn the_helper_program_is_installed_and_works() {
    let machine = Machine::new();
    let helper = machine.path("bin/docker-credential-roadstead");
    fs::write(&helper, "an older copy").unwrap();
    let output = configure(&machine, "registry.example");
    assert_code(&output, 0);
    assert!(!stdout(&output).contains("NOT on PATH"), "{}", stdout(&output));
    let version = Command::new(&helper).arg("version").output().unwrap();
    assert_code(&version, 0);
    assert!(stdout(&version).starts_with("docker-credential-roadstead "));

    let elsewhere = machine.path("elsewhere");
    let arguments = [
        "auth",
        "configure-docker",
        "registry.example",
        "--bin-dir",
        elsewhere.to_str().unwrap(),
    ];
    let output = machine.run(&arguments);
    assert_code(&output, 0);
    assert!(stdout(&output).contains("NOT on PATH"));
}
