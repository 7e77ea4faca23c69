//! What roles are made of.

use std::fmt;

use roadstead_types::Action;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Declares the capabilities with their names, so that none can be forgotten in a list.
macro_rules! capabilities {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// One thing that an identity may be able to do at a resource.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Capability {
            $($(#[$doc])* $variant,)+
        }

        impl Capability {
            pub(crate) const EACH: &[Self] = &[$(Self::$variant,)+];

            pub(crate) const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

capabilities! {
    RepoPull = "repo.pull",
    RepoPush = "repo.push",
    RepoDelete = "repo.delete",
    RepoList = "repo.list",
    /// Reading audit events.
    EventsList = "events.list",
    GroupsCreate = "groups.create",
    GroupsList = "groups.list",
    GroupsUpdate = "groups.update",
    GroupsDelete = "groups.delete",
    IdentitiesCreate = "identities.create",
    IdentitiesList = "identities.list",
    IdentitiesUpdate = "identities.update",
    IdentitiesDelete = "identities.delete",
    RolesCreate = "roles.create",
    RolesList = "roles.list",
    RolesUpdate = "roles.update",
    RolesDelete = "roles.delete",
    BindingsCreate = "bindings.create",
    BindingsList = "bindings.list",
    BindingsDelete = "bindings.delete",
    PushPoliciesSet = "push_policies.set",
    PushPoliciesLift = "push_policies.lift",
    PullTokensCreate = "pull_tokens.create",
    PullTokensList = "pull_tokens.list",
    PullTokensRevoke = "pull_tokens.revoke",
}

impl Capability {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::EACH
            .iter()
            .copied()
            .find(|capability| capability.as_str() == name)
    }

    /// The capability that an action of registry tokens asks for.
    pub(crate) const fn of(action: Action) -> Self {
        match action {
            Action::Pull => Self::RepoPull,
            Action::Push => Self::RepoPush,
            Action::Delete => Self::RepoDelete,
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of capabilities. Serialises as a list of names.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CapabilitySet(u32);

impl CapabilitySet {
    pub(crate) const EMPTY: Self = Self(0);
    pub(crate) const ALL: Self = Self((1 << Capability::EACH.len()) - 1);

    pub(crate) const fn of(capabilities: &[Capability]) -> Self {
        let (mut set, mut index) = (0, 0);
        while index < capabilities.len() {
            set |= capabilities[index].bit();
            index += 1;
        }
        Self(set)
    }

    /// Reads names; an unknown one is the error.
    pub(crate) fn parse<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, &'n str> {
        names.into_iter().try_fold(Self::EMPTY, |set, name| {
            let capability = Capability::parse(name).ok_or(name)?;
            Ok(set.union(Self::of(&[capability])))
        })
    }

    pub(crate) const fn contains(self, capability: Capability) -> bool {
        self.0 & capability.bit() != 0
    }

    #[must_use]
    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[must_use]
    pub(crate) const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::EACH
            .iter()
            .copied()
            .filter(move |capability| self.contains(*capability))
    }

    pub(crate) fn names(self) -> Vec<String> {
        self.iter()
            .map(|capability| capability.as_str().to_owned())
            .collect()
    }
}

impl fmt::Debug for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for CapabilitySet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Capability::as_str))
    }
}

impl<'de> Deserialize<'de> for CapabilitySet {
    /// A name that this release does not know gives nothing: a newer release wrote it.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        let known = names.iter().filter_map(|name| Capability::parse(name));
        Ok(known.fold(Self::EMPTY, |set, capability| set.union(Self::of(&[capability]))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_capability_has_a_name_and_a_bit_of_its_own() {
        for capability in Capability::EACH {
            assert_eq!(Capability::parse(capability.as_str()), Some(*capability));
            assert_eq!(
                CapabilitySet::of(&[*capability]).iter().collect::<Vec<_>>(),
                [*capability]
            );
        }
        assert_eq!(CapabilitySet::ALL.iter().count(), Capability::EACH.len());
    }

    #[test]
    fn an_unknown_name_is_an_error_from_a_caller_and_nothing_from_the_database() {
        assert_eq!(
            CapabilitySet::parse(["repo.pull", "repo.fly"]).unwrap_err(),
            "repo.fly"
        );
        let stored: CapabilitySet = serde_json::from_str(r#"["repo.pull", "repo.fly"]"#).unwrap();
        assert_eq!(stored, CapabilitySet::of(&[Capability::RepoPull]));
        assert_eq!(serde_json::to_string(&stored).unwrap(), r#"["repo.pull"]"#);
    }
}
