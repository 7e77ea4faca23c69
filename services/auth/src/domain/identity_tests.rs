use std::collections::HashMap;

use rstest::rstest;
use serde_json::{Value, json};

use super::*;

const GITHUB: &str = "https://token.actions.githubusercontent.com";
const OTHER: &str = "https://gitlab.example";
const KEYS: &str = "https://keys.example";
const SUBJECT: &str = "repo:acme/images:ref:refs/heads/main";

fn rules() -> Rules {
    let facts = |audience: &str, login: Option<&str>, workload| IssuerFacts {
        audience: audience.to_owned(),
        login_client: login.map(str::to_owned),
        workload,
    };
    Rules {
        issuers: HashMap::from([
            (GITHUB.to_owned(), facts("roadstead", None, true)),
            (OTHER.to_owned(), facts("roadstead", Some("cli"), false)),
        ]),
        service: "registry.example".to_owned(),
        ..Rules::default()
    }
}

fn exact(text: &str) -> Text {
    Text::Exact(text.to_owned())
}

fn pattern(text: &str) -> Text {
    Text::Pattern(text.to_owned())
}

fn identity(rule: Rule) -> Identity {
    Identity {
        id: "idn_1".to_owned(),
        group: "acme".parse().unwrap(),
        name: Some("ci".to_owned()),
        description: String::new(),
        rule,
        created_at: 0,
        created_by: String::new(),
        expires_at: None,
        last_used_at: None,
    }
}

fn workload() -> ClaimMatch {
    ClaimMatch {
        issuer: exact(GITHUB),
        subject: exact(SUBJECT),
        audience: None,
        claims: BTreeMap::new(),
    }
}

fn claims(value: Value) -> Claims {
    serde_json::from_value(value).unwrap()
}

fn check(rule: Rule, issuer: &str, subject: &str, of: Value) -> Result<(), Mismatch> {
    let of = claims(of);
    let upstream = Upstream {
        issuer,
        subject,
        claims: &of,
    };
    identity(rule).check(&upstream, &rules(), 0)
}

#[rstest]
#[case::match_(GITHUB, SUBJECT, json!({"aud": "roadstead"}), Ok(()))]
#[case::audience_in_a_list(GITHUB, SUBJECT, json!({"aud": ["roadstead"]}), Ok(()))]
#[case::other_branch(GITHUB, "repo:acme/images:ref:refs/heads/dev", json!({"aud": "roadstead"}), Err(Mismatch::Subject))]
#[case::longer_subject(GITHUB, "repo:acme/images:ref:refs/heads/main2", json!({"aud": "roadstead"}), Err(Mismatch::Subject))]
#[case::same_subject_elsewhere(OTHER, SUBJECT, json!({"aud": "roadstead"}), Err(Mismatch::Issuer))]
#[case::unknown_issuer("https://token.actions.githubusercontent.com.", SUBJECT, json!({"aud": "roadstead"}), Err(Mismatch::IssuerUnknown))]
#[case::for_another(GITHUB, SUBJECT, json!({"aud": "sts.amazonaws.com"}), Err(Mismatch::Audience))]
#[case::for_others_too(GITHUB, SUBJECT, json!({"aud": ["roadstead", "other"]}), Err(Mismatch::Audience))]
#[case::for_nobody(GITHUB, SUBJECT, json!({}), Err(Mismatch::Audience))]
fn exact_texts_match_themselves_alone(
    #[case] issuer: &str,
    #[case] subject: &str,
    #[case] of: Value,
    #[case] expected: Result<(), Mismatch>,
) {
    assert_eq!(check(Rule::ClaimMatch(workload()), issuer, subject, of), expected);
}

#[test]
fn patterns_match_whole_texts_of_configured_issuers() {
    let rule = Rule::ClaimMatch(ClaimMatch {
        issuer: pattern("https://.*"),
        subject: pattern("repo:acme/.*:ref:refs/heads/main"),
        audience: Some(pattern("road.*")),
        claims: BTreeMap::new(),
    });
    let aud = json!({"aud": "roadstead"});
    assert_eq!(check(rule.clone(), GITHUB, SUBJECT, aud.clone()), Ok(()));
    assert_eq!(check(rule.clone(), OTHER, SUBJECT, aud.clone()), Ok(()));
    assert_eq!(
        check(rule.clone(), "https://evil.example", SUBJECT, aud.clone()),
        Err(Mismatch::IssuerUnknown)
    );
    let other = "repo:acme/images:ref:refs/heads/main:evil";
    assert_eq!(check(rule, GITHUB, other, aud), Err(Mismatch::Subject));
}

#[test]
fn further_claims_must_all_be_there() {
    let mut rule = workload();
    rule.claims.insert("ref".to_owned(), exact("refs/heads/main"));
    rule.claims.insert("environment".to_owned(), pattern("prod-.*"));
    let of = |environment: Value| json!({"aud": "roadstead", "ref": "refs/heads/main", "environment": environment});
    let rule = || Rule::ClaimMatch(rule.clone());
    assert_eq!(check(rule(), GITHUB, SUBJECT, of(json!("prod-eu"))), Ok(()));
    assert_eq!(
        check(rule(), GITHUB, SUBJECT, of(json!(["test", "prod-eu"]))),
        Ok(())
    );
    for wrong in [
        json!("staging"),
        json!(null),
        json!(["staging"]),
        json!({"a": "prod-eu"}),
    ] {
        let found = check(rule(), GITHUB, SUBJECT, of(wrong.clone()));
        assert!(
            matches!(&found, Err(Mismatch::Claim(condition)) if condition.claim == "environment"),
            "{wrong}: {found:?}"
        );
    }
}

#[test]
fn an_audience_of_its_own_replaces_the_configured_one() {
    let mut rule = workload();
    rule.audience = Some(exact("https://registry.example"));
    let rule = || Rule::ClaimMatch(rule.clone());
    let aud = |aud: &str| json!({ "aud": aud });
    assert_eq!(
        check(rule(), GITHUB, SUBJECT, aud("https://registry.example")),
        Ok(())
    );
    assert_eq!(
        check(rule(), GITHUB, SUBJECT, aud("roadstead")),
        Err(Mismatch::Audience)
    );
}

#[test]
fn people_come_by_login_or_with_the_configured_audience() {
    let human = || {
        Rule::Human(Human {
            issuer: OTHER.to_owned(),
            subject: "alice".to_owned(),
            email: String::new(),
        })
    };
    let aud = |aud: &str| json!({ "aud": aud });
    assert_eq!(check(human(), OTHER, "alice", aud("cli")), Ok(()));
    assert_eq!(check(human(), OTHER, "alice", aud("roadstead")), Ok(()));
    assert_eq!(
        check(human(), OTHER, "alice", aud("other")),
        Err(Mismatch::Audience)
    );
    assert_eq!(check(human(), OTHER, "Alice", aud("cli")), Err(Mismatch::Subject));
    assert_eq!(
        check(human(), GITHUB, "alice", aud("roadstead")),
        Err(Mismatch::Issuer)
    );
    // A rule for workloads does not mean people's tokens.
    let mut rule = workload();
    rule.issuer = exact(OTHER);
    let found = check(Rule::ClaimMatch(rule), OTHER, SUBJECT, aud("cli"));
    assert_eq!(found, Err(Mismatch::Audience));
}

#[test]
fn registered_keys_do_not_speak_for_a_configured_issuer_nor_beyond_their_end() {
    let keys = |issuer: &str| {
        Rule::Static(StaticKeys {
            issuer: issuer.to_owned(),
            subject: "robot".to_owned(),
            audience: None,
            jwks: String::new(),
        })
    };
    let aud = json!({"aud": "registry.example"});
    assert_eq!(check(keys(KEYS), KEYS, "robot", aud.clone()), Ok(()));
    assert_eq!(
        check(keys(GITHUB), GITHUB, "robot", aud.clone()),
        Err(Mismatch::Issuer)
    );
    assert_eq!(
        check(keys(KEYS), KEYS, "robot", json!({"aud": "roadstead"})),
        Err(Mismatch::Audience)
    );
    let mut ended = identity(keys(KEYS));
    ended.expires_at = Some(1000);
    let of = claims(aud);
    let upstream = Upstream {
        issuer: KEYS,
        subject: "robot",
        claims: &of,
    };
    assert_eq!(ended.check(&upstream, &rules(), 999), Ok(()));
    assert_eq!(ended.check(&upstream, &rules(), 1000), Err(Mismatch::Expired));
}

#[test]
fn nothing_upstream_is_everybody_or_a_service() {
    for rule in [
        Rule::Anonymous,
        Rule::Service {
            peer: "events".to_owned(),
        },
    ] {
        let found = check(rule, GITHUB, SUBJECT, json!({"aud": "roadstead"}));
        assert_eq!(found, Err(Mismatch::Kind));
    }
}

#[test]
fn a_workload_is_exact_in_everything_and_of_a_marked_issuer() {
    let is = |change: fn(&mut ClaimMatch)| {
        let mut rule = workload();
        change(&mut rule);
        identity(Rule::ClaimMatch(rule))
            .is_exact_workload(&rules())
            .is_ok()
    };
    assert!(is(|_| {}));
    assert!(is(|rule| rule.audience = Some(exact("registry"))));
    assert!(is(|rule| {
        rule.claims.insert("ref".to_owned(), pattern("refs/tags/.*"));
    }));
    assert!(!is(|rule| rule.issuer = pattern("https://token.*")));
    assert!(!is(|rule| rule.subject = pattern("repo:acme/images:.*")));
    assert!(!is(|rule| rule.audience = Some(pattern("road.*"))));
    assert!(!is(|rule| rule.issuer = exact(OTHER)));
    assert!(!is(|rule| rule.issuer = exact(KEYS)));
    let human = Rule::Human(Human {
        issuer: GITHUB.to_owned(),
        subject: SUBJECT.to_owned(),
        email: String::new(),
    });
    assert!(identity(human).is_exact_workload(&rules()).is_err());
}

#[test]
fn the_id_of_a_person_follows_from_who_they_are() {
    let id = human_id("https://issuer.example", "alice");
    assert_eq!(id, human_id("https://issuer.example", "alice"));
    assert_eq!(id.len(), "idn_".len() + 32);
    assert_ne!(id, human_id("https://issuer.example", "bob"));
    // Where the one ends and the other begins is part of it.
    assert_ne!(human_id("https://a", "b"), human_id("https://ab", ""));
}

#[test]
fn a_bearer_learns_what_differs_and_not_what_is_asked_for() {
    let mut rule = workload();
    rule.claims
        .insert("environment".to_owned(), exact("secret-production"));
    let rule = Rule::ClaimMatch(rule);
    let of = claims(json!({"aud": "roadstead", "environment": "staging"}));
    let upstream = Upstream {
        issuer: GITHUB,
        subject: SUBJECT,
        claims: &of,
    };
    let mismatch = identity(rule.clone()).check(&upstream, &rules(), 0).unwrap_err();
    let told = mismatch.describe(&upstream);
    assert!(told.contains("environment") && told.contains("staging"), "{told}");
    assert!(!told.contains("secret-production"), "{told}");
    assert!(
        mismatch
            .describe_with(&rule, &upstream)
            .contains("secret-production")
    );
}

#[test]
fn rules_survive_the_database() {
    let mut full = workload();
    full.audience = Some(pattern("r.*"));
    full.claims.insert("ref".to_owned(), exact("x"));
    for rule in [
        Rule::Anonymous,
        Rule::PullToken,
        Rule::ClaimMatch(workload()),
        Rule::ClaimMatch(full),
        Rule::Service {
            peer: "events".to_owned(),
        },
    ] {
        let json = serde_json::to_string(&rule).unwrap();
        assert_eq!(serde_json::from_str::<Rule>(&json).unwrap(), rule);
        assert!(json.contains(&format!(r#""kind":"{}""#, rule.kind())), "{json}");
    }
}
