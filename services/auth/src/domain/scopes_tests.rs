use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::config::GrantConfig;
use roadstead_types::RepositoryPrefix;

const ISSUER: &str = "https://issuer.example";

fn grants(rules: &[(&str, &str)]) -> Grants {
    let configured: Vec<GrantConfig> = rules
        .iter()
        .map(|(prefix, actions)| GrantConfig {
            issuer: ISSUER.to_owned(),
            subject: Some("ci".to_owned()),
            subject_pattern: None,
            claims: std::collections::BTreeMap::new(),
            prefix: RepositoryPrefix::parse(prefix).unwrap(),
            actions: ActionSet::parse(actions),
        })
        .collect();
    Grants::new(&configured).unwrap()
}

fn ci() -> Act {
    Act {
        issuer: ISSUER.to_owned(),
        subject: "ci".to_owned(),
        claims: std::collections::BTreeMap::new(),
    }
}

fn texts(scopes: &[Scope]) -> Vec<String> {
    scopes.iter().map(ToString::to_string).collect()
}

#[rstest]
#[case::within_the_grant(&["repository:acme/web:pull"], &["repository:acme/web:pull"], &[])]
#[case::part_of_it(&["repository:acme/web:pull,delete"], &["repository:acme/web:pull"], &["repository:acme/web:delete"])]
#[case::order_of_actions(&["repository:acme/web:push,pull"], &["repository:acme/web:pull,push"], &[])]
#[case::star(&["repository:acme/web:*"], &["repository:acme/web:pull,push"], &["repository:acme/web:delete"])]
#[case::none_of_it(&["repository:other/web:pull"], &[], &["repository:other/web:pull"])]
#[case::duplicates(
    &["repository:acme/web:pull", "repository:acme/web:pull,push", "repository:acme/web:pull"],
    &["repository:acme/web:pull,push"],
    &[]
)]
#[case::one_text(
    &["repository:acme/web:pull repository:acme/api:push"],
    &["repository:acme/web:pull", "repository:acme/api:push"],
    &[]
)]
#[case::class(&["repository(plugin):acme/web:pull"], &["repository:acme/web:pull"], &[])]
#[case::whole_segments(&["repository:acme/web:pull", "repository:acmeweb:pull"], &["repository:acme/web:pull"], &["repository:acmeweb:pull"])]
#[case::catalog(&["registry:catalog:*"], &["registry:catalog:*"], &[])]
#[case::unknown_type(&["flux:acme:capacitor"], &[], &[])]
#[case::unknown_action(&["repository:acme/web:pull,frobnicate"], &["repository:acme/web:pull"], &[])]
#[case::impossible_repository(&["repository:ACME/web:pull"], &[], &[])]
#[case::nothing(&[], &[], &[])]
#[case::blank(&["", " "], &[], &[])]
fn scopes_are_divided_by_grants(#[case] asked: &[&str], #[case] granted: &[&str], #[case] denied: &[&str]) {
    let grants = grants(&[("acme", "pull,push")]);
    let decision = decide(parse_scopes(asked).unwrap(), &grants, Some(&ci()));
    assert_eq!(texts(&decision.granted), granted);
    assert_eq!(texts(&decision.denied), denied);
}

#[test]
fn nobody_is_granted_the_catalog_alone() {
    let asked = parse_scopes(&["repository:acme/web:pull", "registry:catalog:*"]).unwrap();
    let decision = decide(asked, &grants(&[("", "*")]), None);
    assert_eq!(texts(&decision.granted), ["registry:catalog:*"]);
    assert!(decision.denied.is_empty());
}

#[rstest]
#[case::no_colon("repository")]
#[case::one_colon("repository:acme")]
#[case::no_type(":acme/web:pull")]
#[case::no_name("repository::pull")]
#[case::open_class("repository(plugin:acme/web:pull")]
fn garbage_is_refused(#[case] text: &str) {
    assert!(matches!(parse_scopes(&[text]), Err(Error::ScopeInvalid(_))));
}

#[test]
fn too_many_scopes_are_refused() {
    let scopes = |count: usize| {
        (0..count)
            .map(|n| format!("repository:acme/r{n}:pull"))
            .collect::<Vec<_>>()
    };
    assert_eq!(parse_scopes(&scopes(SCOPES_LIMIT)).unwrap().len(), SCOPES_LIMIT);
    assert!(parse_scopes(&scopes(SCOPES_LIMIT + 1)).is_err());
}

proptest! {
    #[test]
    fn granted_and_denied_divide_what_was_asked(
        asked in proptest::collection::vec(("(acme|acme/web|other|acmeweb)", "(pull|push|delete|pull,push|\\*)"), 0..8),
        rules in proptest::collection::vec(("(acme|other/x|)", "(pull|push|delete|\\*)"), 0..4),
    ) {
        let asked: Vec<String> = asked.iter().map(|(name, actions)| format!("repository:{name}:{actions}")).collect();
        let rules: Vec<(&str, &str)> = rules.iter().map(|(prefix, actions)| (prefix.as_str(), actions.as_str())).collect();
        let grants = grants(&rules);
        let scopes = parse_scopes(&asked).unwrap();
        let decision = decide(scopes.clone(), &grants, Some(&ci()));
        let both = decision.granted.iter().chain(&decision.denied).cloned();
        let mut reunited = Scope::merge(both);
        let mut scopes = scopes;
        reunited.sort();
        scopes.sort();
        prop_assert_eq!(reunited, scopes);
        for scope in &decision.granted {
            let Resource::Repository(name) = &scope.resource else { continue };
            prop_assert!(grants.actions(&ci(), name).contains_all(scope.actions));
        }
    }

    #[test]
    fn no_text_makes_parsing_panic(text in ".{0,60}") {
        let _ = parse_scopes(&[text]);
    }
}
