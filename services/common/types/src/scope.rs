//! Scopes of the Docker token protocol: `repository:acme/web:pull,push`.

use std::{collections::BTreeMap, fmt, str::FromStr};

use crate::{Action, ActionSet, NameError, RepositoryName};

/// Why a text is not a scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// There are no two colons in the text, or the type is empty.
    #[error("a scope has the form type:name:action,action")]
    Malformed,
    /// The scope is about a repository that cannot exist.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// What a scope is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// `repository:<name>`.
    Repository(RepositoryName),
    /// `registry:catalog`: the list of all repositories.
    Catalog,
    /// Something that this registry does not know, and grants nothing on.
    Other {
        /// The type, without the class in parentheses.
        resource_type: String,
        /// The name; it may contain colons.
        name: String,
    },
}

/// Actions on one resource, as a client asks for them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// What the scope is about.
    pub resource: Resource,
    /// What is asked for.
    pub actions: ActionSet,
}

impl Scope {
    /// Makes a scope of a repository.
    pub fn repository(name: RepositoryName, actions: impl Into<ActionSet>) -> Self {
        Self {
            resource: Resource::Repository(name),
            actions: actions.into(),
        }
    }

    /// Parses `type[(class)]:name:action[,action]`. The name may hold a host and a port, so the type ends at the first
    /// colon and the actions start after the last one. The class is ignored.
    ///
    /// # Errors
    ///
    /// When the text is not of that form, or names a repository that cannot exist.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        let (resource_type, rest) = text.split_once(':').ok_or(ScopeError::Malformed)?;
        let (name, actions) = rest.rsplit_once(':').ok_or(ScopeError::Malformed)?;
        let resource_type = match resource_type.split_once('(') {
            Some((resource_type, class)) if class.ends_with(')') => resource_type,
            Some(_) => return Err(ScopeError::Malformed),
            None => resource_type,
        };
        if resource_type.is_empty() || name.is_empty() {
            return Err(ScopeError::Malformed);
        }
        let resource = match (resource_type, name) {
            ("repository", name) => Resource::Repository(RepositoryName::parse(name)?),
            ("registry", "catalog") => Resource::Catalog,
            _ => Resource::Other {
                resource_type: resource_type.to_owned(),
                name: name.to_owned(),
            },
        };
        Ok(Self {
            resource,
            actions: ActionSet::parse(actions),
        })
    }

    /// Unites scopes of the same resource; clients send them duplicated and overlapping. Keeps the order in which
    /// resources came first.
    pub fn merge(scopes: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let mut merged: Vec<Self> = Vec::new();
        let mut positions = BTreeMap::new();
        for scope in scopes {
            if let Some(&position) = positions.get(&scope.resource) {
                let earlier: &mut Self = &mut merged[position];
                earlier.actions = earlier.actions.union(scope.actions);
            } else {
                positions.insert(scope.resource.clone(), merged.len());
                merged.push(scope);
            }
        }
        merged
    }

    /// The type as a token's `access` claim writes it.
    pub fn resource_type(&self) -> &str {
        match &self.resource {
            Resource::Repository(_) => "repository",
            Resource::Catalog => "registry",
            Resource::Other { resource_type, .. } => resource_type,
        }
    }

    /// The name as a token's `access` claim writes it.
    pub fn name(&self) -> &str {
        match &self.resource {
            Resource::Repository(name) => name.as_str(),
            Resource::Catalog => "catalog",
            Resource::Other { name, .. } => name,
        }
    }

    /// Whether the scope is of this repository and has the action.
    pub fn allows(&self, repository: &RepositoryName, action: Action) -> bool {
        matches!(&self.resource, Resource::Repository(name) if name == repository)
            && self.actions.contains(action)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.resource_type(), self.name())?;
        // The catalog's only action is written `*`, and clients ask for it so.
        if self.resource == Resource::Catalog && self.actions == ActionSet::ALL {
            f.write_str("*")
        } else {
            self.actions.fmt(f)
        }
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        Self::parse(text)
    }
}
