//! Explanations: the evaluation that decides, told to whoever may read it.

use std::collections::BTreeSet;

use roadstead_authn::Act;
use roadstead_types::RepositoryName;
use serde_json::{Map, Value};

use super::{Caller, identities};
use crate::{
    access::{self, Bearer},
    domain::{
        ANONYMOUS, Asker, Capability, Claims, Explanation, Facts, Holder, Identity, Narrowing, Question,
        Resource, Rule, Upstream, evaluate, explain,
    },
    error::Error,
    store::{Result, Snapshot},
};

/// Identities with a role at a repository that claims are held against, though they match none of them.
const NEAR_MISSES: usize = 50;

/// Whose permissions are explained.
#[derive(Debug)]
pub(crate) enum Whom {
    Caller,
    Anonymous,
    /// By id or full name.
    Identity(String),
}

/// What is to be explained.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) repository: RepositoryName,
    pub(crate) capability: Capability,
    pub(crate) claims: Claims,
}

/// An explanation, with the identities that it is about.
pub(crate) type Explained = (Explanation, Vec<Identity>);

/// Explains whether an identity may do something, supposing that a token of it is shown.
pub(crate) fn permissions(
    snapshot: &Snapshot<'_>,
    caller: &Caller,
    whom: &Whom,
    asked: Asked,
) -> Result<Explained> {
    let resource = Resource::Repository(asked.repository);
    let asker = caller.bearer().asker(snapshot.now);
    match whom {
        Whom::Caller => {
            let facts = access::facts(snapshot, &caller.claims.provenance.identities, &resource)?;
            Ok(answer(caller, facts, &asker, asked.capability, &resource))
        }
        Whom::Anonymous => {
            caller.require(snapshot, Capability::BindingsList, &resource)?;
            let whole = Narrowing::default();
            let asker = Bearer::anonymous(&whole).asker(snapshot.now);
            let facts = access::facts(snapshot, &[], &resource)?;
            Ok(answer(caller, facts, &asker, asked.capability, &resource))
        }
        Whom::Identity(reference) => {
            caller.require(snapshot, Capability::BindingsList, &resource)?;
            let identity = identities::mentioned(snapshot, caller, reference)?;
            let facts = access::facts(snapshot, std::slice::from_ref(&identity.id), &resource)?;
            let claims = supposed_claims(&identity, asked.claims);
            let whole = Narrowing::default();
            let asker = Asker {
                upstream: Some(Upstream {
                    issuer: identity.rule.issuer().unwrap_or_default(),
                    subject: identity.rule.subject().unwrap_or_default(),
                    claims: &claims,
                }),
                narrowing: &whole,
                supposed: true,
                now: snapshot.now,
            };
            Ok(answer(caller, facts, &asker, asked.capability, &resource))
        }
    }
}

/// What a token of an identity has for certain, with what is supposed beside it.
fn supposed_claims(identity: &Identity, mut claims: Claims) -> Claims {
    if let Rule::ClaimMatch(rule) = &identity.rule {
        for (claim, text) in &rule.claims {
            if let Some(text) = text.exact() {
                claims.entry(claim.clone()).or_insert_with(|| Value::from(text));
            }
        }
    }
    claims
}

/// Explains what an upstream token with these claims would be allowed, as if its signature held. Identities that it is
/// not of, but that have a role there and are of its issuer, are held against it too, so that the answer tells what
/// differs.
pub(crate) fn claims(snapshot: &Snapshot<'_>, caller: &Caller, asked: Asked, act: &Act) -> Result<Explained> {
    let resource = Resource::Repository(asked.repository);
    caller.require(snapshot, Capability::BindingsList, &resource)?;
    let upstream = access::upstream(act);
    let matched = access::match_identities(snapshot, &caller.rules, &upstream)?;
    let mut ids: Vec<String> = matched.iter().map(|identity| identity.id.clone()).collect();
    let mut facts = access::facts(snapshot, &ids, &resource)?;
    // Of identities of other groups that have no role here, the caller learns nothing.
    let mut visible = Vec::new();
    for holder in facts.holders {
        let group = Resource::Group(holder.identity.group.clone());
        if !holder.bindings.is_empty() || caller.may(snapshot, Capability::IdentitiesList, &group)? {
            visible.push(holder);
        }
    }
    facts.holders = visible;
    ids.push(ANONYMOUS.to_owned());
    facts
        .holders
        .extend(near_misses(snapshot, caller, &resource, &upstream, &ids)?);
    let whole = Narrowing::default();
    let asker = Asker {
        upstream: Some(upstream),
        narrowing: &whole,
        supposed: false,
        now: snapshot.now,
    };
    let (explanation, mut identities) = answer(caller, facts, &asker, asked.capability, &resource);
    identities.retain(|identity| matched.iter().any(|other| other.id == identity.id));
    Ok((explanation, identities))
}

/// Identities of the issuer that have a role at a resource, without those that are known already.
fn near_misses(
    snapshot: &Snapshot<'_>,
    caller: &Caller,
    resource: &Resource,
    upstream: &Upstream<'_>,
    known: &[String],
) -> Result<Vec<Holder>> {
    let mut ids = BTreeSet::new();
    for path in resource.groups_above() {
        for binding in snapshot.bindings_here(path, NEAR_MISSES)? {
            if binding.resource.covers(resource) && !known.contains(&binding.identity) {
                ids.insert(binding.identity);
            }
        }
    }
    let ids: Vec<String> = ids.into_iter().collect();
    let mut holders = Vec::new();
    for chunk in ids.chunks(access::IDENTITIES_LIMIT) {
        holders.extend(access::facts(snapshot, chunk, resource)?.holders);
    }
    holders.retain(|holder| match &holder.identity.rule {
        Rule::ClaimMatch(rule) => rule.issuer.matches(upstream.issuer, &caller.rules.patterns),
        Rule::Static(keys) => keys.issuer == upstream.issuer,
        _ => false,
    });
    holders.truncate(NEAR_MISSES);
    // What a rule asks for is told to those who may read it.
    let mut readable = Vec::new();
    for holder in holders {
        if identities::is_visible(snapshot, caller, &holder.identity)? {
            readable.push(holder);
        }
    }
    Ok(readable)
}

fn answer(
    caller: &Caller,
    facts: Facts,
    asker: &Asker<'_>,
    capability: Capability,
    resource: &Resource,
) -> Explained {
    let question = Question {
        capability,
        resource,
        handed_on: None,
    };
    // The findings borrow the facts, whose identities are given away afterwards.
    let explanation = explain(
        &evaluate(&facts, asker, &question, &caller.rules),
        asker,
        &question,
    );
    let identities = facts.holders.into_iter().map(|holder| holder.identity);
    (explanation, identities.collect())
}

/// Reads claims of a request: a JSON object.
pub(crate) fn parse_claims(text: &str) -> Result<Claims, Error> {
    /// No identity token is longer.
    const LIMIT: usize = 32 * 1024;
    if text.is_empty() {
        return Ok(Claims::new());
    }
    if text.len() > LIMIT {
        return Err(Error::argument(format!(
            "the claims have more than {LIMIT} bytes"
        )));
    }
    let claims: Map<String, Value> =
        serde_json::from_str(text).map_err(|_| Error::argument("the claims are no JSON object"))?;
    Ok(claims.into_iter().collect())
}
