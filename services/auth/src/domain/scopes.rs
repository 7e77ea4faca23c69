//! From what a client asks for to what its token says.

use roadstead_types::{Action, ActionSet, Scope, ScopeError};

use super::{Asker, Capability, Facts, Question, Resource, Rules, evaluate, why};
use crate::error::Error;

/// More scopes than any client asks for at once; each costs reads of the database and room in the token.
const SCOPES_LIMIT: usize = 64;

/// What was asked for, divided.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Decided {
    pub(crate) granted: Vec<Scope>,
    /// What an identity asked for and was not given. Empty for an anonymous caller, to whom the answer to a missing
    /// scope is to log in.
    pub(crate) denied: Vec<Denied>,
}

/// Something that was asked for and not given, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denied {
    pub(crate) scope: Scope,
    /// One sentence for the client, of at most 200 bytes.
    pub(crate) why: String,
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

/// Divides what is asked for on a resource by what the facts about it give.
pub(crate) fn divide(
    scope: Scope,
    (facts, resource): (&Facts, &Resource),
    asker: &Asker<'_>,
    rules: &Rules,
    decided: &mut Decided,
) {
    divide_by(scope, decided, |action| {
        let question = Question {
            capability: Capability::of(action),
            resource,
            handed_on: None,
        };
        let verdict = evaluate(facts, asker, &question, rules);
        if verdict.allowed {
            Ok(())
        } else {
            Err(why(&verdict, asker, &question))
        }
    });
}

/// Divides what is asked for. `decide` answers for one action: given, or why not.
fn divide_by(scope: Scope, decided: &mut Decided, decide: impl Fn(Action) -> Result<(), String>) {
    let mut granted = ActionSet::EMPTY;
    let mut refused: Vec<Denied> = Vec::new();
    for action in scope.actions.iter() {
        match decide(action) {
            Ok(()) => granted = granted.with(action),
            Err(why) => match refused.iter_mut().find(|denied| denied.why == why) {
                Some(denied) => denied.scope.actions = denied.scope.actions.with(action),
                None => refused.push(Denied {
                    scope: Scope {
                        resource: scope.resource.clone(),
                        actions: action.into(),
                    },
                    why,
                }),
            },
        }
    }
    decided.denied.append(&mut refused);
    if !granted.is_empty() {
        decided.granted.push(Scope {
            resource: scope.resource,
            actions: granted,
        });
    }
}

#[cfg(test)]
#[path = "scopes_tests.rs"]
mod tests;
