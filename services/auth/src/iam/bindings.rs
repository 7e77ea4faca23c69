//! Bindings.

use roadstead_types::RepositoryPrefix;
use serde_json::json;

use super::{
    Caller, Page, group_of, identities,
    list::{pages, visible},
};
use crate::{
    access::find_identity,
    domain::{
        ANONYMOUS, Binding, Capability, CapabilitySet, Condition, Resource, Rule,
        event::{AuditEvent, Author, new_id},
        role::{REGISTRY_PULL, built_in},
    },
    error::Error,
    store::{Result, Snapshot, Subject, Tx},
};

/// Gives an identity a role at a resource. The caller must have everything that the role gives there.
pub(crate) fn create(
    tx: &Tx<'_>,
    caller: &Caller,
    identity: &str,
    role: &str,
    resource: Resource,
    conditions: Vec<Condition>,
) -> Result<Binding> {
    caller.require(tx, Capability::BindingsCreate, &resource)?;
    let capabilities = capabilities_for(tx, caller, role, &resource)?;
    caller.require_to_give(tx, capabilities, &resource, &conditions)?;
    let identity = identities::mentioned(tx, caller, identity)?;
    match identity.rule {
        Rule::Anonymous if role != REGISTRY_PULL || !conditions.is_empty() => {
            return Err(Error::argument(format!(
                "everybody can be given {REGISTRY_PULL} only, and under no conditions"
            )));
        }
        Rule::PullToken => return Err(Error::argument("a pull token is for what it was made for")),
        _ => {}
    }
    tx.ensure_groups(group_of(&resource).as_str(), &caller.author)?;
    let binding = Binding {
        id: format!("bnd_{}", new_id(tx.now).simple()),
        identity: identity.id,
        role: role.to_owned(),
        capabilities,
        resource,
        conditions,
        created_at: tx.now,
        created_by: caller.principal().to_string(),
    };
    if !tx.insert_binding(&binding)? {
        return Err(Error::AlreadyExists("the binding".to_owned()));
    }
    tx.change()?;
    announce(
        tx,
        "dev.roadstead.iam.binding.created.v1",
        &caller.author,
        &binding,
    )?;
    Ok(binding)
}

/// What a role gives that can be given at a resource: built-in roles everywhere, others in their group and below.
fn capabilities_for(
    snapshot: &Snapshot<'_>,
    caller: &Caller,
    role: &str,
    resource: &Resource,
) -> Result<CapabilitySet> {
    if let Some(role) = built_in(role) {
        return Ok(role.capabilities);
    }
    let found = snapshot.custom_role(role)?.ok_or(Error::NotFound("role"))?;
    let group = Resource::Group(found.group);
    if group.covers(resource) {
        return Ok(found.capabilities);
    }
    if caller.may(snapshot, Capability::RolesList, &group)? {
        return Err(Error::argument(format!(
            "the role {role} can be given in {group} and below only"
        )));
    }
    Err(Error::NotFound("role"))
}

/// Finds a binding that the caller may see.
pub(crate) fn get(snapshot: &Snapshot<'_>, caller: &Caller, id: &str) -> Result<Binding> {
    let binding = snapshot.binding(id)?.ok_or(Error::NotFound("binding"))?;
    let own = caller.claims.provenance.identities.contains(&binding.identity);
    if own || caller.may(snapshot, Capability::BindingsList, &binding.resource)? {
        Ok(binding)
    } else {
        Err(Error::NotFound("binding"))
    }
}

/// Lists bindings that the caller may see, by path; perhaps of one identity only.
pub(crate) fn list(
    snapshot: &Snapshot<'_>,
    caller: &Caller,
    group: &RepositoryPrefix,
    identity: &str,
    page: &Page,
) -> Result<(Vec<Binding>, String)> {
    let id = match identity {
        "" => None,
        // Of one that is not there, nothing is listed: the answer does not tell whether it is.
        reference => {
            let found = find_identity(snapshot, reference)?;
            Some(found.map_or_else(String::new, |identity| identity.id))
        }
    };
    let reach = caller.reach(snapshot, Capability::BindingsList)?;
    pages(
        &format!("bindings {group} {identity}"),
        page,
        &visible(reach, &Resource::Group(group.clone())),
        |span, after, limit| {
            let after = after.split_once(' ').unwrap_or_default();
            snapshot.bindings_within(span, id.as_deref(), after, limit)
        },
        |binding| format!("{} {}", binding.resource.path(), binding.id),
    )
}

/// Takes a role back, and revokes what was signed under it.
pub(crate) fn delete(tx: &Tx<'_>, caller: &Caller, id: &str) -> Result<()> {
    let binding = get(tx, caller, id)?;
    caller.require(tx, Capability::BindingsDelete, &binding.resource)?;
    tx.delete_binding(&binding.id)?;
    revoke(tx, &binding)?;
    announce(
        tx,
        "dev.roadstead.iam.binding.deleted.v1",
        &caller.author,
        &binding,
    )
}

fn revoke(tx: &Tx<'_>, binding: &Binding) -> Result<()> {
    tx.revoke(&if binding.identity == ANONYMOUS {
        Subject::Prefix(RepositoryPrefix::parse(binding.resource.path()).unwrap_or_default())
    } else {
        Subject::Identity(binding.identity.clone())
    })
}

/// Tells of a binding.
pub(crate) fn announce(tx: &Tx<'_>, kind: &'static str, author: &Author, binding: &Binding) -> Result<()> {
    tx.announce(&AuditEvent {
        kind,
        path: binding.resource.path().to_owned(),
        subject: binding.id.clone(),
        data: json!({
            "binding": binding.id,
            "identity": binding.identity,
            "role": binding.role,
            "resource_kind": binding.resource.kind(),
            "conditions": binding.conditions,
        }),
        author: author.clone(),
    })
}
