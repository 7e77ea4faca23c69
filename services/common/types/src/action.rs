//! What may be done to a repository.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::serde_as_text;

/// One thing that a token may allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Reading manifests, blobs, tags and referrers.
    Pull,
    /// Adding content and moving tags.
    Push,
    /// Removing manifests, tags and blobs.
    Delete,
}

impl Action {
    const EACH: [Self; 3] = [Self::Pull, Self::Push, Self::Delete];

    /// The action's name in scopes and tokens.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Pull => 1,
            Self::Push => 2,
            Self::Delete => 4,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text is none of the actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the action is none of pull, push and delete")]
pub struct ActionError;

impl FromStr for Action {
    type Err = ActionError;

    fn from_str(text: &str) -> Result<Self, ActionError> {
        Self::EACH
            .into_iter()
            .find(|action| action.as_str() == text)
            .ok_or(ActionError)
    }
}

serde_as_text!(Action);

/// A set of actions. Serialises as a list of names.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionSet(u8);

impl ActionSet {
    /// No action.
    pub const EMPTY: Self = Self(0);
    /// Every action; `*` in a scope.
    pub const ALL: Self = Self(7);

    /// Parses a comma-separated list. `*` stands for all. Names that are not actions are skipped: they could not be
    /// granted, and a token is answered with what can be.
    pub fn parse(text: &str) -> Self {
        Self::from_names(text.split(','))
    }

    fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        names
            .into_iter()
            .fold(Self::EMPTY, |set, name| match name.trim() {
                "*" => Self::ALL,
                name => name.parse().map_or(set, |action| set.with(action)),
            })
    }

    /// Whether the action is in the set.
    pub const fn contains(self, action: Action) -> bool {
        self.0 & action.bit() != 0
    }

    /// Whether every action of `other` is in the set.
    pub const fn contains_all(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The set and one action more.
    #[must_use]
    pub const fn with(self, action: Action) -> Self {
        Self(self.0 | action.bit())
    }

    /// Actions that are in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Actions that are in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Actions that are in this set but not in the other.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there is no action in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The actions in the order pull, push, delete.
    pub fn iter(self) -> impl Iterator<Item = Action> {
        Action::EACH
            .into_iter()
            .filter(move |action| self.contains(*action))
    }
}

impl FromIterator<Action> for ActionSet {
    fn from_iter<I: IntoIterator<Item = Action>>(actions: I) -> Self {
        actions.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl From<Action> for ActionSet {
    fn from(action: Action) -> Self {
        Self::EMPTY.with(action)
    }
}

/// Comma-separated, as in a scope.
impl fmt::Display for ActionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, action) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            f.write_str(action.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for ActionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActionSet({self})")
    }
}

impl Serialize for ActionSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for ActionSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        if let Some(name) = names
            .iter()
            .find(|name| *name != "*" && name.parse::<Action>().is_err())
        {
            return Err(serde::de::Error::custom(format_args!("{name:?}: {ActionError}")));
        }
        Ok(Self::from_names(names.iter().map(String::as_str)))
    }
}
