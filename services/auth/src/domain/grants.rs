//! What identities may do.

use std::collections::{BTreeMap, HashMap};

use roadstead_authn::Act;
use roadstead_types::{Action, ActionSet, RepositoryName, RepositoryPrefix};
use serde_json::{Map, Value};

use crate::{config::GrantConfig, domain::SubjectPattern};

/// Longer claims are not carried in tokens, and so match no grant.
const CLAIM_LIMIT: usize = 256;

/// All grants, by issuer.
#[derive(Debug, Default)]
pub(crate) struct Grants(HashMap<String, Vec<Grant>>);

#[derive(Debug)]
struct Grant {
    subject: Subjects,
    claims: BTreeMap<String, String>,
    prefix: RepositoryPrefix,
    actions: ActionSet,
}

#[derive(Debug)]
enum Subjects {
    All,
    Exactly(String),
    Matching(SubjectPattern),
}

impl Grants {
    pub(crate) fn new(configured: &[GrantConfig]) -> Result<Self, regex::Error> {
        let mut grants = Self::default();
        for config in configured {
            let subject = match (&config.subject, &config.subject_pattern) {
                (Some(subject), _) => Subjects::Exactly(subject.clone()),
                (None, Some(pattern)) => Subjects::Matching(SubjectPattern::parse(pattern)?),
                (None, None) => Subjects::All,
            };
            grants.add(
                &config.issuer,
                Grant {
                    subject,
                    claims: config.claims.clone(),
                    prefix: config.prefix.clone(),
                    actions: config.actions,
                },
            );
        }
        Ok(grants)
    }

    /// Lets one subject do everything everywhere.
    pub(crate) fn allow_everything(&mut self, issuer: &str, subject: &str) {
        self.add(
            issuer,
            Grant {
                subject: Subjects::Exactly(subject.to_owned()),
                claims: BTreeMap::new(),
                prefix: RepositoryPrefix::EVERYTHING,
                actions: ActionSet::ALL,
            },
        );
    }

    /// Returns what an identity may do to a repository.
    pub(crate) fn actions(&self, act: &Act, repository: &RepositoryName) -> ActionSet {
        self.matching(act)
            .filter(|grant| grant.prefix.contains(repository))
            .fold(ActionSet::EMPTY, |actions, grant| actions.union(grant.actions))
    }

    /// Returns the prefixes that an identity may pull from, without those that lie under another.
    pub(crate) fn readable(&self, act: &Act) -> Vec<RepositoryPrefix> {
        let mut prefixes: Vec<_> = self
            .matching(act)
            .filter(|grant| grant.actions.contains(Action::Pull))
            .map(|grant| grant.prefix.clone())
            .collect();
        // A prefix sorts before all that it contains.
        prefixes.sort();
        let mut widest: Vec<RepositoryPrefix> = Vec::new();
        for prefix in prefixes {
            if !widest.iter().any(|wider| covers(wider, &prefix)) {
                widest.push(prefix);
            }
        }
        widest
    }

    /// Returns those claims that some grant of the issuer looks at, for the access token to carry. Of lists only the
    /// members that a grant names are kept, because group lists can be longer than a token may be.
    pub(crate) fn relevant_claims(
        &self,
        issuer: &str,
        claims: &Map<String, Value>,
    ) -> BTreeMap<String, Value> {
        let names = self
            .0
            .get(issuer)
            .into_iter()
            .flatten()
            .flat_map(|grant| grant.claims.keys());
        names
            .filter_map(|name| {
                let value = self.relevant_part(issuer, name, claims.get(name)?)?;
                Some((name.clone(), value))
            })
            .collect()
    }

    fn relevant_part(&self, issuer: &str, name: &str, value: &Value) -> Option<Value> {
        let Value::Array(members) = value else {
            return text_of(value)
                .filter(|text| text.len() <= CLAIM_LIMIT)
                .map(|_| value.clone());
        };
        let grants = self.0.get(issuer)?;
        let named = |member: &&Value| {
            grants
                .iter()
                .any(|grant| grant.claims.get(name) == text_of(member).as_ref())
        };
        let members: Vec<Value> = members
            .iter()
            .filter(|member| text_of(member).is_some())
            .filter(named)
            .cloned()
            .collect();
        (!members.is_empty()).then_some(Value::Array(members))
    }

    fn matching<'a>(&'a self, act: &'a Act) -> impl Iterator<Item = &'a Grant> {
        self.0
            .get(&act.issuer)
            .into_iter()
            .flatten()
            .filter(|grant| grant.matches(act))
    }

    fn add(&mut self, issuer: &str, grant: Grant) {
        self.0.entry(issuer.to_owned()).or_default().push(grant);
    }
}

impl Grant {
    fn matches(&self, act: &Act) -> bool {
        let subject = match &self.subject {
            Subjects::All => true,
            Subjects::Exactly(subject) => *subject == act.subject,
            Subjects::Matching(pattern) => pattern.matches(&act.subject),
        };
        subject
            && self
                .claims
                .iter()
                .all(|(name, text)| act.claims.get(name).is_some_and(|value| has(value, text)))
    }
}

fn covers(wider: &RepositoryPrefix, prefix: &RepositoryPrefix) -> bool {
    match RepositoryName::parse(prefix.as_str()) {
        Ok(name) => wider.contains(&name),
        // The empty prefix is under itself alone.
        Err(_) => *wider == RepositoryPrefix::EVERYTHING,
    }
}

/// Returns whether a claim is `text`, or a list that contains it.
fn has(claim: &Value, text: &str) -> bool {
    match claim {
        Value::Array(members) => members
            .iter()
            .any(|member| text_of(member).as_deref() == Some(text)),
        scalar => text_of(scalar).as_deref() == Some(text),
    }
}

/// Returns a scalar as configuration writes it. Issuers differ in whether `true` and `"true"` are the same.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
#[path = "grants_tests.rs"]
mod tests;
