//! Private parsers, for the fuzz targets in `integration-tests/fuzz`.

use roadstead_authn::Act;
use roadstead_types::{ActionSet, RepositoryName, Scope};
use serde_json::{Map, Value};

use crate::{
    config::GrantConfig,
    domain::{Grants, SubjectPattern, decide, parse_scopes},
    issuers::fuzzing as issuers,
};

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

/// Whether a pattern matches a subject; none when it is no pattern.
pub fn subject_matches(pattern: &str, subject: &str) -> Option<bool> {
    Some(SubjectPattern::parse(pattern).ok()?.matches(subject))
}

/// Parses what is asked for and divides it by what `act` was granted: asked, granted, denied.
pub fn decide_scopes(
    asked: &[&str],
    grants: &[GrantConfig],
    act: Option<&Act>,
) -> Option<(Vec<Scope>, Vec<Scope>, Vec<Scope>)> {
    let grants = Grants::new(grants).ok()?;
    let asked = parse_scopes(asked).ok()?;
    let decision = decide(asked.clone(), &grants, act);
    Some((asked, decision.granted, decision.denied))
}

/// Reduces the claims of an identity to those that grants look at: what the identity may do with all of its claims, with
/// the reduced ones, and those.
pub fn reduce_claims(
    act: &Act,
    grants: &[GrantConfig],
    repository: &RepositoryName,
) -> Option<(ActionSet, ActionSet, Act)> {
    let grants = Grants::new(grants).ok()?;
    let all: Map<String, Value> = act.claims.clone().into_iter().collect();
    let reduced = Act {
        claims: grants.relevant_claims(&act.issuer, &all),
        ..act.clone()
    };
    Some((
        grants.actions(act, repository),
        grants.actions(&reduced, repository),
        reduced,
    ))
}
