//! What a terminal sees, and what it does not: `script` lends the program one.

use std::{fs, process::Command};

use crate::support::{Machine, assert_code, given_once, stdout};

/// Runs a command line with a terminal for its output.
fn in_terminal(machine: &Machine, line: &str) -> std::process::Output {
    let mut command: Command = machine.isolated("/usr/bin/script");
    let path = format!("{}:/usr/bin:/bin", machine.path("bin").display());
    command.env("PATH", path).env("SHELL", "/bin/sh");
    command.args(["-qec", line, "/dev/null"]).output().unwrap()
}

fn roadstead(arguments: &str) -> String {
    format!("{} {arguments}", env!("CARGO_BIN_EXE_roadstead"))
}

#[test]
fn a_token_goes_to_a_terminal_only_when_told() {
    let machine = Machine::new();
    machine.seed_token("registry.example", "secret-1", 3_000, &given_once());
    let refused = in_terminal(&machine, &roadstead("auth token registry.example"));
    assert_code(&refused, 2);
    assert!(!stdout(&refused).contains("secret-1"));
    assert!(stdout(&refused).contains("--print"), "{}", stdout(&refused));
    let told = in_terminal(&machine, &roadstead("auth token registry.example --print"));
    assert_code(&told, 0);
    assert!(stdout(&told).contains("secret-1"));
    let piped = in_terminal(&machine, &roadstead("auth token registry.example | cat"));
    assert!(stdout(&piped).contains("secret-1"), "a pipe is no terminal");
}

#[test]
fn the_credential_helper_answers_no_terminal() {
    let machine = Machine::new();
    machine.seed_token("registry.example", "secret-1", 3_000, &given_once());
    assert_code(&machine.helper("get", "registry.example"), 0);
    let line = "echo registry.example | docker-credential-roadstead get";
    let refused = in_terminal(&machine, line);
    assert_code(&refused, 1);
    assert!(!stdout(&refused).contains("secret-1"), "{}", stdout(&refused));
}

#[test]
fn every_command_has_a_manual_page_and_completions() {
    let machine = Machine::new();
    let page = machine.run(&["man"]);
    assert_code(&page, 0);
    assert!(stdout(&page).contains(".TH roadstead"), "{}", stdout(&page));
    assert_code(&machine.run(&["man", "--out", "man1"]), 0);
    for page in [
        "roadstead.1",
        "roadstead-login.1",
        "roadstead-iam-bindings-create.1",
    ] {
        let content = fs::read_to_string(machine.path("man1").join(page)).unwrap();
        assert!(content.contains(".SH NAME"), "{page}");
    }
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = machine.run(&["completions", shell]);
        assert_code(&script, 0);
        assert!(stdout(&script).contains("pull-token"), "{shell}");
    }
    assert_code(&machine.run(&["completions", "tcsh"]), 2);
    // The shell itself takes it.
    let script = machine.path("completions");
    fs::write(&script, stdout(&machine.run(&["completions", "bash"]))).unwrap();
    let line = "complete -p roadstead";
    let sourced = Command::new("bash")
        .args(["-c", &format!(". {} && {line}", script.display())])
        .output()
        .unwrap();
    assert_code(&sourced, 0);
}
