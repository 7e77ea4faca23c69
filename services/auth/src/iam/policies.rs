//! Where only workloads may push.

use roadstead_types::RepositoryPrefix;
use serde_json::json;

use super::{
    Caller, Page, groups,
    list::{pages, visible},
};
use crate::{
    domain::{Capability, Resource, event::AuditEvent},
    store::{PolicyRow, Result, Snapshot, Subject, Tx},
};

/// Marks a resource, or lifts its mark. What people were given there is revoked when it is marked.
pub(crate) fn set(tx: &Tx<'_>, caller: &Caller, resource: &Resource, marked: bool) -> Result<()> {
    let capability = if marked {
        Capability::PushPoliciesSet
    } else {
        Capability::PushPoliciesLift
    };
    caller.require(tx, capability, resource)?;
    if let Resource::Group(path) = resource {
        groups::require_group(tx, path)?;
    }
    let changed = if marked {
        tx.set_policy(resource, &caller.principal().to_string())?
    } else {
        tx.lift_policy(resource)?
    };
    if !changed {
        return Ok(());
    }
    let kind = if marked {
        let prefix = RepositoryPrefix::parse(resource.path()).unwrap_or_default();
        tx.revoke(&Subject::Prefix(prefix))?;
        "dev.roadstead.iam.push_policy.set.v1"
    } else {
        tx.change()?;
        "dev.roadstead.iam.push_policy.lifted.v1"
    };
    tx.announce(&AuditEvent {
        kind,
        path: resource.path().to_owned(),
        subject: resource.path().to_owned(),
        data: json!({ "policy": "workload-only", "resource_kind": resource.kind() }),
        author: caller.author.clone(),
    })
}

/// Lists marks on resources that the caller may see, by path.
pub(crate) fn list(
    snapshot: &Snapshot<'_>,
    caller: &Caller,
    path: &RepositoryPrefix,
    page: &Page,
) -> Result<(Vec<PolicyRow>, String)> {
    let reach = caller.reach(snapshot, Capability::GroupsList)?;
    pages(
        &format!("policies {path}"),
        page,
        &visible(reach, &Resource::Group(path.clone())),
        |span, after, limit| {
            let after = after.split_once(' ').unwrap_or_default();
            snapshot.policies_within(span, after, limit)
        },
        |mark| format!("{} {}", mark.resource.path(), mark.resource.kind()),
    )
}
