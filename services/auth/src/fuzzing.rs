//! Private parsers and rules, for the fuzz targets in `integration-tests/fuzz`.

use roadstead_authn::Act;
use roadstead_types::{ActionSet, RepositoryName, Resource as ScopeResource, Scope};
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value};

use crate::{
    access::{Bearer, upstream},
    bootstrap::{capabilities_of, rule_of},
    config::GrantConfig,
    domain::{
        Binding, Decided, Facts, Holder, Identity, IssuerFacts, Narrowing, Pattern, Resource, Rule, Rules,
        divide, parse_scopes,
    },
    issuers::{IssuerKeySet, fuzzing as issuers},
    keys::RefreshKey,
    sts::PullSecret,
};

/// The audience that tokens are for here.
const AUDIENCE: &str = "roadstead";

/// Verifies an identity token with the keys of a JWK set, as [`issuers`](crate::issuers) does once it has chosen the
/// issuer: issuer, subject and all claims.
pub fn identity(
    token: &str,
    audience: &str,
    jwks: &str,
    now: i64,
) -> Option<(String, String, Map<String, Value>)> {
    let identity = issuers::identity(token, audience, jwks, now)?;
    Some((identity.issuer, identity.subject, identity.claims))
}

/// The names of the algorithms for which a published JWK set has keys, with how many.
pub fn published_keys(jwks: &str) -> Option<Vec<(String, usize)>> {
    issuers::published_keys(jwks)
}

/// Whether a key set that somebody registers is taken.
pub fn takes_keys(jwks: &str) -> bool {
    IssuerKeySet::from_public(jwks).is_ok()
}

/// Makes a refresh token with a key that is always the same.
pub fn refresh_token(session: &str, generation: u64) -> Option<String> {
    let token = refresh_key()?.token(session, generation);
    Some(token.expose_secret().to_owned())
}

/// Reads a refresh token that was made with that key: session and generation.
pub fn read_refresh_token(token: &str) -> Option<(String, u64)> {
    let claims = refresh_key()?.read(token)?;
    Some((claims.session, claims.generation))
}

fn refresh_key() -> Option<RefreshKey> {
    RefreshKey::from_bytes(&[7; RefreshKey::LENGTH])
}

/// Reads the form of a pull token: the id of its identity.
pub fn pull_token_id(token: &str) -> Option<String> {
    PullSecret::parse(token).map(|secret| secret.id().to_owned())
}

/// Whether a pattern matches a text; none when it is no pattern.
pub fn subject_matches(pattern: &str, subject: &str) -> Option<bool> {
    Some(Pattern::parse(pattern).ok()?.matches(subject))
}

/// Parses what is asked for and divides it by what `act` was granted: asked, granted, denied.
pub fn decide_scopes(
    asked: &[&str],
    grants: &[GrantConfig],
    act: Option<&Act>,
) -> Option<(Vec<Scope>, Vec<Scope>, Vec<Scope>)> {
    let asked = parse_scopes(asked).ok()?;
    let decided = decide(&asked, grants, act);
    let denied = decided.denied.into_iter().map(|denied| denied.scope);
    Some((asked, decided.granted, denied.collect()))
}

/// Reduces the claims of an identity to those that grants look at: what the identity may do with all of its claims, with
/// the reduced ones, and those.
pub fn reduce_claims(
    act: &Act,
    grants: &[GrantConfig],
    repository: &RepositoryName,
) -> Option<(ActionSet, ActionSet, Act)> {
    let holders = holders(grants);
    let names: Vec<&str> = holders
        .iter()
        .flat_map(|holder| holder.identity.rule.claim_names())
        .collect();
    let mut reduced = act.clone();
    reduced.claims.retain(|name, _| names.contains(&name.as_str()));
    let asked = [Scope::repository(repository.clone(), ActionSet::ALL)];
    let actions = |act| {
        let decided = decide(&asked, grants, Some(act));
        decided
            .granted
            .iter()
            .fold(ActionSet::EMPTY, |all, scope| all.union(scope.actions))
    };
    let found = (actions(act), actions(&reduced));
    reduced.claims.remove("aud");
    Some((found.0, found.1, reduced))
}

/// Decides as `access::decide` does, on grants instead of the database.
fn decide(asked: &[Scope], grants: &[GrantConfig], act: Option<&Act>) -> Decided {
    let issuers = grants.iter().map(|grant| {
        let facts = IssuerFacts {
            audience: AUDIENCE.to_owned(),
            login_client: None,
            workload: false,
        };
        (grant.issuer.clone(), facts)
    });
    let rules = Rules {
        issuers: issuers.collect(),
        ..Rules::default()
    };
    let whole = Narrowing::default();
    let act = act.cloned().map(|mut act| {
        act.claims.insert("aud".to_owned(), AUDIENCE.into());
        act
    });
    let mut asker = Bearer::anonymous(&whole).asker(0);
    asker.upstream = act.as_ref().map(upstream);
    let mut decided = Decided::default();
    for scope in asked {
        let ScopeResource::Repository(name) = &scope.resource else {
            continue;
        };
        let resource = Resource::Repository(name.clone());
        let mut facts = Facts::default();
        if act.is_some() {
            facts.holders = holders(grants);
        }
        for holder in &mut facts.holders {
            holder
                .bindings
                .retain(|binding| binding.resource.covers(&resource));
        }
        divide(scope.clone(), (&facts, &resource), &asker, &rules, &mut decided);
    }
    if act.is_none() {
        decided.denied.clear();
    }
    decided
}

fn holders(grants: &[GrantConfig]) -> Vec<Holder> {
    let holder = |(index, grant): (usize, &GrantConfig)| Holder {
        identity: Identity {
            id: format!("idn_{index}"),
            group: "acme".parse().unwrap_or_default(),
            name: None,
            description: String::new(),
            rule: Rule::ClaimMatch(rule_of(grant)),
            created_at: 0,
            created_by: String::new(),
            expires_at: None,
            last_used_at: None,
        },
        bindings: vec![Binding {
            id: format!("bnd_{index}"),
            identity: String::new(),
            role: String::new(),
            capabilities: capabilities_of(grant.actions),
            resource: Resource::Group(grant.prefix.clone()),
            conditions: Vec::new(),
            created_at: 0,
            created_by: String::new(),
        }],
    };
    grants.iter().enumerate().map(holder).collect()
}
