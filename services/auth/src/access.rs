//! Who may do what: reads what a decision needs, all of one moment, and has `domain` decide.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use roadstead_authn::Act;
use roadstead_types::{Resource as ScopeResource, Scope};
use serde_json::Value;

use crate::{
    domain::{
        ANONYMOUS, Asker, Capability, Decided, Denied, Facts, Holder, Identity, Mismatch, Narrowing,
        Resource, Rule, Rules, Upstream, divide, reach,
    },
    store::{Result, Snapshot},
};

/// Identities that one token may speak for.
pub(crate) const IDENTITIES_LIMIT: usize = 16;

/// Identities that are looked at for those; beyond it the last ones are not seen.
const MATCHES_LIMIT: usize = 1024;

/// Bindings of one identity that a list of all places is made from.
const BINDINGS_LIMIT: usize = 100_000;

/// Whom a token speaks for, as far as permissions go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bearer<'a> {
    /// Ids.
    pub(crate) identities: &'a [String],
    /// Who that is upstream; none for an anonymous caller.
    pub(crate) act: Option<&'a Act>,
    pub(crate) narrowing: &'a Narrowing,
}

impl<'a> Bearer<'a> {
    /// Somebody without a token.
    pub(crate) fn anonymous(narrowing: &'a Narrowing) -> Self {
        Self {
            identities: &[],
            act: None,
            narrowing,
        }
    }

    pub(crate) fn asker(&self, now: i64) -> Asker<'a> {
        Asker {
            upstream: self.act.map(upstream),
            narrowing: self.narrowing,
            supposed: false,
            now,
        }
    }
}

/// What the rules look at in the `act` of a token.
pub(crate) fn upstream(act: &Act) -> Upstream<'_> {
    Upstream {
        issuer: &act.issuer,
        subject: &act.subject,
        claims: &act.claims,
    }
}

/// What was asked for, divided by what the bearer may do at one moment.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) granted: Vec<Scope>,
    pub(crate) denied: Vec<Denied>,
    /// The permissions that it was decided on.
    pub(crate) revision: u64,
    /// The bearer's identities that are still there and still match.
    pub(crate) identities: Vec<Identity>,
    /// The claims that a token must carry, so that conditions and rules can be looked at again.
    pub(crate) claims: BTreeMap<String, Value>,
}

/// Divides scopes by what a bearer may do.
pub(crate) fn decide(
    snapshot: &Snapshot<'_>,
    rules: &Rules,
    bearer: &Bearer<'_>,
    scopes: Vec<Scope>,
) -> Result<Decision> {
    let asker = bearer.asker(snapshot.now);
    let mut facts = Facts {
        holders: holders(snapshot, bearer.identities)?,
        ..Facts::default()
    };
    let mut decided = Decided::default();
    for scope in scopes {
        match &scope.resource {
            // Everybody may list repositories: the list holds only what the caller may read.
            ScopeResource::Catalog => decided.granted.push(scope),
            ScopeResource::Other { .. } => {}
            ScopeResource::Repository(name) => {
                let resource = Resource::Repository(name.clone());
                fill(snapshot, &mut facts, &resource)?;
                divide(scope, (&facts, &resource), &asker, rules, &mut decided);
            }
        }
    }
    if bearer.act.is_none() {
        decided.denied.clear();
    }
    let claims = match bearer.act {
        Some(act) => relevant_claims(snapshot, &facts.holders, act)?,
        None => BTreeMap::new(),
    };
    let alive = |holder: &Holder| {
        asker
            .upstream
            .is_some_and(|upstream| holder.identity.check(&upstream, rules, asker.now).is_ok())
    };
    facts.holders.retain(alive);
    Ok(Decision {
        granted: decided.granted,
        denied: decided.denied,
        revision: snapshot.revision()?,
        identities: facts.holders.into_iter().map(|holder| holder.identity).collect(),
        claims,
    })
}

/// Reads what the store says of a resource and of identities.
pub(crate) fn facts(snapshot: &Snapshot<'_>, identities: &[String], resource: &Resource) -> Result<Facts> {
    let mut facts = Facts {
        holders: holders(snapshot, identities)?,
        ..Facts::default()
    };
    fill(snapshot, &mut facts, resource)?;
    Ok(facts)
}

/// The identities that are there, with nothing said of their bindings.
fn holders(snapshot: &Snapshot<'_>, identities: &[String]) -> Result<Vec<Holder>> {
    let mut holders = Vec::with_capacity(identities.len());
    for id in identities.iter().take(IDENTITIES_LIMIT) {
        if let Some(identity) = snapshot.identity(id)? {
            holders.push(Holder {
                identity,
                bindings: Vec::new(),
            });
        }
    }
    Ok(holders)
}

/// Replaces what the facts say by what holds for a resource: a few reads by key for each group above it.
fn fill(snapshot: &Snapshot<'_>, facts: &mut Facts, resource: &Resource) -> Result<()> {
    for holder in &mut facts.holders {
        holder.bindings.clear();
        for path in resource.groups_above() {
            snapshot.bindings_at(&holder.identity.id, path, &mut holder.bindings)?;
        }
        holder
            .bindings
            .retain(|binding| binding.resource.covers(resource));
    }
    facts.everybody.clear();
    facts.workload_only.clear();
    facts.tombstones.clear();
    for path in resource.groups_above() {
        snapshot.bindings_at(ANONYMOUS, path, &mut facts.everybody)?;
        let marks = snapshot.policies_at(path)?;
        facts
            .workload_only
            .extend(marks.into_iter().map(|mark| mark.resource));
        if let Some(group) = snapshot.group(path)?
            && group.deleted
        {
            facts.tombstones.push(group.path);
        }
    }
    facts
        .everybody
        .retain(|binding| binding.resource.covers(resource));
    facts.workload_only.retain(|marked| marked.covers(resource));
    Ok(())
}

/// Where a bearer has a capability. A read of many rows: for lists.
pub(crate) fn reach_of(
    snapshot: &Snapshot<'_>,
    rules: &Rules,
    bearer: &Bearer<'_>,
    capabilities: &[Capability],
) -> Result<Vec<Vec<Resource>>> {
    let mut facts = Facts {
        holders: holders(snapshot, bearer.identities)?,
        everybody: snapshot.bindings_of(ANONYMOUS, BINDINGS_LIMIT)?,
        ..Facts::default()
    };
    for holder in &mut facts.holders {
        holder.bindings = snapshot.bindings_of(&holder.identity.id, BINDINGS_LIMIT)?;
    }
    let asker = bearer.asker(snapshot.now);
    Ok(capabilities
        .iter()
        .map(|capability| reach(&facts, &asker, *capability, rules))
        .collect())
}

/// Finds the identities that an upstream token is of: a read of many rows, because each rule with a pattern is looked at.
///
/// A token speaks for so many at most. Anybody who may make identities can make more that match somebody else, and must
/// not lock them out: persons and registered keys come first, then exact subjects, then patterns, the older before the
/// newer, and the rest is left out.
pub(crate) fn match_identities(
    snapshot: &Snapshot<'_>,
    rules: &Rules,
    upstream: &Upstream<'_>,
) -> Result<Vec<Identity>> {
    let mut found = Vec::new();
    snapshot.candidates(upstream.issuer, upstream.subject, |identity| {
        if identity.check(upstream, rules, snapshot.now).is_ok() {
            found.push(identity);
        }
        Ok(found.len() < MATCHES_LIMIT)
    })?;
    found.sort_by_cached_key(|identity| {
        let vagueness = match &identity.rule {
            Rule::ClaimMatch(rule) if rule.subject.exact().is_none() => 2,
            Rule::ClaimMatch(_) => 1,
            _ => 0,
        };
        (vagueness, identity.created_at, identity.id.clone())
    });
    found.truncate(IDENTITIES_LIMIT);
    Ok(found)
}

/// Finds the identity that a caller named, by id or full name, when an upstream token is of it. Otherwise says what of
/// the rule is not met; of what is not there, or known otherwise than by tokens, nothing more than that.
pub(crate) fn named_identity(
    snapshot: &Snapshot<'_>,
    rules: &Rules,
    upstream: &Upstream<'_>,
    reference: &str,
) -> Result<std::result::Result<Identity, String>> {
    let unknown = || Err(format!("{reference:?} is no identity of this token"));
    let by_token = |identity: &Identity| {
        matches!(
            identity.rule,
            Rule::ClaimMatch(_) | Rule::Static(_) | Rule::Human(_)
        )
    };
    let Some(identity) = find_identity(snapshot, reference)?.filter(by_token) else {
        return Ok(unknown());
    };
    Ok(match identity.check(upstream, rules, snapshot.now) {
        Ok(()) => Ok(identity),
        // Only who comes from the same issuer learns what else is missing.
        Err(Mismatch::Issuer | Mismatch::IssuerUnknown | Mismatch::Kind | Mismatch::Expired) => unknown(),
        Err(mismatch) => Err(format!("{reference}: {}", mismatch.describe(upstream))),
    })
}

/// Finds an identity by id or full name.
pub(crate) fn find_identity(snapshot: &Snapshot<'_>, reference: &str) -> Result<Option<Identity>> {
    match snapshot.identity(reference)? {
        Some(identity) => Ok(Some(identity)),
        None => snapshot.identity_by_name(reference),
    }
}

/// Whether a token of a configured issuer may have this audience: the issuer's own, that of its login client, or one
/// that an identity names. Asked before any key is fetched.
pub(crate) fn is_audience_known(
    snapshot: &Snapshot<'_>,
    rules: &Rules,
    issuer: &str,
    asked: &str,
) -> Result<bool> {
    let Some(facts) = rules.issuers.get(issuer) else {
        return Ok(false);
    };
    if asked == facts.audience || facts.login_client.as_deref() == Some(asked) {
        return Ok(true);
    }
    let named = snapshot.rules_with_audience(issuer, asked)?;
    Ok(named.iter().any(|rule| match rule {
        Rule::ClaimMatch(rule) => {
            rule.issuer.matches(issuer, &rules.patterns)
                && rule
                    .audience
                    .as_ref()
                    .is_some_and(|audience| audience.matches(asked, &rules.patterns))
        }
        _ => false,
    }))
}

/// Those claims that rules and conditions of the bearer's identities look at.
fn relevant_claims(
    snapshot: &Snapshot<'_>,
    holders: &[Holder],
    act: &Act,
) -> Result<BTreeMap<String, Value>> {
    let mut names = BTreeSet::new();
    for holder in holders {
        names.extend(holder.identity.rule.claim_names().map(str::to_owned));
        for conditions in snapshot.conditions_of(&holder.identity.id)? {
            names.extend(conditions.into_iter().map(|condition| condition.claim));
        }
    }
    Ok(names
        .into_iter()
        .filter_map(|name| {
            let value = act.claims.get(&name)?.clone();
            Some((name, value))
        })
        .collect())
}

/// What the configuration says of issuers, as rules look at it.
pub(crate) type SharedRules = Arc<Rules>;
