//! Repositories and tags by the distribution API.

use serde_json::{Value, json};

use crate::support::{DEV_SECRET, Machine, Registry, assert_code, stderr, stdout};

fn logged_in() -> (Machine, Registry) {
    let machine = Machine::new();
    let registry = Registry::start();
    machine.leave_dev_secret(registry.port(), DEV_SECRET);
    assert_code(&machine.run(&["login", &registry.host()]), 0);
    (machine, registry)
}

#[test]
fn repositories_are_listed_page_by_page() {
    let (machine, registry) = logged_in();
    let list = machine.run(&["repos", "list"]);
    assert_code(&list, 0);
    assert_eq!(stdout(&list), "REPOSITORY\nacme/api\nacme/web\nzoo\n");
    assert_eq!(
        registry.requests(),
        ["GET /v2/_catalog?n=1000", "GET /v2/_catalog?n=2&last=acme/web"]
    );
    let two = machine.run(&["repos", "list", "--limit", "2", "-o", "json"]);
    assert_code(&two, 0);
    let two: Value = serde_json::from_slice(&two.stdout).unwrap();
    assert_eq!(
        two,
        json!([{ "repository": "acme/api" }, { "repository": "acme/web" }])
    );
}

#[test]
fn a_repository_shows_its_tags_and_what_you_may_do() {
    let (machine, _registry) = logged_in();
    let show = machine.run(&["repos", "show", "acme/web"]);
    assert_code(&show, 0);
    assert_eq!(
        stdout(&show),
        "repository: acme/web\ntags: v1, v2, v3\nyou_may: pull\n"
    );
    let other = machine.run(&["repos", "show", "acme/other"]);
    assert_code(&other, 5);
}

#[test]
fn tags_are_listed_and_deleted() {
    let (machine, registry) = logged_in();
    let list = machine.run(&["tags", "list", "acme/web"]);
    assert_code(&list, 0);
    assert_eq!(stdout(&list), "TAG\nv1\nv2\nv3\n");
    let deleted = machine.run(&["tags", "delete", "acme/web", "v1"]);
    assert_code(&deleted, 0);
    assert!(
        stdout(&deleted).contains("roadstead tags history acme/web v1"),
        "{}",
        stdout(&deleted)
    );
    assert_eq!(
        registry.requests().last().map(String::as_str),
        Some("DELETE /v2/acme/web/manifests/v1")
    );
    let denied = machine.run(&["tags", "delete", "secret/web", "v1"]);
    assert_code(&denied, 5);
    assert!(
        stderr(&denied).contains("needs the capability repo.delete"),
        "{}",
        stderr(&denied)
    );
    for wrong in [
        &["tags", "delete", "acme/web", "sha256:00"][..],
        &["tags", "delete", "../web", "v1"],
        &["tags", "list", "Acme"],
    ] {
        assert_code(&machine.run(wrong), 2);
    }
}
