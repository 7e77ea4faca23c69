//! Identities.

use roadstead_types::RepositoryPrefix;
use serde_json::json;

use super::{
    Caller, Page, groups,
    list::{pages, visible},
};
use crate::{
    access::find_identity,
    domain::{
        ANONYMOUS, Capability, Identity, Resource, Rule,
        event::{AuditEvent, new_id},
        human_id,
        role::full_name,
    },
    error::Error,
    store::{Result, Snapshot, Subject, Tx},
};

/// An identity that is to be made.
#[derive(Debug)]
pub(crate) struct Proposed {
    pub(crate) group: RepositoryPrefix,
    /// None for a person.
    pub(crate) name: Option<String>,
    pub(crate) description: String,
    pub(crate) rule: Rule,
    pub(crate) expires_at: Option<i64>,
}

/// Makes an identity, and its group if that is missing.
///
/// A person belongs to no group, because who they are is the same for all; whoever may make identities anywhere may make
/// one, so that permissions can be given before the first login.
pub(crate) fn create(tx: &Tx<'_>, caller: &Caller, proposed: Proposed) -> Result<Identity> {
    let group = Resource::Group(proposed.group.clone());
    caller.require(tx, Capability::IdentitiesCreate, &group)?;
    groups::require_or_create(tx, caller, &proposed.group)?;
    let (id, group) = match &proposed.rule {
        Rule::Human(human) => (
            human_id(&human.issuer, &human.subject),
            RepositoryPrefix::EVERYTHING,
        ),
        _ => (format!("idn_{}", new_id(tx.now).simple()), proposed.group),
    };
    let identity = Identity {
        id,
        group,
        name: proposed.name,
        description: proposed.description,
        rule: proposed.rule,
        created_at: tx.now,
        created_by: caller.principal().to_string(),
        expires_at: proposed.expires_at,
        last_used_at: None,
    };
    refuse_double(tx, &identity)?;
    tx.insert_identity(&identity)?;
    tx.change()?;
    announce(tx, "dev.roadstead.iam.identity.created.v1", caller, &identity)?;
    Ok(identity)
}

fn refuse_double(snapshot: &Snapshot<'_>, identity: &Identity) -> Result<()> {
    if snapshot.identity(&identity.id)?.is_some()
        || snapshot.identity_by_name(&identity.full_name())?.is_some()
    {
        return Err(Error::AlreadyExists(format!(
            "the identity {}",
            identity.full_name()
        )));
    }
    refuse_double_keys(snapshot, identity)
}

/// Two identities of the same keys' issuer and subject could not be told apart.
fn refuse_double_keys(snapshot: &Snapshot<'_>, identity: &Identity) -> Result<()> {
    if let Rule::Static(keys) = &identity.rule
        && snapshot
            .static_identity(&keys.issuer, &keys.subject)?
            .is_some_and(|other| other.id != identity.id)
    {
        return Err(Error::AlreadyExists(
            "an identity with this issuer and subject".to_owned(),
        ));
    }
    Ok(())
}

/// Finds an identity that the caller may see: by its group, or because it is their own.
pub(crate) fn get(snapshot: &Snapshot<'_>, caller: &Caller, reference: &str) -> Result<Identity> {
    let identity = find_identity(snapshot, reference)?.ok_or(Error::NotFound("identity"))?;
    if is_visible(snapshot, caller, &identity)? {
        Ok(identity)
    } else {
        Err(Error::NotFound("identity"))
    }
}

/// Whether the caller may see an identity: by its group, or because it is their own.
pub(super) fn is_visible(snapshot: &Snapshot<'_>, caller: &Caller, identity: &Identity) -> Result<bool> {
    let own = caller.claims.provenance.identities.contains(&identity.id);
    let group = Resource::Group(identity.group.clone());
    Ok(own || identity.id == ANONYMOUS || caller.may(snapshot, Capability::IdentitiesList, &group)?)
}

/// Finds an identity that the caller means. By its id anybody may mean it: an id is not guessed, and that of a person
/// follows from who they are. By its name only those may who see it.
pub(super) fn mentioned(snapshot: &Snapshot<'_>, caller: &Caller, reference: &str) -> Result<Identity> {
    match snapshot.identity(reference)? {
        Some(identity) => Ok(identity),
        None => get(snapshot, caller, reference),
    }
}

/// Lists identities of groups that the caller may see, by full name.
pub(crate) fn list(
    snapshot: &Snapshot<'_>,
    caller: &Caller,
    group: &RepositoryPrefix,
    kind: Option<&str>,
    page: &Page,
) -> Result<(Vec<Identity>, String)> {
    let reach = caller.reach(snapshot, Capability::IdentitiesList)?;
    let spans: Vec<_> = visible(reach, &Resource::Group(group.clone()))
        .into_iter()
        .filter(|resource| matches!(resource, Resource::Group(_)))
        .collect();
    pages(
        &format!("identities {group} {}", kind.unwrap_or_default()),
        page,
        &spans,
        |span, after, limit| snapshot.identities_within(span.path(), kind, after, limit),
        Identity::full_name,
    )
}

/// Replaces the description, and the rule where one is given.
///
/// Whoever decides who an identity is has what it has, so that the caller must be able to give all of it. What the old
/// rule matched is revoked.
pub(crate) fn update(
    tx: &Tx<'_>,
    caller: &Caller,
    reference: &str,
    description: String,
    rule: Option<(Rule, Option<i64>)>,
) -> Result<Identity> {
    let mut identity = changeable(tx, caller, Capability::IdentitiesUpdate, reference)?;
    identity.description = description;
    if let Some((rule, expires_at)) = rule {
        if rule.kind() != identity.rule.kind() {
            return Err(Error::IdentityInvalid(format!(
                "it is of the kind {}, which does not change",
                identity.rule.kind()
            )));
        }
        caller.require_to_give_all_of(tx, &identity)?;
        identity.rule = rule;
        identity.expires_at = expires_at;
        refuse_double_keys(tx, &identity)?;
        revoke(tx, &identity.id)?;
    }
    tx.update_identity(&identity)?;
    announce(tx, "dev.roadstead.iam.identity.updated.v1", caller, &identity)?;
    Ok(identity)
}

/// Deletes an identity with its bindings, and revokes its tokens.
pub(crate) fn delete(tx: &Tx<'_>, caller: &Caller, reference: &str) -> Result<()> {
    let identity = changeable(tx, caller, Capability::IdentitiesDelete, reference)?;
    tx.delete_identity(&identity.id)?;
    revoke(tx, &identity.id)?;
    announce(tx, "dev.roadstead.iam.identity.deleted.v1", caller, &identity)
}

/// Finds an identity that the caller may change. What they cannot even see is unknown to them.
fn changeable(
    snapshot: &Snapshot<'_>,
    caller: &Caller,
    capability: Capability,
    reference: &str,
) -> Result<Identity> {
    let identity = find_identity(snapshot, reference)?.ok_or(Error::NotFound("identity"))?;
    let group = Resource::Group(identity.group.clone());
    if !caller.may(snapshot, capability, &group)? {
        return Err(if is_visible(snapshot, caller, &identity)? {
            caller.lacks(capability, &group)
        } else {
            Error::NotFound("identity")
        });
    }
    match identity.rule {
        Rule::Anonymous => Err(Error::IdentityInvalid(
            "everybody is in every registry and does not change".to_owned(),
        )),
        Rule::PullToken => Err(Error::IdentityInvalid(
            "pull tokens are managed as such".to_owned(),
        )),
        _ => Ok(identity),
    }
}

/// Ends every token of an identity, those that were decided and those that came of its rule, and its sessions: a person
/// who is made again has the same id.
pub(super) fn revoke(tx: &Tx<'_>, id: &str) -> Result<()> {
    tx.revoke(&Subject::Identity(id.to_owned()))?;
    tx.revoke(&Subject::rule_of(id))?;
    tx.end_sessions_of(id)
}

fn announce(tx: &Tx<'_>, kind: &'static str, caller: &Caller, identity: &Identity) -> Result<()> {
    tx.announce(&AuditEvent {
        kind,
        path: identity.group.to_string(),
        subject: identity.id.clone(),
        data: json!({
            "identity": identity.id,
            "name": identity.name.as_ref().map(|name| full_name(&identity.group, name)),
            "rule": identity.rule,
            "description": identity.description,
        }),
        author: caller.author.clone(),
    })
}
