use proptest::prelude::*;
use roadstead_types::Resource as ScopeResource;
use rstest::rstest;

use super::*;

fn texts(scopes: &[Scope]) -> Vec<String> {
    scopes.iter().map(ToString::to_string).collect()
}

/// Divides scopes by a rule, as `access::decide` does.
fn divided(asked: &[Scope], allowed: impl Fn(&str, Action) -> Result<(), String>) -> Decided {
    let mut decided = Decided::default();
    for scope in asked {
        if let ScopeResource::Repository(name) = &scope.resource {
            divide_by(scope.clone(), &mut decided, |action| {
                allowed(name.as_str(), action)
            });
        }
    }
    decided
}

#[rstest]
#[case::order_of_actions(&["repository:acme/web:push,pull"], &["repository:acme/web:pull,push"])]
#[case::star(&["repository:acme/web:*"], &["repository:acme/web:pull,push,delete"])]
#[case::duplicates(
    &["repository:acme/web:pull", "repository:acme/web:pull,push", "repository:acme/web:pull"],
    &["repository:acme/web:pull,push"]
)]
#[case::one_text(
    &["repository:acme/web:pull repository:acme/api:push"],
    &["repository:acme/web:pull", "repository:acme/api:push"]
)]
#[case::class(&["repository(plugin):acme/web:pull"], &["repository:acme/web:pull"])]
#[case::catalog(&["registry:catalog:*"], &["registry:catalog:*"])]
#[case::unknown_type(&["flux:acme:pull"], &["flux:acme:pull"])]
#[case::unknown_action(&["repository:acme/web:pull,frobnicate"], &["repository:acme/web:pull"])]
#[case::impossible_repository(&["repository:ACME/web:pull"], &[])]
#[case::nothing(&[], &[])]
#[case::blank(&["", " "], &[])]
fn scopes_are_read_as_clients_send_them(#[case] asked: &[&str], #[case] expected: &[&str]) {
    assert_eq!(texts(&parse_scopes(asked).unwrap()), expected);
}

#[test]
fn what_is_refused_for_one_reason_is_said_once() {
    let asked = parse_scopes(&["repository:acme/web:*"]).unwrap();
    let decided = divided(&asked, |_, action| match action {
        Action::Pull => Ok(()),
        _ => Err("no".to_owned()),
    });
    assert_eq!(texts(&decided.granted), ["repository:acme/web:pull"]);
    let [denied] = decided.denied.as_slice() else {
        panic!("{:?}", decided.denied);
    };
    assert_eq!(denied.scope.to_string(), "repository:acme/web:push,delete");
    let decided = divided(&asked, |_, action| Err(action.to_string()));
    assert!(decided.granted.is_empty());
    assert_eq!(decided.denied.len(), 3);
    for denied in &decided.denied {
        assert_eq!(
            denied.scope.actions,
            ActionSet::from(denied.why.parse::<Action>().unwrap())
        );
    }
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
        pull in any::<bool>(),
        push in any::<bool>(),
    ) {
        let asked: Vec<String> = asked.iter().map(|(name, actions)| format!("repository:{name}:{actions}")).collect();
        let mut scopes = parse_scopes(&asked).unwrap();
        let allowed = |name: &str, action| {
            let allowed = match action {
                Action::Pull => pull,
                Action::Push => push && name.starts_with("acme/"),
                Action::Delete => false,
            };
            if allowed { Ok(()) } else { Err(format!("no {name}")) }
        };
        let decided = divided(&scopes, allowed);
        for scope in &decided.granted {
            let ScopeResource::Repository(name) = &scope.resource else { continue };
            prop_assert!(scope.actions.iter().all(|action| allowed(name.as_str(), action).is_ok()));
        }
        let denied = decided.denied.into_iter().map(|denied| denied.scope);
        let mut reunited = Scope::merge(decided.granted.into_iter().chain(denied));
        reunited.sort();
        scopes.sort();
        prop_assert_eq!(reunited, scopes);
    }

    #[test]
    fn no_text_makes_parsing_panic(text in ".{0,60}") {
        let _ = parse_scopes(&[text]);
    }
}
