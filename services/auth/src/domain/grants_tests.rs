use rstest::rstest;
use serde_json::json;

use super::*;

const ISSUER: &str = "https://issuer.example";

fn grant(subject: Option<&str>, pattern: Option<&str>, prefix: &str, actions: &str) -> GrantConfig {
    GrantConfig {
        issuer: ISSUER.to_owned(),
        subject: subject.map(str::to_owned),
        subject_pattern: pattern.map(str::to_owned),
        claims: BTreeMap::new(),
        prefix: RepositoryPrefix::parse(prefix).unwrap(),
        actions: ActionSet::parse(actions),
    }
}

fn with_claim(mut grant: GrantConfig, name: &str, text: &str) -> GrantConfig {
    grant.claims.insert(name.to_owned(), text.to_owned());
    grant
}

fn act(issuer: &str, subject: &str, claims: &Value) -> Act {
    let claims = claims.as_object().unwrap().clone().into_iter().collect();
    Act {
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
        claims,
    }
}

fn allowed(grants: &Grants, act: &Act, repository: &str) -> String {
    grants
        .actions(act, &RepositoryName::parse(repository).unwrap())
        .to_string()
}

#[rstest]
#[case::itself("acme/web", "pull")]
#[case::below("acme/web/frontend", "pull")]
#[case::sibling_with_the_same_start("acme/website", "")]
#[case::above("acme", "")]
fn a_prefix_is_of_whole_segments(#[case] repository: &str, #[case] expected: &str) {
    let grants = Grants::new(&[grant(Some("ci"), None, "acme/web", "pull")]).unwrap();
    assert_eq!(
        allowed(&grants, &act(ISSUER, "ci", &json!({})), repository),
        expected
    );
}

#[rstest]
#[case::the_subject(ISSUER, "ci", "pull,push")]
#[case::longer_subject(ISSUER, "ci2", "")]
#[case::another_issuer("https://issuer.example/", "ci", "")]
fn a_grant_is_for_one_subject_of_one_issuer(
    #[case] issuer: &str,
    #[case] subject: &str,
    #[case] expected: &str,
) {
    let grants = Grants::new(&[grant(Some("ci"), None, "", "pull,push")]).unwrap();
    assert_eq!(
        allowed(&grants, &act(issuer, subject, &json!({})), "acme/web"),
        expected
    );
}

#[test]
fn grants_add_up() {
    let grants = Grants::new(&[
        grant(Some("ci"), None, "", "pull"),
        grant(None, Some("c."), "acme", "push"),
        grant(Some("other"), None, "", "delete"),
    ])
    .unwrap();
    let ci = act(ISSUER, "ci", &json!({}));
    assert_eq!(allowed(&grants, &ci, "acme/web"), "pull,push");
    assert_eq!(allowed(&grants, &ci, "other/web"), "pull");
}

#[rstest]
#[case::the_text(json!({ "owner": "acme" }), true)]
#[case::other_text(json!({ "owner": "acme2" }), false)]
#[case::case_matters(json!({ "owner": "Acme" }), false)]
#[case::absent(json!({}), false)]
#[case::null(json!({ "owner": null }), false)]
#[case::list_with_it(json!({ "owner": ["x", "acme"] }), true)]
#[case::list_without_it(json!({ "owner": ["x"] }), false)]
#[case::nested_list(json!({ "owner": [["acme"]] }), false)]
#[case::object(json!({ "owner": { "acme": true } }), false)]
fn claims_are_compared_exactly(#[case] claims: Value, #[case] expected: bool) {
    let grants = Grants::new(&[with_claim(grant(None, None, "", "pull"), "owner", "acme")]).unwrap();
    let actions = allowed(&grants, &act(ISSUER, "anyone", &claims), "a/b");
    assert_eq!(actions == "pull", expected);
}

#[test]
fn all_claims_of_a_grant_must_hold() {
    let both = with_claim(
        with_claim(grant(None, None, "", "pull"), "owner", "acme"),
        "protected",
        "true",
    );
    let grants = Grants::new(&[both]).unwrap();
    let holds = |claims| allowed(&grants, &act(ISSUER, "anyone", &claims), "a/b") == "pull";
    assert!(holds(json!({ "owner": "acme", "protected": true })));
    assert!(!holds(json!({ "owner": "acme", "protected": false })));
    assert!(!holds(json!({ "owner": "acme" })));
}

#[test]
fn a_token_carries_only_claims_that_grants_look_at() {
    let grants = Grants::new(&[
        with_claim(grant(None, None, "", "pull"), "owner", "acme"),
        with_claim(grant(None, None, "", "push"), "groups", "writers"),
    ])
    .unwrap();
    let claims = json!({
        "owner": "other",
        "groups": ["readers", "writers", "x"],
        "email": "someone@example.com",
    });
    let relevant = grants.relevant_claims(ISSUER, claims.as_object().unwrap());
    assert_eq!(
        serde_json::to_value(&relevant).unwrap(),
        json!({ "owner": "other", "groups": ["writers"] })
    );
    let long = json!({ "owner": "x".repeat(CLAIM_LIMIT + 1), "groups": ["readers"] });
    assert!(
        grants
            .relevant_claims(ISSUER, long.as_object().unwrap())
            .is_empty()
    );
    assert!(
        grants
            .relevant_claims("https://other.example", claims.as_object().unwrap())
            .is_empty()
    );
}

#[test]
fn readable_prefixes_are_the_widest_ones_with_pull() {
    let grants = Grants::new(&[
        grant(Some("ci"), None, "acme/web", "pull"),
        grant(Some("ci"), None, "acme", "pull"),
        grant(Some("ci"), None, "acme-labs", "pull"),
        grant(Some("ci"), None, "tools", "push"),
    ])
    .unwrap();
    let readable = |subject| {
        let prefixes = grants.readable(&act(ISSUER, subject, &json!({})));
        prefixes.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(readable("ci"), ["acme", "acme-labs"]);
    assert!(readable("other").is_empty());
    let everything = Grants::new(&[
        grant(Some("ci"), None, "acme", "pull"),
        grant(Some("ci"), None, "", "pull"),
    ]);
    assert_eq!(
        everything.unwrap().readable(&act(ISSUER, "ci", &json!({}))),
        [RepositoryPrefix::EVERYTHING]
    );
}
