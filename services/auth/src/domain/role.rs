//! Roles: names for sets of capabilities.

use roadstead_types::RepositoryPrefix;

use super::{Capability as C, CapabilitySet};

/// The role of whoever may do everything.
pub(crate) const OWNER: &str = "owner";
/// The one role that everybody may be given.
pub(crate) const REGISTRY_PULL: &str = "registry.pull";

/// A role that is in every registry. No group has it: its name has no slash, and a group's role in the root group cannot
/// take it.
#[derive(Debug)]
pub(crate) struct BuiltIn {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) capabilities: CapabilitySet,
}

/// A role that a group made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CustomRole {
    /// The full name: group path, slash, own name.
    pub(crate) name: String,
    pub(crate) group: RepositoryPrefix,
    pub(crate) description: String,
    pub(crate) capabilities: CapabilitySet,
}

const PULL: CapabilitySet = CapabilitySet::of(&[C::RepoPull, C::RepoList]);
const VIEW: CapabilitySet = PULL.union(CapabilitySet::of(&[
    C::EventsList,
    C::GroupsList,
    C::IdentitiesList,
    C::RolesList,
    C::BindingsList,
    C::PullTokensList,
]));

pub(crate) const BUILT_IN: &[BuiltIn] = &[
    BuiltIn {
        name: "editor",
        description: "sees everything, pushes and deletes content, makes groups",
        capabilities: VIEW.union(CapabilitySet::of(&[
            C::RepoPush,
            C::RepoDelete,
            C::GroupsCreate,
            C::GroupsUpdate,
        ])),
    },
    BuiltIn {
        name: OWNER,
        description: "may do everything",
        capabilities: CapabilitySet::ALL,
    },
    BuiltIn {
        name: REGISTRY_PULL,
        description: "pulls",
        capabilities: PULL,
    },
    BuiltIn {
        name: "registry.pull_token_creator",
        description: "pulls, and manages pull tokens",
        capabilities: PULL.union(CapabilitySet::of(&[
            C::GroupsList,
            C::PullTokensCreate,
            C::PullTokensList,
            C::PullTokensRevoke,
        ])),
    },
    BuiltIn {
        name: "registry.push",
        description: "pulls and pushes",
        capabilities: PULL.union(CapabilitySet::of(&[C::RepoPush])),
    },
    BuiltIn {
        name: "viewer",
        description: "pulls, and sees everything",
        capabilities: VIEW,
    },
];

/// Finds a built-in role.
pub(crate) fn built_in(name: &str) -> Option<&'static BuiltIn> {
    BUILT_IN.iter().find(|role| role.name == name)
}

/// What has a name in a group: an identity or a role.
pub(crate) fn full_name(group: &RepositoryPrefix, name: &str) -> String {
    match group.as_str() {
        "" => name.to_owned(),
        path => format!("{path}/{name}"),
    }
}

/// Divides a full name into the path of the group and the name in it.
pub(crate) fn split_full_name(full: &str) -> (&str, &str) {
    full.rsplit_once('/').unwrap_or(("", full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_build_on_each_other() {
        let of = |name| built_in(name).unwrap().capabilities;
        for (wider, narrower) in [
            ("owner", "editor"),
            ("editor", "viewer"),
            ("viewer", "registry.pull"),
            ("registry.push", "registry.pull"),
            ("registry.pull_token_creator", "registry.pull"),
        ] {
            assert!(
                of(narrower).difference(of(wider)).is_empty(),
                "{narrower} in {wider}"
            );
            assert_ne!(of(narrower), of(wider));
        }
        assert!(!of("viewer").contains(C::RepoPush));
        assert!(!of("editor").contains(C::BindingsCreate));
        assert!(!of("registry.pull_token_creator").contains(C::RepoPush));
    }

    #[test]
    fn they_are_listed_by_name() {
        assert!(BUILT_IN.is_sorted_by_key(|role| role.name));
    }
}
