//! Reading sections while collecting everything that is wrong with them.

use figment::error::{Actual, Kind};
use figment::value::Value;
use serde::de::DeserializeOwned;

use super::nearest::suggestion;
use super::{ConfigError, ConfigTree};

/// A section that can say what is wrong with it.
pub trait Validate {
    /// Adds one line for each problem, beginning with the key within the section: `ttl: must not exceed one hour`.
    fn validate(&self, problems: &mut Vec<String>);
}

/// Reads sections of a [`ConfigTree`].
#[derive(Debug)]
pub struct Reader<'a> {
    tree: &'a ConfigTree,
    problems: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(tree: &'a ConfigTree) -> Self {
        Self {
            tree,
            problems: tree.unknown_sections(),
        }
    }

    /// Reads the section `name`. With problems in it, the result is only good for finding more of them.
    pub fn section<T: DeserializeOwned + Default + Validate>(&mut self, name: &str) -> T {
        let mut refused = Vec::new();
        let section = self
            .tree
            .value(name)
            .cloned()
            .and_then(|value| self.deserialize(name, value, &mut refused));
        let section: T = section.unwrap_or_default();
        let mut invalid = Vec::new();
        section.validate(&mut invalid);
        // A key that was refused is absent from the value validated: "required" would contradict what was just said.
        invalid.retain(|problem| !refused.iter().any(|key: &String| is_about(problem, key)));
        self.problems
            .extend(invalid.into_iter().map(|problem| format!("{name}.{problem}")));
        section
    }

    /// Reads a single key, whoever owns its section.
    pub fn key<T: DeserializeOwned>(&mut self, key: &str) -> Option<T> {
        let value = self.tree.value(key)?;
        match value.deserialize() {
            Ok(value) => Some(value),
            Err(error) => {
                let line = self.line(key, value, &error.kind);
                self.problem(line);
                None
            }
        }
    }

    /// Returns whether any source sets `key`.
    pub fn contains(&self, key: &str) -> bool {
        self.tree.contains(key)
    }

    /// Adds a problem that only the caller can see.
    pub fn problem(&mut self, problem: impl Into<String>) {
        let problem = problem.into();
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Ends the reading.
    ///
    /// # Errors
    ///
    /// All problems found so far.
    pub fn finish(self) -> Result<(), ConfigError> {
        ConfigError::from_problems(self.problems).map_or(Ok(()), Err)
    }

    /// Deserialises by taking out each value that is refused and trying again, so that one run reports all of them.
    fn deserialize<T: DeserializeOwned>(
        &mut self,
        name: &str,
        mut value: Value,
        refused: &mut Vec<String>,
    ) -> Option<T> {
        loop {
            let error = match value.deserialize::<T>() {
                Ok(section) => return Some(section),
                Err(error) => error,
            };
            let path = within_section(&error);
            let key = std::iter::once(name)
                .chain(path.iter().map(String::as_str))
                .collect::<Vec<_>>()
                .join(".");
            let culprit = value.find_ref(&path.join(".")).unwrap_or(&value).clone();
            let line = self.line(&key, &culprit, &error.kind);
            self.problem(line);
            refused.push(path.join("."));
            if !take_out(&mut value, &path) {
                return None;
            }
        }
    }

    fn line(&self, key: &str, value: &Value, kind: &Kind) -> String {
        let what = match kind {
            Kind::UnknownField(field, known) => format!("unknown key, {}", suggestion(field, known)),
            Kind::UnknownVariant(variant, known) => {
                format!("`{variant}` is not known, {}", suggestion(variant, known))
            }
            Kind::MissingField(field) => format!("`{field}` is missing"),
            // The value itself stays out of the message: it may be a secret put under the wrong key.
            Kind::InvalidType(actual, expected) => format!("expected {expected}, found {}", name_of(actual)),
            Kind::InvalidValue(_, expected) => format!("expected {expected}"),
            other => other.to_string(),
        };
        let origin = self
            .tree
            .origin(value)
            .map(|origin| format!(" ({origin})"))
            .unwrap_or_default();
        format!("{key}: {what}{origin}")
    }
}

fn name_of(actual: &Actual) -> &'static str {
    match actual {
        Actual::Bool(_) => "a boolean",
        Actual::Unsigned(_) | Actual::Signed(_) => "an integer",
        Actual::Float(_) => "a float",
        Actual::Char(_) | Actual::Str(_) => "a string",
        Actual::Seq => "an array",
        Actual::Map => "a table",
        _ => "something else",
    }
}

/// Says whether a problem begins with `key`, rather than with a longer name.
fn is_about(problem: &str, key: &str) -> bool {
    let rest = problem.strip_prefix(key);
    rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_'))
}

fn within_section(error: &figment::Error) -> Vec<String> {
    let mut path = error.path.clone();
    if let Kind::UnknownField(field, _) = &error.kind
        && path.last() != Some(field)
    {
        path.push(field.clone());
    }
    path
}

/// Removes the value at `path`, or the nearest named value around it, and says whether anything was removed.
fn take_out(value: &mut Value, path: &[String]) -> bool {
    let Some((first, rest)) = path.split_first() else {
        return false;
    };
    match value {
        Value::Dict(_, table) => {
            if let Some(inner) = table.get_mut(first)
                && take_out(inner, rest)
            {
                return true;
            }
            table.remove(first).is_some()
        }
        // An element that can't be read takes its whole array along, because the others' positions must not move.
        Value::Array(_, items) => first
            .parse()
            .ok()
            .and_then(|index: usize| items.get_mut(index))
            .is_some_and(|item| take_out(item, rest)),
        _ => false,
    }
}
