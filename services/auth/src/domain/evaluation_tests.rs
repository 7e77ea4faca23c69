use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::domain::{ClaimMatch, Human, IssuerFacts, Rule, Text, explain, why};

const GITHUB: &str = "https://ci.example";
const PEOPLE: &str = "https://people.example";

fn rules() -> Rules {
    let facts = |workload| IssuerFacts {
        audience: "roadstead".to_owned(),
        login_client: None,
        workload,
    };
    Rules {
        issuers: HashMap::from([
            (GITHUB.to_owned(), facts(true)),
            (PEOPLE.to_owned(), facts(false)),
        ]),
        ..Rules::default()
    }
}

fn identity(id: &str, rule: Rule) -> Identity {
    Identity {
        id: id.to_owned(),
        group: "acme".parse().unwrap(),
        name: Some(id.to_owned()),
        description: String::new(),
        rule,
        created_at: 0,
        created_by: String::new(),
        expires_at: None,
        last_used_at: None,
    }
}

/// The identity of a workload, exact or by a pattern.
fn workload(subject: Text) -> Identity {
    identity(
        "ci",
        Rule::ClaimMatch(ClaimMatch {
            issuer: Text::Exact(GITHUB.to_owned()),
            subject,
            audience: None,
            claims: BTreeMap::new(),
        }),
    )
}

fn exact() -> Identity {
    workload(Text::Exact("main".to_owned()))
}

fn person() -> Identity {
    identity(
        "alice",
        Rule::Human(Human {
            issuer: PEOPLE.to_owned(),
            subject: "alice".to_owned(),
            email: String::new(),
        }),
    )
}

fn bound(role: &str, resource: &str) -> Binding {
    Binding {
        id: format!("bnd_{role}"),
        identity: String::new(),
        role: role.to_owned(),
        capabilities: crate::domain::role::built_in(role).unwrap().capabilities,
        resource: Resource::parse(resource).unwrap(),
        conditions: Vec::new(),
        created_at: 0,
        created_by: String::new(),
    }
}

fn only_if(mut binding: Binding, claim: &str, value: &str) -> Binding {
    binding.conditions.push(condition(claim, value));
    binding
}

fn condition(claim: &str, value: &str) -> Condition {
    Condition {
        claim: claim.to_owned(),
        text: Text::Exact(value.to_owned()),
    }
}

fn of(holder: Identity, bindings: Vec<Binding>) -> Facts {
    Facts {
        holders: vec![Holder {
            identity: holder,
            bindings,
        }],
        ..Facts::default()
    }
}

/// Somebody who asks, with the claims that the issuers of these tests give.
struct Someone {
    issuer: &'static str,
    subject: &'static str,
    claims: Claims,
    narrowing: Narrowing,
}

impl Someone {
    fn ci() -> Self {
        Self {
            issuer: GITHUB,
            subject: "main",
            claims: Claims::from([("aud".to_owned(), json!("roadstead"))]),
            narrowing: Narrowing::default(),
        }
    }

    fn alice() -> Self {
        Self {
            issuer: PEOPLE,
            subject: "alice",
            ..Self::ci()
        }
    }

    fn with(mut self, claim: &str, value: &str) -> Self {
        self.claims.insert(claim.to_owned(), json!(value));
        self
    }

    fn asker(&self) -> Asker<'_> {
        Asker {
            upstream: Some(Upstream {
                issuer: self.issuer,
                subject: self.subject,
                claims: &self.claims,
            }),
            narrowing: &self.narrowing,
            supposed: false,
            now: 0,
        }
    }

    fn may(&self, facts: &Facts, capability: Capability, resource: &str) -> bool {
        self.answer(facts, capability, resource, None).0
    }

    /// Whether it is allowed, and the reason when not. The explanation must say the same.
    fn answer(
        &self,
        facts: &Facts,
        capability: Capability,
        resource: &str,
        handed_on: Option<&[Condition]>,
    ) -> (bool, String) {
        let resource = Resource::parse(resource).unwrap();
        let question = Question {
            capability,
            resource: &resource,
            handed_on,
        };
        let asker = self.asker();
        let verdict = evaluate(facts, &asker, &question, &rules());
        let explanation = explain(&verdict, &asker, &question);
        assert_eq!(explanation.allowed, verdict.allowed);
        assert_eq!(explanation.summary.starts_with("yes: "), verdict.allowed);
        assert!(verdict.allowed || explanation.steps.iter().any(|step| !step.holds));
        (verdict.allowed, why(&verdict, &asker, &question))
    }
}

const REPOSITORY: &str = "repository:acme/images/base";

#[test]
fn a_role_gives_what_it_has() {
    let facts = of(exact(), vec![bound("registry.push", "acme")]);
    let ci = Someone::ci();
    assert!(ci.may(&facts, Capability::RepoPull, REPOSITORY));
    assert!(ci.may(&facts, Capability::RepoPush, REPOSITORY));
    let (allowed, why) = ci.answer(&facts, Capability::RepoDelete, REPOSITORY, None);
    assert!(!allowed);
    assert!(why.contains("acme/ci") && why.contains("registry.push"), "{why}");
}

#[test]
fn roles_of_all_identities_add_up() {
    let mut facts = of(exact(), vec![bound("registry.pull", "acme")]);
    facts.holders.push(Holder {
        identity: workload(Text::Pattern("ma.*".to_owned())),
        bindings: vec![bound("registry.push", "acme/images")],
    });
    assert!(Someone::ci().may(&facts, Capability::RepoPush, REPOSITORY));
}

#[test]
fn nobody_has_anything_without_an_identity_but_what_everybody_has() {
    let nobody = Facts::default();
    let (allowed, why) = Someone::ci().answer(&nobody, Capability::RepoPull, REPOSITORY, None);
    assert!(!allowed);
    assert!(why.contains("main") && why.contains(GITHUB), "{why}");
    let public = Facts {
        everybody: vec![bound("registry.pull", "acme/images")],
        ..Facts::default()
    };
    assert!(Someone::ci().may(&public, Capability::RepoPull, REPOSITORY));
    assert!(!Someone::ci().may(&public, Capability::RepoPush, REPOSITORY));
}

#[test]
fn an_identity_that_no_longer_matches_gives_nothing() {
    let facts = of(
        workload(Text::Exact("other".to_owned())),
        vec![bound("owner", "")],
    );
    assert!(!Someone::ci().may(&facts, Capability::RepoPull, REPOSITORY));
    let facts = of(exact(), vec![bound("owner", "")]);
    assert!(!Someone::alice().may(&facts, Capability::RepoPull, REPOSITORY));
}

#[test]
fn a_condition_must_hold() {
    let facts = of(
        exact(),
        vec![only_if(
            bound("registry.pull", "acme"),
            "environment",
            "production",
        )],
    );
    let here = Someone::ci().with("environment", "production");
    assert!(here.may(&facts, Capability::RepoPull, REPOSITORY));
    let elsewhere = Someone::ci().with("environment", "staging");
    let (allowed, why) = elsewhere.answer(&facts, Capability::RepoPull, REPOSITORY, None);
    assert!(!allowed);
    assert!(why.contains("environment") && why.contains("production"), "{why}");
    assert!(!Someone::ci().may(&facts, Capability::RepoPull, REPOSITORY));
}

#[rstest]
#[case::the_workload(exact(), Someone::ci(), true)]
#[case::a_pattern(workload(Text::Pattern("mai.".to_owned())), Someone::ci(), false)]
#[case::an_owner(person(), Someone::alice(), false)]
fn only_exact_workloads_push_where_only_workloads_may(
    #[case] holder: Identity,
    #[case] asks: Someone,
    #[case] may: bool,
) {
    let mut facts = of(holder, vec![bound("owner", "")]);
    for marked in ["", "acme", "acme/images", REPOSITORY] {
        facts.workload_only = vec![Resource::parse(marked).unwrap()];
        let (allowed, why) = asks.answer(&facts, Capability::RepoPush, REPOSITORY, None);
        assert_eq!(allowed, may, "{marked}");
        assert!(may || why.contains("workloads"), "{why}");
        assert!(asks.may(&facts, Capability::RepoPull, REPOSITORY));
        assert!(asks.may(&facts, Capability::RepoDelete, REPOSITORY));
        // Whoever may not push may still say who does.
        assert!(asks.answer(&facts, Capability::RepoPush, REPOSITORY, Some(&[])).0);
    }
    facts.workload_only.clear();
    assert!(asks.may(&facts, Capability::RepoPush, REPOSITORY));
}

#[test]
fn an_unmarked_issuer_is_of_no_workload() {
    let mut facts = of(
        identity(
            "robot",
            Rule::ClaimMatch(ClaimMatch {
                issuer: Text::Exact(PEOPLE.to_owned()),
                subject: Text::Exact("alice".to_owned()),
                audience: None,
                claims: BTreeMap::new(),
            }),
        ),
        vec![bound("registry.push", "acme")],
    );
    assert!(Someone::alice().may(&facts, Capability::RepoPush, REPOSITORY));
    facts.workload_only = vec![Resource::parse("acme").unwrap()];
    assert!(!Someone::alice().may(&facts, Capability::RepoPush, REPOSITORY));
}

#[test]
fn nothing_is_pushed_below_a_deleted_group() {
    let mut facts = of(exact(), vec![bound("owner", "")]);
    facts.tombstones = vec!["acme/images".parse().unwrap()];
    let ci = Someone::ci();
    let (allowed, why) = ci.answer(&facts, Capability::RepoPush, REPOSITORY, None);
    assert!(!allowed);
    assert!(why.contains("acme/images") && why.contains("deleted"), "{why}");
    assert!(ci.may(&facts, Capability::RepoPull, REPOSITORY));
}

#[test]
fn what_is_held_under_a_condition_is_handed_on_under_it_only() {
    let facts = of(
        exact(),
        vec![only_if(bound("owner", "acme"), "environment", "production")],
    );
    let ci = Someone::ci().with("environment", "production");
    let gives = |conditions: &[Condition]| {
        ci.answer(&facts, Capability::RepoPull, REPOSITORY, Some(conditions))
            .0
    };
    assert!(ci.may(&facts, Capability::RepoPull, REPOSITORY));
    assert!(!gives(&[]));
    assert!(!gives(&[condition("environment", "staging")]));
    assert!(gives(&[condition("environment", "production")]));
    assert!(gives(&[
        condition("environment", "production"),
        condition("ref", "main")
    ]));
}

#[test]
fn a_narrowed_token_is_good_for_less() {
    let facts = of(exact(), vec![bound("owner", "")]);
    let mut ci = Someone::ci();
    ci.narrowing = Narrowing::parse(&["acme/images".to_owned()], &["repo.pull".to_owned()]).unwrap();
    assert!(ci.may(&facts, Capability::RepoPull, REPOSITORY));
    assert!(!ci.may(&facts, Capability::RepoPush, REPOSITORY));
    assert!(!ci.may(&facts, Capability::RepoPull, "repository:acme/web"));
    // Not by what everybody has either.
    let public = Facts {
        everybody: vec![bound("registry.pull", "")],
        ..Facts::default()
    };
    assert!(!ci.may(&public, Capability::RepoPull, "repository:acme/web"));
}

#[test]
fn a_reason_is_short() {
    let mut facts = of(exact(), vec![bound("registry.pull", "acme")]);
    facts.holders[0].identity.name = Some("ü".repeat(300));
    let (_, why) = Someone::ci().answer(&facts, Capability::RepoPush, REPOSITORY, None);
    assert!(why.len() <= 200, "{}", why.len());
    assert!(why.ends_with("..."));
}

#[test]
fn a_list_of_places_holds_the_widest_that_are_given_now() {
    let facts = Facts {
        everybody: vec![bound("registry.pull", "public")],
        ..of(
            exact(),
            vec![
                bound("registry.pull", "acme"),
                bound("registry.push", "acme/images"),
                bound("registry.pull", "repository:beta/web"),
                bound("registry.pull", "acme-x"),
                only_if(bound("registry.pull", "hidden"), "environment", "production"),
            ],
        )
    };
    let places = |someone: &Someone, capability| {
        let found = reach(&facts, &someone.asker(), capability, &rules());
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let mut ci = Someone::ci();
    assert_eq!(
        places(&ci, Capability::RepoPull),
        [
            "group acme",
            "group acme-x",
            "group public",
            "repository beta/web"
        ]
    );
    assert_eq!(places(&ci, Capability::RepoPush), ["group acme/images"]);
    ci = ci.with("environment", "production");
    assert!(places(&ci, Capability::RepoPull).contains(&"group hidden".to_owned()));
    ci.narrowing = Narrowing::parse(&["acme/web".to_owned(), "beta".to_owned()], &[]).unwrap();
    assert_eq!(
        places(&ci, Capability::RepoPull),
        ["group acme/web", "repository beta/web"]
    );
    ci.narrowing = Narrowing::parse(&[], &["repo.pull".to_owned()]).unwrap();
    assert!(places(&ci, Capability::RepoPush).is_empty());
}

proptest! {
    /// A list of places and single questions must never disagree.
    #[test]
    fn a_place_is_listed_exactly_where_it_is_allowed(
        held in proptest::collection::vec("(repository:)?[ab](/[ab]){0,2}", 0..4),
        narrowed in proptest::collection::vec("[ab](/[ab]){0,1}", 0..2),
        asked in "[ab](/[ab]){0,3}",
    ) {
        let bindings: Vec<Binding> = held.iter().map(|resource| bound("registry.pull", resource)).collect();
        let mut ci = Someone::ci();
        ci.narrowing = Narrowing::parse(&narrowed, &[]).unwrap();
        let everything = of(exact(), bindings);
        let resource = Resource::parse(&format!("repository:{asked}")).unwrap();
        let listed = reach(&everything, &ci.asker(), Capability::RepoPull, &rules())
            .iter()
            .any(|place| place.covers(&resource));
        let mut here = everything;
        here.holders[0].bindings.retain(|binding| binding.resource.covers(&resource));
        prop_assert_eq!(ci.may(&here, Capability::RepoPull, &format!("repository:{asked}")), listed);
    }
}
