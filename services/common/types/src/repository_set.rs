//! Some of the repositories.

use std::collections::BTreeSet;

use crate::{RepositoryName, RepositoryPrefix};

/// Repositories by prefix and one by one, as permissions give them. Asking costs the same however many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepositorySet {
    /// As text, so that a part of a name can be looked up.
    prefixes: BTreeSet<String>,
    repositories: BTreeSet<String>,
}

impl RepositorySet {
    /// Takes what another service says. A text that is no name adds nothing: what cannot be read allows nothing.
    pub fn from_texts(prefixes: &[String], repositories: &[String]) -> Self {
        let prefixes = prefixes
            .iter()
            .filter_map(|prefix| RepositoryPrefix::parse(prefix).ok())
            .map(|prefix| prefix.as_str().to_owned());
        let repositories = repositories
            .iter()
            .filter(|name| RepositoryName::parse(name).is_ok())
            .cloned();
        Self {
            prefixes: prefixes.collect(),
            repositories: repositories.collect(),
        }
    }

    /// Whether the repository is in the set.
    pub fn contains(&self, name: &RepositoryName) -> bool {
        let name = name.as_str();
        let above = name.match_indices('/').map(|(end, _)| &name[..end]);
        self.repositories.contains(name)
            || std::iter::once("")
                .chain(above)
                .chain([name])
                .any(|prefix| self.prefixes.contains(prefix))
    }

    /// Whether every repository is in the set, also those that are not there yet.
    pub fn is_everything(&self) -> bool {
        self.prefixes.contains("")
    }

    /// The prefixes, without trailing slashes; the empty text is every repository.
    pub fn prefixes(&self) -> impl Iterator<Item = &str> {
        self.prefixes.iter().map(String::as_str)
    }

    /// The single repositories.
    pub fn repositories(&self) -> impl Iterator<Item = &str> {
        self.repositories.iter().map(String::as_str)
    }
}
