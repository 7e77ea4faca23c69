use std::collections::HashMap;

use roadstead_testkit::SigningKey;
use rstest::rstest;
use serde_json::json;
use url::Url;

use super::*;
use crate::domain::IssuerFacts;

const ISSUER: &str = "https://issuer.example";
const NOW: i64 = 1_800_000_000;

fn rules() -> Rules {
    let facts = IssuerFacts {
        audience: "roadstead".to_owned(),
        login_client: None,
        workload: true,
    };
    Rules {
        issuers: HashMap::from([(ISSUER.to_owned(), facts)]),
        ..Rules::default()
    }
}

fn public() -> PublicAddress {
    PublicAddress {
        url: Url::parse("https://registry.example").unwrap(),
        service: "registry.example".to_owned(),
        explicit: true,
        listen: "192.0.2.1:443".parse().unwrap(),
    }
}

fn given() -> proto::ClaimMatch {
    proto::ClaimMatch {
        issuer: ISSUER.to_owned(),
        subject: "ci".to_owned(),
        ..proto::ClaimMatch::default()
    }
}

fn is_valid(change: impl FnOnce(&mut proto::ClaimMatch)) -> bool {
    let mut rule = given();
    change(&mut rule);
    match claim_match(&rule, &rules()) {
        Ok(_) => true,
        Err(Error::IdentityInvalid(_)) => false,
        Err(error) => panic!("{error}"),
    }
}

fn pattern_of_subject(rule: &mut proto::ClaimMatch, pattern: &str) {
    rule.subject.clear();
    rule.subject_pattern = pattern.to_owned();
}

#[test]
fn each_text_is_exact_or_a_pattern() {
    assert!(is_valid(|_| {}));
    assert!(is_valid(|rule| pattern_of_subject(rule, "ci-[a-z]+")));
    assert!(!is_valid(|rule| rule.subject_pattern = "ci".to_owned()));
    assert!(!is_valid(|rule| rule.subject.clear()));
    assert!(!is_valid(|rule| rule.issuer.clear()));
    assert!(!is_valid(|rule| rule.issuer_pattern = "https://.*".to_owned()));
    assert!(!is_valid(|rule| pattern_of_subject(rule, "(ci")));
    assert!(!is_valid(|rule| rule.subject = "a\nb".to_owned()));
    assert!(!is_valid(|rule| rule.subject = "x".repeat(1025)));
}

#[test]
fn only_issuers_of_the_configuration_are_meant() {
    assert!(!is_valid(|rule| rule.issuer = "https://other.example".to_owned()));
    assert!(!is_valid(|rule| rule.issuer = format!("{ISSUER}/")));
    let by_pattern = |pattern: &str| {
        is_valid(|rule| {
            rule.issuer.clear();
            rule.issuer_pattern = pattern.to_owned();
        })
    };
    assert!(by_pattern("https://iss.*"));
    assert!(!by_pattern("https://other.*"));
    assert!(!by_pattern("issuer"));
}

#[test]
fn a_rule_that_could_be_anybody_is_refused() {
    for anybody in [".*", ".+", r"(?s:.)*", "|.*"] {
        assert!(!is_valid(|rule| pattern_of_subject(rule, anybody)), "{anybody}");
        let with = |claim_patterns: &[(&str, &str)]| {
            is_valid(|rule| {
                pattern_of_subject(rule, anybody);
                for (claim, pattern) in claim_patterns {
                    rule.claim_patterns
                        .insert((*claim).to_owned(), (*pattern).to_owned());
                }
            })
        };
        assert!(with(&[("repository_owner", "acme")]));
        assert!(!with(&[("repository_owner", ".*")]));
        assert!(with(&[("repository_owner", ".*"), ("ref", "main")]));
    }
    assert!(is_valid(|rule| {
        pattern_of_subject(rule, ".*");
        rule.claims.insert("repository".to_owned(), "acme/web".to_owned());
    }));
}

#[test]
fn an_audience_that_could_be_any_is_refused() {
    assert!(is_valid(|rule| rule.audience = "https://registry".to_owned()));
    assert!(is_valid(|rule| rule.audience_pattern = "registry-.*".to_owned()));
    assert!(!is_valid(|rule| rule.audience_pattern = ".*".to_owned()));
}

#[rstest]
#[case::subject("sub")]
#[case::issuer("iss")]
#[case::not_kept("jti")]
#[case::unnamed("")]
fn some_claims_cannot_be_asked_for(#[case] claim: &str) {
    assert!(!is_valid(|rule| {
        rule.claims.insert(claim.to_owned(), "x".to_owned());
    }));
    let condition = proto::Condition {
        claim: claim.to_owned(),
        value: "x".to_owned(),
        pattern: String::new(),
    };
    assert!(matches!(conditions(&[condition]), Err(Error::ArgumentInvalid(_))));
}

#[test]
fn a_claim_is_asked_for_once_and_not_too_long() {
    assert!(!is_valid(|rule| {
        rule.claims.insert("ref".to_owned(), "x".to_owned());
        rule.claim_patterns.insert("ref".to_owned(), "x".to_owned());
    }));
    assert!(!is_valid(|rule| {
        rule.claims.insert("ref".to_owned(), "x".repeat(257));
    }));
    assert!(!is_valid(|rule| {
        for index in 0..17 {
            rule.claims.insert(format!("c{index}"), "x".to_owned());
        }
    }));
}

#[test]
fn conditions_are_put_in_order_and_have_one_text() {
    let condition = |claim: &str, value: &str, pattern: &str| proto::Condition {
        claim: claim.to_owned(),
        value: value.to_owned(),
        pattern: pattern.to_owned(),
    };
    let one = condition("ref", "main", "");
    let other = condition("environment", "", "prod.*");
    let parsed = |given: &[proto::Condition]| conditions(given).unwrap();
    assert_eq!(
        parsed(&[one.clone(), other.clone(), one.clone()]),
        parsed(&[other, one])
    );
    for wrong in [
        condition("ref", "", ""),
        condition("ref", "a", "b"),
        condition("ref", "", "(a"),
    ] {
        assert!(conditions(&[wrong]).is_err());
    }
}

fn keys() -> proto::StaticKeys {
    proto::StaticKeys {
        issuer: "https://keys.example".to_owned(),
        subject: "robot".to_owned(),
        audience: String::new(),
        jwks_json: json!({ "keys": [SigningKey::es256("a").jwk()] }).to_string(),
        expires_at: NOW + 3600,
    }
}

fn keys_are_valid(change: impl FnOnce(&mut proto::StaticKeys)) -> bool {
    let mut given = keys();
    change(&mut given);
    match static_keys(&given, &rules(), &public(), NOW) {
        Ok(_) => true,
        Err(Error::IdentityInvalid(_)) => false,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn registered_keys_are_public_and_end_within_a_year() {
    assert!(keys_are_valid(|_| {}));
    assert!(keys_are_valid(|given| given.expires_at = NOW + 365 * 86400));
    assert!(!keys_are_valid(|given| given.expires_at = NOW + 365 * 86400 + 1));
    assert!(!keys_are_valid(|given| given.expires_at = NOW));
    assert!(!keys_are_valid(|given| given.expires_at = 0));
    assert!(!keys_are_valid(|given| given.jwks_json = "{}".to_owned()));
    let private = |name: &str| {
        let mut key = SigningKey::es256("a").jwk();
        key[name] = json!("AAAA");
        json!({ "keys": [key] }).to_string()
    };
    assert!(!keys_are_valid(|given| given.jwks_json = private("d")));
    let symmetric = json!({ "keys": [{"kty": "oct", "k": "AAAA"}] }).to_string();
    assert!(!keys_are_valid(|given| given.jwks_json = symmetric));
}

#[test]
fn registered_keys_speak_for_nobody_else() {
    assert!(!keys_are_valid(|given| given.issuer = ISSUER.to_owned()));
    for own in [
        "https://registry.example",
        "https://registry.example./token",
        "https://registry.example:443",
    ] {
        assert!(!keys_are_valid(|given| given.issuer = own.to_owned()), "{own}");
    }
    assert!(!keys_are_valid(|given| given.issuer.clear()));
}

#[test]
fn people_are_of_configured_issuers_and_have_no_address_of_the_callers_choice() {
    let person = |issuer: &str| proto::Human {
        issuer: issuer.to_owned(),
        subject: "alice".to_owned(),
        email: "boss@acme.example".to_owned(),
    };
    assert_eq!(human(&person(ISSUER), &rules()).unwrap().email, "");
    assert!(human(&person("https://other.example"), &rules()).is_err());
}
