//! Whether a bearer may do something at a resource, and why. The one set of rules: tokens, the administration and
//! explanations all come through [`evaluate`].

use std::collections::HashSet;

use roadstead_types::RepositoryPrefix;

use super::{
    Capability, CapabilitySet, Identity, Mismatch, Narrowing, Resource, Rules, Upstream, claims::Claims,
    claims::Condition,
};

/// What the store says of a resource and of a bearer's identities, all of one moment.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) holders: Vec<Holder>,
    /// Bindings of the identity that everybody is.
    pub(crate) everybody: Vec<Binding>,
    /// Where only workloads may push, among the resources that cover this one.
    pub(crate) workload_only: Vec<Resource>,
    /// Deleted groups that cover this resource.
    pub(crate) tombstones: Vec<RepositoryPrefix>,
}

/// An identity, with those of its bindings that cover the resource.
#[derive(Debug)]
pub(crate) struct Holder {
    pub(crate) identity: Identity,
    pub(crate) bindings: Vec<Binding>,
}

/// A role that an identity has at a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) id: String,
    pub(crate) identity: String,
    pub(crate) role: String,
    /// What the role gives.
    pub(crate) capabilities: CapabilitySet,
    pub(crate) resource: Resource,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) created_at: i64,
    pub(crate) created_by: String,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker<'a> {
    /// None for an anonymous caller.
    pub(crate) upstream: Option<Upstream<'a>>,
    pub(crate) narrowing: &'a Narrowing,
    /// Whether the identities are taken as given, because it is asked what they may do and nobody shows a token. The
    /// claims are for conditions then.
    pub(crate) supposed: bool,
    /// Unix milliseconds.
    pub(crate) now: i64,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) capability: Capability,
    pub(crate) resource: &'a Resource,
    /// The conditions under which it is to be handed on; what is held under others cannot be. None when it is to be used.
    pub(crate) handed_on: Option<&'a [Condition]>,
}

/// The answer.
#[derive(Debug)]
pub(crate) struct Verdict<'a> {
    pub(crate) allowed: bool,
    /// Everything that was looked at, in order.
    pub(crate) findings: Vec<Finding<'a>>,
}

/// One thing that was looked at, and what came of it.
#[derive(Debug)]
pub(crate) enum Finding<'a> {
    /// The token is not good for this capability.
    NarrowedCapabilities(CapabilitySet),
    /// The token is not good at this resource.
    NarrowedResources(&'a [Resource]),
    /// The bearer has no identity here.
    NoIdentity,
    /// An identity's rule does not match the bearer any more.
    Stale(&'a Identity, Mismatch),
    /// An identity has no binding that covers the resource.
    Unbound(&'a Identity),
    /// A binding; of everybody where there is no identity.
    Binding(Option<&'a Identity>, &'a Binding, Outcome<'a>),
    /// A group above was deleted: nothing is pushed there any more.
    Tombstone(&'a RepositoryPrefix),
}

/// What comes of a binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome<'a> {
    Gives,
    /// The role lacks the capability.
    Lacks,
    /// The bearer's token does not meet a condition.
    Unmet(&'a Condition),
    /// It is held under a condition that would be lost.
    Conditional(&'a Condition),
    /// Only workloads may push at the resource, and the identity does not count as one.
    NotWorkload(&'a Resource, &'static str),
}

/// Answers a question by the facts.
pub(crate) fn evaluate<'a>(
    facts: &'a Facts,
    asker: &Asker<'a>,
    question: &Question<'_>,
    rules: &Rules,
) -> Verdict<'a> {
    let mut findings = Vec::new();
    let mut barred = false;
    if let Some(finding) = asker.narrowing.excludes(question.capability, question.resource) {
        findings.push(finding);
        barred = true;
    }
    if question.capability == Capability::RepoPush {
        findings.extend(facts.tombstones.iter().map(Finding::Tombstone));
        barred |= !facts.tombstones.is_empty();
    }
    if facts.holders.is_empty() && asker.upstream.is_some() {
        findings.push(Finding::NoIdentity);
    }
    let no_claims = Claims::new();
    let evaluation = Evaluation {
        facts,
        asker,
        question,
        rules,
    };
    for holder in &facts.holders {
        evaluation.look_at(holder, &mut findings);
    }
    let claims = asker.upstream.map_or(&no_claims, |upstream| upstream.claims);
    findings.extend(
        facts
            .everybody
            .iter()
            .map(|binding| Finding::Binding(None, binding, evaluation.outcome(None, binding, claims))),
    );
    let given = findings
        .iter()
        .any(|finding| matches!(finding, Finding::Binding(_, _, Outcome::Gives)));
    Verdict {
        allowed: given && !barred,
        findings,
    }
}

/// Where somebody has a capability: every resource where a binding gives it, as far as the token is narrowed to it, without
/// those that lie within another. `facts` hold all bindings of the identities, whatever they cover.
pub(crate) fn reach(
    facts: &Facts,
    asker: &Asker<'_>,
    capability: Capability,
    rules: &Rules,
) -> Vec<Resource> {
    if asker
        .narrowing
        .capabilities
        .is_some_and(|capabilities| !capabilities.contains(capability))
    {
        return Vec::new();
    }
    let question = Question {
        capability,
        resource: &Resource::ROOT,
        handed_on: None,
    };
    let whole = Narrowing::default();
    let unnarrowed = Asker {
        narrowing: &whole,
        ..*asker
    };
    let verdict = evaluate(facts, &unnarrowed, &question, rules);
    let given = verdict.findings.iter().filter_map(|finding| match finding {
        Finding::Binding(_, binding, Outcome::Gives) => Some(asker.narrowing.within(&binding.resource)),
        _ => None,
    });
    widest(given.flatten().collect())
}

/// Leaves out what lies within another.
fn widest(mut resources: Vec<Resource>) -> Vec<Resource> {
    // Shorter paths first, and groups before repositories: what covers stands before what it covers.
    resources.sort_by(|one, other| {
        let order = |resource: &Resource| (resource.path().len(), resource.kind() == "repository");
        order(one).cmp(&order(other)).then_with(|| one.cmp(other))
    });
    let mut kept: Vec<Resource> = Vec::new();
    let mut paths: HashSet<String> = HashSet::new();
    for resource in resources {
        let covered = resource.groups_above().any(|path| paths.contains(path));
        if covered || kept.last() == Some(&resource) {
            continue;
        }
        if let Resource::Group(path) = &resource {
            paths.insert(path.to_string());
        }
        kept.push(resource);
    }
    kept.sort();
    kept
}

struct Evaluation<'a, 'q> {
    facts: &'a Facts,
    asker: &'q Asker<'a>,
    question: &'q Question<'q>,
    rules: &'q Rules,
}

impl<'a> Evaluation<'a, '_> {
    fn look_at(&self, holder: &'a Holder, findings: &mut Vec<Finding<'a>>) {
        let identity = &holder.identity;
        let Some(upstream) = &self.asker.upstream else {
            findings.push(Finding::Stale(identity, Mismatch::Kind));
            return;
        };
        let standing = if self.asker.supposed {
            identity.check_standing(self.rules, self.asker.now)
        } else {
            identity.check(upstream, self.rules, self.asker.now)
        };
        if let Err(mismatch) = standing {
            findings.push(Finding::Stale(identity, mismatch));
            return;
        }
        if holder.bindings.is_empty() {
            findings.push(Finding::Unbound(identity));
        }
        findings.extend(holder.bindings.iter().map(|binding| {
            let outcome = self.outcome(Some(identity), binding, upstream.claims);
            Finding::Binding(Some(identity), binding, outcome)
        }));
    }

    fn outcome(&self, identity: Option<&Identity>, binding: &'a Binding, claims: &Claims) -> Outcome<'a> {
        if !binding.capabilities.contains(self.question.capability) {
            return Outcome::Lacks;
        }
        let unmet = |condition: &&Condition| !condition.holds(claims, &self.rules.patterns);
        if let Some(condition) = binding.conditions.iter().find(unmet) {
            return Outcome::Unmet(condition);
        }
        if let Some(kept) = self.question.handed_on
            && let Some(lost) = binding
                .conditions
                .iter()
                .find(|condition| !kept.contains(condition))
        {
            return Outcome::Conditional(lost);
        }
        // Whoever hands the capability on need not be able to use it: owners bind the workloads that push.
        let pushes = self.question.capability == Capability::RepoPush && self.question.handed_on.is_none();
        match self.facts.workload_only.first() {
            Some(marked) if pushes => {
                let counts = identity.map_or(Err("everybody is no workload"), |identity| {
                    identity.is_exact_workload(self.rules)
                });
                counts.map_or_else(|why| Outcome::NotWorkload(marked, why), |()| Outcome::Gives)
            }
            _ => Outcome::Gives,
        }
    }
}

#[cfg(test)]
#[path = "evaluation_tests.rs"]
mod tests;
