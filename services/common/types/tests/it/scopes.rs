//! Scopes, actions and principals.

use proptest::prelude::*;
use roadstead_types::{Action, ActionSet, Principal, RepositoryName, Resource, Scope, ScopeError};
use rstest::rstest;

fn repository(text: &str) -> RepositoryName {
    RepositoryName::parse(text).unwrap()
}

#[rstest]
#[case::docker("repository:acme/web:pull,push", "repository:acme/web:pull,push")]
#[case::other_order("repository:acme/web:push,pull", "repository:acme/web:pull,push")]
#[case::star("repository:acme/web:*", "repository:acme/web:pull,push,delete")]
#[case::class("repository(plugin):acme/web:pull", "repository:acme/web:pull")]
#[case::unknown_action("repository:acme/web:pull,fly", "repository:acme/web:pull")]
#[case::no_action("repository:acme/web:", "repository:acme/web:")]
#[case::catalog("registry:catalog:*", "registry:catalog:*")]
#[case::port("thing:host:5000/name:pull", "thing:host:5000/name:pull")]
fn scopes_are_read_as_clients_write_them(#[case] text: &str, #[case] canonical: &str) {
    assert_eq!(Scope::parse(text).unwrap().to_string(), canonical);
}

#[rstest]
#[case("")]
#[case("repository")]
#[case("repository:acme/web")]
#[case(":acme/web:pull")]
#[case("repository::pull")]
#[case("repository(plugin:acme/web:pull")]
#[case("(plugin):acme/web:pull")]
fn malformed_scopes_are_refused(#[case] text: &str) {
    assert_eq!(Scope::parse(text), Err(ScopeError::Malformed));
}

#[rstest]
#[case("repository:Acme/web:pull")]
#[case("repository:host:5000/web:pull")]
fn scopes_of_impossible_repositories_are_refused(#[case] text: &str) {
    assert!(matches!(Scope::parse(text), Err(ScopeError::Name(_))));
}

#[test]
fn the_catalog_and_strange_types_are_not_repositories() {
    assert_eq!(
        Scope::parse("registry:catalog:*").unwrap().resource,
        Resource::Catalog
    );
    let other = Scope::parse("registry:other:*").unwrap();
    assert_eq!((other.resource_type(), other.name()), ("registry", "other"));
    assert!(!other.allows(&repository("other"), Action::Pull));
}

#[test]
fn overlapping_scopes_merge_in_the_order_of_their_resources() {
    let asked = [
        "repository:b/ctr:pull",
        "repository:b/ctr:pull,push",
        "repository:t/ctr:pull",
        "repository:b/ctr:pull",
    ];
    let merged = Scope::merge(asked.iter().map(|text| Scope::parse(text).unwrap()));
    let texts: Vec<_> = merged.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["repository:b/ctr:pull,push", "repository:t/ctr:pull"]);
}

#[test]
fn actions_serialise_as_names() {
    assert_eq!(
        serde_json::to_string(&ActionSet::ALL).unwrap(),
        r#"["pull","push","delete"]"#
    );
    assert_eq!(
        serde_json::from_str::<ActionSet>(r#"["delete","pull"]"#)
            .unwrap()
            .to_string(),
        "pull,delete"
    );
    assert_eq!(
        serde_json::from_str::<ActionSet>(r#"["*"]"#).unwrap(),
        ActionSet::ALL
    );
    assert!(serde_json::from_str::<ActionSet>(r#"["fly"]"#).is_err());
}

#[test]
fn an_anonymous_principal_has_no_issuer() {
    assert!(Principal::anonymous().is_anonymous());
    assert!(!Principal::new("https://issuer.example", "").is_anonymous());
    assert_eq!(
        Principal::new("https://issuer.example", "me").to_string(),
        "me (https://issuer.example)"
    );
    assert_eq!(Principal::anonymous().to_string(), "anonymous");
}

fn action_set() -> impl Strategy<Value = ActionSet> {
    prop::collection::vec(
        prop::sample::select(vec![Action::Pull, Action::Push, Action::Delete]),
        0..4,
    )
    .prop_map(|actions| actions.into_iter().collect())
}

proptest! {
    #[test]
    fn every_scope_parses_to_itself(name in "[a-z0-9]{1,8}(/[a-z0-9]{1,8}){0,3}", actions in action_set()) {
        let scope = Scope::repository(repository(&name), actions);
        prop_assert_eq!(Scope::parse(&scope.to_string()), Ok(scope));
    }

    #[test]
    fn any_text_is_a_scope_or_an_error(text in ".{0,100}") {
        if let Ok(scope) = Scope::parse(&text) {
            prop_assert_eq!(Scope::parse(&scope.to_string()), Ok(scope));
        }
    }

    #[test]
    fn merging_neither_adds_nor_loses_actions(asked in prop::collection::vec(("[ab]", action_set()), 0..8)) {
        let scopes: Vec<_> = asked.iter().map(|(name, set)| Scope::repository(repository(name), *set)).collect();
        let merged = Scope::merge(scopes.clone());
        for name in ["a", "b"].map(repository) {
            for action in ActionSet::ALL.iter() {
                let before = scopes.iter().any(|scope| scope.allows(&name, action));
                prop_assert_eq!(merged.iter().any(|scope| scope.allows(&name, action)), before);
            }
        }
        prop_assert!(merged.len() <= 2);
    }

    #[test]
    fn sets_obey_the_laws(a in action_set(), b in action_set()) {
        for action in ActionSet::ALL.iter() {
            prop_assert_eq!(a.union(b).contains(action), a.contains(action) || b.contains(action));
            prop_assert_eq!(a.intersection(b).contains(action), a.contains(action) && b.contains(action));
            prop_assert_eq!(a.difference(b).contains(action), a.contains(action) && !b.contains(action));
        }
        prop_assert_eq!(a.contains_all(b), a.union(b) == a);
        prop_assert_eq!(ActionSet::parse(&a.to_string()), a);
        prop_assert_eq!(a.is_empty(), a.iter().next().is_none());
    }
}
