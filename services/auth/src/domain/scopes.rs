//! From what a client asks for to what its token says.

use roadstead_authn::Act;
use roadstead_types::{ActionSet, Resource, Scope, ScopeError};

use crate::{domain::Grants, error::Error};

/// More scopes than any client asks for at once; each costs a look at the grants and room in the token.
const SCOPES_LIMIT: usize = 64;

/// What was asked for, divided.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) granted: Vec<Scope>,
    /// What an identity asked for and has no grant for. Empty for an anonymous caller, to whom the answer to a missing
    /// scope is to log in.
    pub(crate) denied: Vec<Scope>,
}

/// Parses scopes as clients send them: duplicated, overlapping, in one text or in many.
///
/// A repository that cannot exist is left out rather than refused: the request that needs the scope gets the better
/// answer. A text that is no scope at all is an error.
pub(crate) fn parse_scopes<S: AsRef<str>>(texts: &[S]) -> Result<Vec<Scope>, Error> {
    let mut scopes = Vec::new();
    for text in texts
        .iter()
        .flat_map(|text| text.as_ref().split_ascii_whitespace())
    {
        match Scope::parse(text) {
            Ok(scope) => scopes.push(scope),
            Err(ScopeError::Name(_)) => {}
            Err(error @ ScopeError::Malformed) => return Err(Error::ScopeInvalid(error.to_string())),
        }
        if scopes.len() > SCOPES_LIMIT {
            return Err(Error::ScopeInvalid(format!("more than {SCOPES_LIMIT} scopes")));
        }
    }
    Ok(Scope::merge(scopes))
}

/// Divides what is asked for by what an identity, if there is one, was granted.
pub(crate) fn decide(scopes: Vec<Scope>, grants: &Grants, identity: Option<&Act>) -> Decision {
    let mut decision = Decision::default();
    for scope in scopes {
        let granted = match (&scope.resource, identity) {
            // Everybody may list repositories: the list holds only what the caller may read.
            (Resource::Catalog, _) => scope.actions,
            (Resource::Repository(name), Some(act)) => scope.actions.intersection(grants.actions(act, name)),
            (Resource::Repository(_), None) => ActionSet::EMPTY,
            (Resource::Other { .. }, _) => continue,
        };
        let denied = scope.actions.difference(granted);
        if !denied.is_empty() && identity.is_some() {
            decision.denied.push(Scope {
                resource: scope.resource.clone(),
                actions: denied,
            });
        }
        if !granted.is_empty() {
            decision.granted.push(Scope {
                resource: scope.resource,
                actions: granted,
            });
        }
    }
    decision
}

#[cfg(test)]
#[path = "scopes_tests.rs"]
mod tests;
