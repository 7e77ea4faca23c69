//! The administration: who may do what to groups, identities, roles and bindings, and what follows from it.
//!
//! Each operation is one function in one transaction: it asks what the caller may do, changes, revokes what the change
//! takes away, and announces it. A capability is asked for before anything is looked up, so that a refusal says nothing
//! of what is there; what a caller may not see is unknown.

pub(crate) mod bindings;
mod caller;
pub(crate) mod explain;
pub(crate) mod groups;
pub(crate) mod identities;
mod list;
pub(crate) mod policies;
pub(crate) mod pull_tokens;
pub(crate) mod roles;
pub(crate) mod rule;

pub(crate) use caller::Caller;
pub(crate) use list::Page;

use roadstead_types::{RepositoryName, RepositoryPrefix};

use crate::{domain::Resource, error::Error};

/// The longest display name or description, in bytes.
const TEXT_LIMIT: usize = 1024;

/// How the ids of the store begin; no name may look like one.
const ID_PREFIXES: [&str; 3] = ["idn_", "bnd_", "ptk_"];

/// Parses the path of a group; the empty text is the root.
pub(crate) fn group_path(text: &str) -> Result<RepositoryPrefix, Error> {
    if text.ends_with('/') {
        return Err(Error::NameInvalid("a path has no slash at its end".to_owned()));
    }
    RepositoryPrefix::parse(text).map_err(|error| Error::NameInvalid(error.to_string()))
}

/// Parses the path of a group that can be made: the root is there.
pub(crate) fn new_group_path(text: &str) -> Result<RepositoryName, Error> {
    RepositoryName::parse(text).map_err(|error| Error::NameInvalid(error.to_string()))
}

/// Parses the name of something in a group: one component of a repository's name.
pub(crate) fn own_name(text: &str) -> Result<String, Error> {
    if text.contains('/') {
        return Err(Error::NameInvalid(
            "it is one component, without a slash".to_owned(),
        ));
    }
    RepositoryName::parse(text).map_err(|error| Error::NameInvalid(error.to_string()))?;
    if ID_PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
        return Err(Error::NameInvalid("it looks like an id".to_owned()));
    }
    Ok(text.to_owned())
}

/// Checks a text for people.
pub(crate) fn plain_text(text: &str) -> Result<String, Error> {
    if text.len() > TEXT_LIMIT || text.chars().any(char::is_control) {
        return Err(Error::argument(format!(
            "a text for people has at most {TEXT_LIMIT} bytes and no control characters"
        )));
    }
    Ok(text.to_owned())
}

/// The group that a group lies in.
fn parent(path: &RepositoryName) -> RepositoryPrefix {
    let above = path.as_str().rsplit_once('/').map_or("", |(above, _)| above);
    above.parse().unwrap_or_default()
}

/// The group whose members administer a resource: itself, or the one that a repository lies in.
fn group_of(resource: &Resource) -> RepositoryPrefix {
    match resource {
        Resource::Group(path) => path.clone(),
        Resource::Repository(name) => parent(name),
    }
}
