use roadstead_proto::auth::v1::{Watermark, watermark::Subject};

use super::*;
use crate::{AccessClaims, Provenance, RegistryClaims, WireClaims};

fn wire(revision: u64, repositories: &[&str]) -> WireClaims {
    let access = repositories.iter().map(|name| {
        serde_json::from_value(serde_json::json!({ "type": "repository", "name": name, "actions": ["pull"] }))
            .unwrap()
    });
    WireClaims {
        sub: "ci".to_owned(),
        jti: "token-1".to_owned(),
        rev: revision,
        ids: vec!["idn_1".to_owned(), "idn_2".to_owned()],
        cred: Some("session:ses_1".to_owned()),
        access: Some(access.collect()),
        act: Some(crate::Act {
            issuer: "https://issuer.example".to_owned(),
            subject: "ci".to_owned(),
            ..crate::Act::default()
        }),
        ..WireClaims::default()
    }
}

fn registry(revision: u64, repositories: &[&str]) -> RegistryClaims {
    RegistryClaims::from_wire(wire(revision, repositories)).unwrap()
}

fn access(revision: u64) -> AccessClaims {
    AccessClaims::from_wire(wire(revision, &[])).unwrap()
}

fn mark(subject: Subject, revision: u64) -> Watermark {
    Watermark {
        subject: Some(subject),
        revision,
    }
}

fn message(previous: u64, revision: u64, watermarks: Vec<Watermark>) -> WatchResponse {
    WatchResponse {
        revision,
        previous,
        watermarks,
        more: false,
    }
}

fn token(id: &str) -> Subject {
    Subject::TokenId(id.to_owned())
}

fn credential(text: &str) -> Subject {
    Subject::Credential(text.to_owned())
}

fn identity(id: &str) -> Subject {
    Subject::Identity(id.to_owned())
}

fn prefix(prefix: &str) -> Subject {
    Subject::Prefix(prefix.to_owned())
}

#[test]
fn each_subject_concerns_its_tokens_and_no_others() {
    // Subject, whether it concerns a registry token for acme/web, and an access token, of the same bearer.
    let cases = [
        (token("token-1"), true, true),
        (token("token-2"), false, false),
        (token(""), true, true),
        (credential("session:ses_1"), true, true),
        (credential("session:ses_2"), false, false),
        (credential("pull-token:ses_1"), false, false),
        (credential("identity:idn_2"), true, true),
        (credential("identity:idn_3"), false, false),
        (identity("idn_2"), true, false),
        (identity("idn_3"), false, false),
        (prefix("acme/web"), true, false),
        (prefix("acme"), true, false),
        (prefix(""), true, false),
        (prefix("acme/we"), false, false),
        (prefix("acme/web/x"), false, false),
    ];
    for (subject, concerns_registry, concerns_access) in cases {
        let marks: Watermarks = [mark(subject.clone(), 7)].into_iter().collect();
        assert_eq!(
            registry(6, &["acme/web"]).is_revoked(&marks),
            concerns_registry,
            "{subject:?}"
        );
        assert_eq!(access(6).is_revoked(&marks), concerns_access, "{subject:?}");
        // What was decided on the permissions as they are since is good.
        assert!(!registry(7, &["acme/web"]).is_revoked(&marks), "{subject:?}");
        assert!(!access(7).is_revoked(&marks), "{subject:?}");
    }
}

#[test]
fn a_token_of_two_repositories_is_revoked_for_either() {
    let marks: Watermarks = [mark(prefix("lib"), 7)].into_iter().collect();
    assert!(registry(6, &["acme/web", "lib/base"]).is_revoked(&marks));
    assert!(!registry(6, &["acme/web", "library"]).is_revoked(&marks));
    assert!(!registry(6, &[]).is_revoked(&marks), "it grants nothing");
}

#[test]
fn a_mark_of_no_known_subject_counts_for_every_token() {
    let unknown = Watermark {
        subject: None,
        revision: 7,
    };
    let marks: Watermarks = [unknown].into_iter().collect();
    assert!(access(6).is_revoked(&marks) && !access(7).is_revoked(&marks));
}

#[test]
fn a_mark_only_rises() {
    let marks: Watermarks = [mark(identity("idn_1"), 9), mark(identity("idn_1"), 4)]
        .into_iter()
        .collect();
    assert!(registry(8, &[]).is_revoked(&marks));
    assert_eq!(marks.len(), 1);
}

#[test]
fn a_token_of_the_previous_release_is_revoked_by_any_mark_of_its_repository() {
    let marks: Watermarks = [mark(prefix("acme"), 2)].into_iter().collect();
    assert!(registry(0, &["acme/web"]).is_revoked(&marks));
    assert!(!registry(0, &["acme/web"]).is_revoked(&Watermarks::default()));
}

#[test]
fn coalesced_marks_revoke_more_and_never_less() {
    let mut marks: Watermarks = [mark(identity("idn_9"), 5), mark(token("token-9"), 9)]
        .into_iter()
        .collect();
    marks.coalesce();
    assert_eq!(marks.len(), 0);
    assert!(!marks.is_empty(), "one mark of everything is left");
    assert!(access(8).is_revoked(&marks) && registry(8, &["any"]).is_revoked(&marks));
    assert!(!access(9).is_revoked(&marks));
    // What is below what counts for every token is not held.
    marks.add(mark(identity("idn_1"), 9));
    assert_eq!(marks.len(), 0);
    marks.add(mark(identity("idn_1"), 10));
    assert!(registry(9, &[]).is_revoked(&marks));
}

#[test]
fn more_than_can_be_held_is_coalesced() {
    let revocations = Revocations::default();
    let mut reader = Reader::default();
    let many = |count: usize| {
        let marks = (0..count).map(|index| mark(identity(&format!("idn_x{index}")), 5));
        marks.collect::<Vec<_>>()
    };
    reader.read(&revocations, message(0, 5, many(LIMIT))).unwrap();
    assert_eq!(revocations.revoke(&registry(4, &[])), Some(false));
    let one_more = vec![mark(identity("idn_y"), 6)];
    reader.read(&revocations, message(5, 6, one_more)).unwrap();
    assert_eq!(revocations.known.read().unwrap().len(), 0);
    assert_eq!(revocations.revoke(&registry(5, &[])), Some(true));
    assert_eq!(revocations.revoke(&registry(6, &[])), Some(false));
}

#[test]
fn nothing_is_known_before_a_whole_snapshot() {
    let revocations = Revocations::default();
    let mut reader = Reader::default();
    let first = WatchResponse {
        more: true,
        ..message(0, 5, vec![mark(identity("idn_9"), 5)])
    };
    reader.read(&revocations, first).unwrap();
    assert_eq!(revocations.revoke(&registry(1, &[])), None);
    let last = message(5, 5, vec![mark(identity("idn_1"), 5)]);
    reader.read(&revocations, last).unwrap();
    assert_eq!(revocations.revoke(&registry(4, &[])), Some(true));
}

#[test]
fn a_new_snapshot_replaces_what_was_known_and_only_when_it_is_whole() {
    let revocations = Revocations::default();
    let first = vec![mark(identity("idn_1"), 5)];
    Reader::default()
        .read(&revocations, message(0, 5, first))
        .unwrap();
    let mut reader = Reader::default();
    let begin = WatchResponse {
        more: true,
        ..message(0, 9, Vec::new())
    };
    reader.read(&revocations, begin).unwrap();
    assert_eq!(revocations.revoke(&registry(4, &[])), Some(true));
    reader.read(&revocations, message(9, 9, Vec::new())).unwrap();
    assert_eq!(revocations.revoke(&registry(4, &[])), Some(false));
}

#[test]
fn changes_are_taken_in_order_and_a_gap_is_seen() {
    let revocations = Revocations::default();
    let mut reader = Reader::default();
    reader.read(&revocations, message(0, 5, Vec::new())).unwrap();
    // A change that revokes nothing, and heartbeats.
    reader.read(&revocations, message(5, 6, Vec::new())).unwrap();
    reader.read(&revocations, message(6, 6, Vec::new())).unwrap();
    let change = vec![mark(identity("idn_1"), 7)];
    reader.read(&revocations, message(6, 7, change)).unwrap();
    assert_eq!(revocations.revoke(&registry(6, &[])), Some(true));
    for (previous, revision) in [(8, 9), (6, 8), (9, 9)] {
        let outcome = reader.read(&revocations, message(previous, revision, Vec::new()));
        assert!(matches!(outcome, Err(End::Gap)), "{previous} {revision}");
    }
}

#[test]
fn the_provenance_is_read_from_the_token() {
    let claims = access(3);
    let expected = Provenance {
        token_id: "token-1".to_owned(),
        revision: 3,
        identities: vec!["idn_1".to_owned(), "idn_2".to_owned()],
        credential: Some("session:ses_1".to_owned()),
    };
    assert_eq!(claims.provenance, expected);
}
