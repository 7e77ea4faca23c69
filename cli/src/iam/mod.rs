//! `roadstead iam`: who may do what where.

mod bindings;
mod groups;
mod identities;
mod policy;
mod push_policy;
mod roles;

use std::{io::Read as _, path::Path};

use roadstead_proto::auth::v1::{IdentitySummary, Resource, ResourceKind};
use roadstead_types::Clock;
use serde_json::{Value, json};

use crate::{
    args::{Iam, Target},
    cache::TokenCache,
    error::Error,
};

pub(crate) use bindings::summary as binding_summary;
pub(crate) use policy::{WhoAmI, may, who_am_i};

pub(crate) async fn run(command: Iam, cache: &TokenCache, clock: &Clock) -> Result<(), Error> {
    match command {
        Iam::Groups(command) => groups::run(command, cache, clock).await,
        Iam::Identities(command) => identities::run(command, cache, clock).await,
        Iam::Roles(command) => roles::run(command, cache, clock).await,
        Iam::Bindings(command) => bindings::run(command, cache, clock).await,
        Iam::PushPolicy(command) => push_policy::run(command, cache, clock).await,
        Iam::Explain(flags) => policy::explain(flags, cache, clock).await,
        Iam::Test(flags) => policy::test(flags, cache, clock).await,
    }
}

impl From<Target> for Resource {
    fn from(target: Target) -> Self {
        match target {
            Target {
                repo: Some(repository),
                ..
            } => repository_resource(repository),
            Target { group, .. } => group_resource(group.unwrap_or_default()),
        }
    }
}

pub(crate) fn group_resource(path: String) -> Resource {
    Resource {
        kind: ResourceKind::Group.into(),
        path,
    }
}

pub(crate) fn repository_resource(path: String) -> Resource {
    Resource {
        kind: ResourceKind::Repository.into(),
        path,
    }
}

/// A resource as people and other commands read it.
pub(crate) fn resource_text(resource: &Resource) -> String {
    match resource.kind() {
        ResourceKind::Repository => format!("repository {}", resource.path),
        _ if resource.path.is_empty() => "everything".to_owned(),
        _ => format!("group {}", resource.path),
    }
}

pub(crate) fn resource_json(resource: &Resource) -> Value {
    match resource.kind() {
        ResourceKind::Repository => json!({ "repository": resource.path }),
        _ => json!({ "group": resource.path }),
    }
}

pub(crate) fn identity_json(identity: &IdentitySummary) -> Value {
    json!({ "id": identity.id, "name": identity.name, "kind": identity.kind })
}

/// The group and the own name of a full name.
fn split_name(name: &str) -> (String, String) {
    let (group, own) = name.rsplit_once('/').unwrap_or(("", name));
    (group.to_owned(), own.to_owned())
}

/// Claims from a JSON file, or from standard input for `-`, as the text that was given.
fn read_claims(path: &Path) -> Result<String, Error> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(Error::file("read", "standard input"))?;
    } else {
        text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
    }
    match serde_json::from_str(&text) {
        Ok(Value::Object(_)) => Ok(text),
        Ok(_) => Err(Error::Usage(format!("{} holds no JSON object", path.display()))),
        Err(error) => Err(Error::Usage(format!("{} holds no JSON: {error}", path.display()))),
    }
}
