use crate::support::{Machine, assert_code, stdout};

#[test]
fn wrong_usage_is_code_two() {
    let machine = Machine::new();
    for arguments in [
        &["frobnicate"][..],
        &["login"],
        &["login", "a b"],
        &["events", "list", "--limit", "x"],
    ] {
        assert_code(&machine.run(arguments), 2);
    }
}

#[test]
fn help_names_the_exit_codes() {
    let machine = Machine::new();
    let output = machine.run(&["--help"]);
    assert_code(&output, 0);
    for code in [
        "0  done",
        "1  failed, not verified",
        "2  wrong",
        "3  not logged in",
        "4  the registry",
        "5  the registry",
    ] {
        assert!(stdout(&output).contains(code), "{code}");
    }
}

#[test]
fn version_is_the_packages() {
    let machine = Machine::new();
    let output = machine.run(&["version"]);
    assert_code(&output, 0);
    assert_eq!(
        stdout(&output),
        format!("roadstead {}\n", env!("CARGO_PKG_VERSION"))
    );
}
