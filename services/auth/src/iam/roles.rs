//! Custom roles.

use roadstead_types::RepositoryPrefix;
use serde_json::json;

use super::{
    Caller, Page, groups,
    list::{pages, visible},
};
use crate::{
    domain::{
        Capability, CapabilitySet, Resource,
        event::AuditEvent,
        role::{CustomRole, built_in, full_name},
    },
    error::Error,
    store::{Result, Snapshot, Subject, Tx},
};

/// Makes a role, and its group if that is missing. The caller must have all of it at the group, because it can be given there and below.
pub(crate) fn create(
    tx: &Tx<'_>,
    caller: &Caller,
    group: RepositoryPrefix,
    name: &str,
    description: String,
    capabilities: CapabilitySet,
) -> Result<CustomRole> {
    let resource = Resource::Group(group.clone());
    caller.require(tx, Capability::RolesCreate, &resource)?;
    groups::require_or_create(tx, caller, &group)?;
    caller.require_to_give(tx, capabilities, &resource, &[])?;
    let role = CustomRole {
        name: full_name(&group, name),
        group,
        description,
        capabilities,
    };
    if built_in(&role.name).is_some() || tx.custom_role(&role.name)?.is_some() {
        return Err(Error::AlreadyExists(format!("the role {}", role.name)));
    }
    tx.insert_role(&role, &caller.principal().to_string())?;
    tx.change()?;
    announce(tx, "dev.roadstead.iam.role.created.v1", caller, &role)?;
    Ok(role)
}

/// Finds a custom role that the caller may see.
pub(crate) fn get(snapshot: &Snapshot<'_>, caller: &Caller, name: &str) -> Result<CustomRole> {
    let role = snapshot.custom_role(name)?.ok_or(Error::NotFound("role"))?;
    let group = Resource::Group(role.group.clone());
    if caller.may(snapshot, Capability::RolesList, &group)? {
        Ok(role)
    } else {
        Err(Error::NotFound("role"))
    }
}

/// Lists custom roles of groups that the caller may see, by full name.
pub(crate) fn list(
    snapshot: &Snapshot<'_>,
    caller: &Caller,
    group: &RepositoryPrefix,
    page: &Page,
) -> Result<(Vec<CustomRole>, String)> {
    let reach = caller.reach(snapshot, Capability::RolesList)?;
    let spans: Vec<_> = visible(reach, &Resource::Group(group.clone()))
        .into_iter()
        .filter(|resource| matches!(resource, Resource::Group(_)))
        .collect();
    pages(
        &format!("roles {group}"),
        page,
        &spans,
        |span, after, limit| snapshot.roles_within(span.path(), after, limit),
        |role| role.name.clone(),
    )
}

/// Replaces description and capabilities. What the role no longer gives is revoked wherever it may have been given.
pub(crate) fn update(
    tx: &Tx<'_>,
    caller: &Caller,
    name: &str,
    description: String,
    capabilities: CapabilitySet,
) -> Result<CustomRole> {
    let mut role = changeable(tx, caller, Capability::RolesUpdate, name)?;
    let resource = Resource::Group(role.group.clone());
    caller.require_to_give(tx, capabilities, &resource, &[])?;
    let narrowed = !role.capabilities.difference(capabilities).is_empty();
    role.description = description;
    role.capabilities = capabilities;
    tx.update_role(&role.name, &role.description, role.capabilities)?;
    if narrowed {
        tx.revoke(&Subject::Prefix(role.group.clone()))?;
    } else {
        tx.change()?;
    }
    announce(tx, "dev.roadstead.iam.role.updated.v1", caller, &role)?;
    Ok(role)
}

/// Deletes a role that nobody has.
pub(crate) fn delete(tx: &Tx<'_>, caller: &Caller, name: &str) -> Result<()> {
    let role = changeable(tx, caller, Capability::RolesDelete, name)?;
    if tx.is_bound(&role.name)? {
        return Err(Error::NotEmpty("identities still have the role"));
    }
    tx.delete_role(&role.name)?;
    tx.change()?;
    announce(tx, "dev.roadstead.iam.role.deleted.v1", caller, &role)
}

/// Finds a role that the caller may change. What they cannot even see is unknown to them.
fn changeable(
    snapshot: &Snapshot<'_>,
    caller: &Caller,
    capability: Capability,
    name: &str,
) -> Result<CustomRole> {
    if built_in(name).is_some() {
        return Err(Error::RoleBuiltIn);
    }
    let role = snapshot.custom_role(name)?.ok_or(Error::NotFound("role"))?;
    let group = Resource::Group(role.group.clone());
    if caller.may(snapshot, capability, &group)? {
        Ok(role)
    } else if caller.may(snapshot, Capability::RolesList, &group)? {
        Err(caller.lacks(capability, &group))
    } else {
        Err(Error::NotFound("role"))
    }
}

fn announce(tx: &Tx<'_>, kind: &'static str, caller: &Caller, role: &CustomRole) -> Result<()> {
    tx.announce(&AuditEvent {
        kind,
        path: role.group.to_string(),
        subject: role.name.clone(),
        data: json!({
            "role": role.name,
            "description": role.description,
            "capabilities": role.capabilities,
        }),
        author: caller.author.clone(),
    })
}
