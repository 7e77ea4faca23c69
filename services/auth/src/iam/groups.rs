//! Groups.

use roadstead_types::{RepositoryName, RepositoryPrefix};
use serde_json::json;

use super::{
    Caller, Page, identities,
    list::{pages, visible},
    parent,
};
use crate::{
    domain::{
        Capability, Resource,
        event::{AuditEvent, Author},
    },
    error::Error,
    store::{GroupRow, Result, Snapshot, Subject, Tx},
};

/// Makes a group and the missing ones above it.
pub(crate) fn create(
    tx: &Tx<'_>,
    caller: &Caller,
    path: &RepositoryName,
    display_name: &str,
    restore: bool,
) -> Result<GroupRow> {
    let above = Resource::Group(parent(path));
    caller.require(tx, Capability::GroupsCreate, &above)?;
    if restore {
        caller.require(tx, Capability::GroupsDelete, &above)?;
    }
    let existing = tx.group(path.as_str())?;
    match existing {
        Some(group) if group.deleted && !restore => return Err(Error::PathTombstoned(path.to_string())),
        Some(group) if !group.deleted => return Err(Error::AlreadyExists(format!("the group {path}"))),
        _ => {}
    }
    tx.ensure_groups(above.path(), &caller.author)?;
    put(tx, path.as_str(), display_name, restore, &caller.author)?;
    tx.change()?;
    tx.group(path.as_str())?.ok_or(Error::NotFound("group"))
}

fn put(tx: &Tx<'_>, path: &str, display_name: &str, restored: bool, author: &Author) -> Result<()> {
    tx.put_group(path, display_name, &author.principal.to_string())?;
    announce(
        tx,
        "dev.roadstead.iam.group.created.v1",
        path,
        author,
        json!({ "display_name": display_name, "restored": restored }),
    )
}

impl Tx<'_> {
    /// Makes a group and those above it, as far as they are missing.
    ///
    /// # Errors
    ///
    /// [`Error::PathTombstoned`] when one of them was deleted: its path is not used again unasked.
    pub(crate) fn ensure_groups(&self, path: &str, author: &Author) -> Result<()> {
        let resource = Resource::Group(RepositoryPrefix::parse(path).unwrap_or_default());
        for path in resource.groups_above() {
            match self.group(path)? {
                Some(group) if group.deleted => return Err(Error::PathTombstoned(path.to_owned())),
                Some(_) => {}
                None => put(self, path, "", false, author)?,
            }
        }
        Ok(())
    }
}

/// Finds a group that the caller may see.
pub(crate) fn get(snapshot: &Snapshot<'_>, caller: &Caller, path: &RepositoryPrefix) -> Result<GroupRow> {
    let resource = Resource::Group(path.clone());
    if !caller.may(snapshot, Capability::GroupsList, &resource)? {
        return Err(Error::NotFound("group"));
    }
    existing(snapshot, path)
}

fn existing(snapshot: &Snapshot<'_>, path: &RepositoryPrefix) -> Result<GroupRow> {
    snapshot
        .group(path.as_str())?
        .filter(|group| !group.deleted)
        .ok_or(Error::NotFound("group"))
}

/// Sees to it that a group is there: a missing one is made, with those above it, where the caller may make it.
pub(super) fn require_or_create(tx: &Tx<'_>, caller: &Caller, path: &RepositoryPrefix) -> Result<()> {
    match tx.group(path.as_str())? {
        Some(group) if group.deleted => Err(Error::PathTombstoned(path.to_string())),
        Some(_) => Ok(()),
        None => {
            let above = RepositoryName::parse(path.as_str())
                .map_or(RepositoryPrefix::EVERYTHING, |path| parent(&path));
            caller.require(tx, Capability::GroupsCreate, &Resource::Group(above))?;
            tx.ensure_groups(path.as_str(), &caller.author)
        }
    }
}

/// Demands that a group is there.
pub(super) fn require_group(snapshot: &Snapshot<'_>, path: &RepositoryPrefix) -> Result<()> {
    existing(snapshot, path).map(drop)
}

/// Lists groups that the caller may see, by path. The root, which is always there, is not among them.
pub(crate) fn list(
    snapshot: &Snapshot<'_>,
    caller: &Caller,
    path: &RepositoryPrefix,
    page: &Page,
) -> Result<(Vec<GroupRow>, String)> {
    let reach = caller.reach(snapshot, Capability::GroupsList)?;
    let spans: Vec<_> = visible(reach, &Resource::Group(path.clone()))
        .into_iter()
        .filter(|resource| matches!(resource, Resource::Group(_)))
        .collect();
    pages(
        &format!("groups {path}"),
        page,
        &spans,
        |span, after, limit| snapshot.groups_within(span.path(), after, limit),
        |group| group.path.to_string(),
    )
}

/// Changes the display name.
pub(crate) fn update(
    tx: &Tx<'_>,
    caller: &Caller,
    path: &RepositoryPrefix,
    display_name: &str,
) -> Result<GroupRow> {
    caller.require(tx, Capability::GroupsUpdate, &Resource::Group(path.clone()))?;
    existing(tx, path)?;
    tx.rename_group(path.as_str(), display_name)?;
    announce(
        tx,
        "dev.roadstead.iam.group.updated.v1",
        path.as_str(),
        &caller.author,
        json!({ "display_name": display_name }),
    )?;
    existing(tx, path)
}

/// Deletes a group without groups below it, with its identities, its roles and every binding in it. What any of them gave
/// is revoked; the path is not used again unasked, and nothing is pushed below it. Marks of who may push stay: they are
/// lifted by whoever may lift them, also when the group is restored.
pub(crate) fn delete(tx: &Tx<'_>, caller: &Caller, path: &RepositoryName) -> Result<()> {
    let prefix = RepositoryPrefix::parse(path.as_str()).unwrap_or_default();
    caller.require(tx, Capability::GroupsDelete, &Resource::Group(prefix.clone()))?;
    existing(tx, &prefix)?;
    if tx.has_groups_below(path.as_str())? {
        return Err(Error::NotEmpty("there are groups below it"));
    }
    for id in tx.identity_ids_in(path.as_str())? {
        tx.delete_identity(&id)?;
        identities::revoke(tx, &id)?;
    }
    tx.delete_bindings_within(path.as_str())?;
    tx.delete_roles_of(path.as_str())?;
    tx.bury_group(path.as_str())?;
    tx.revoke(&Subject::Prefix(prefix))?;
    announce(
        tx,
        "dev.roadstead.iam.group.deleted.v1",
        path.as_str(),
        &caller.author,
        json!({}),
    )
}

fn announce(
    tx: &Tx<'_>,
    kind: &'static str,
    path: &str,
    author: &Author,
    data: serde_json::Value,
) -> Result<()> {
    tx.announce(&AuditEvent {
        kind,
        path: path.to_owned(),
        subject: path.to_owned(),
        data,
        author: author.clone(),
    })
}
