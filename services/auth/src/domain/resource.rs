//! Where a role can be given: a group, or one repository.

use std::fmt;

use roadstead_types::{NameError, RepositoryName, RepositoryPrefix};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A group with all that is below it, or a single repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Resource {
    /// Itself, the groups below it, and every repository whose name it is a prefix of.
    Group(RepositoryPrefix),
    /// This one alone.
    Repository(RepositoryName),
}

impl Resource {
    pub(crate) const ROOT: Self = Self::Group(RepositoryPrefix::EVERYTHING);

    /// Parses `acme/web` (a group), `repository:acme/web`, or `group:acme/web`; the empty text is the root.
    pub(crate) fn parse(text: &str) -> Result<Self, NameError> {
        if let Some(name) = text.strip_prefix("repository:") {
            return RepositoryName::parse(name).map(Self::Repository);
        }
        let path = text.strip_prefix("group:").unwrap_or(text);
        RepositoryPrefix::parse(path).map(Self::Group)
    }

    /// Reads what [`kind`](Self::kind) and [`path`](Self::path) give.
    pub(crate) fn from_columns(kind: &str, path: &str) -> Result<Self, NameError> {
        match kind {
            "repository" => RepositoryName::parse(path).map(Self::Repository),
            _ => RepositoryPrefix::parse(path).map(Self::Group),
        }
    }

    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Group(_) => "group",
            Self::Repository(_) => "repository",
        }
    }

    pub(crate) fn path(&self) -> &str {
        match self {
            Self::Group(path) => path.as_str(),
            Self::Repository(name) => name.as_str(),
        }
    }

    /// Whether what is given here holds there too.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Repository(name), Self::Repository(other)) => name == other,
            (Self::Repository(_), Self::Group(_)) => false,
            (Self::Group(path), other) => is_within(other.path(), path.as_str()),
        }
    }

    /// The paths of the groups that cover this resource, from the root down. A repository's own name is among them: a
    /// group of that path covers it.
    pub(crate) fn groups_above(&self) -> impl Iterator<Item = &str> {
        let path = self.path();
        let own = (!path.is_empty()).then_some(path);
        std::iter::once("")
            .chain(path.match_indices('/').map(|(end, _)| &path[..end]))
            .chain(own)
    }
}

/// Whether a path is `above` itself or below it, by whole segments.
pub(crate) fn is_within(path: &str, above: &str) -> bool {
    above.is_empty()
        || path
            .strip_prefix(above)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl fmt::Display for Resource {
    /// For sentences: `group acme`, `repository acme/web`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(path) if path.as_str().is_empty() => f.write_str("the root group"),
            Self::Group(path) => write!(f, "group {path}"),
            Self::Repository(name) => write!(f, "repository {name}"),
        }
    }
}

impl Serialize for Resource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Group(path) => serializer.collect_str(path),
            Self::Repository(name) => serializer.collect_str(&format_args!("repository:{name}")),
        }
    }
}

impl<'de> Deserialize<'de> for Resource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::root("", "acme/web", true)]
    #[case::itself("acme/web", "acme/web", true)]
    #[case::below("acme", "acme/web", true)]
    #[case::whole_segments("acme/web", "acme/website", false)]
    #[case::not_upwards("acme/web", "acme", false)]
    #[case::group_of_the_name("acme/web", "repository:acme/web", true)]
    #[case::repository("repository:acme/web", "repository:acme/web", true)]
    #[case::repository_has_nothing_below("repository:acme", "repository:acme/web", false)]
    #[case::repository_is_no_group("repository:acme/web", "acme/web", false)]
    fn a_resource_covers(#[case] here: &str, #[case] there: &str, #[case] expected: bool) {
        let (here, there) = (Resource::parse(here).unwrap(), Resource::parse(there).unwrap());
        assert_eq!(here.covers(&there), expected);
    }

    #[test]
    fn the_groups_above_begin_with_the_root() {
        let above = |text| {
            let resource = Resource::parse(text).unwrap();
            resource.groups_above().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(above("repository:a/b/c"), ["", "a", "a/b", "a/b/c"]);
        assert_eq!(above("a"), ["", "a"]);
        assert_eq!(above(""), [""]);
    }

    proptest! {
        #[test]
        fn what_covers_is_among_the_groups_above(
            here in "([ab]{1,2}/){0,2}[ab]{1,2}",
            there in "([ab]{1,2}/){0,3}[ab]{1,2}",
        ) {
            let group = Resource::parse(&here).unwrap();
            let repository = Resource::parse(&format!("repository:{there}")).unwrap();
            let above = repository.groups_above().any(|path| path == here);
            prop_assert_eq!(group.covers(&repository), above);
        }

        #[test]
        fn a_resource_survives_its_text(text in "(repository:)?[a-c]{1,3}(/[a-c]{1,3}){0,3}") {
            let resource = Resource::parse(&text).unwrap();
            let json = serde_json::to_string(&resource).unwrap();
            prop_assert_eq!(serde_json::from_str::<Resource>(&json).unwrap(), resource.clone());
            let columns = Resource::from_columns(resource.kind(), resource.path()).unwrap();
            prop_assert_eq!(columns, resource);
        }
    }
}
