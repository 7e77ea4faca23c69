//! The merged tree.

use std::fmt;

use figment::value::{Dict, Value};
use figment::{Figment, Profile, Provider};
use serde::de::DeserializeOwned;

use super::nearest::suggestion;
use super::reader::{Reader, Validate};
use super::redact::redacted;
use super::{ConfigError, ConfigSources};

/// Every section that some process reads. A process ignores the others', and refuses all further names.
pub const SECTIONS: [&str; 8] = [
    "gateway",
    "auth",
    "metadata",
    "blobs",
    "events",
    "runtime",
    "telemetry",
    "rpc",
];

/// The merged configuration of a process.
#[derive(Clone)]
pub struct ConfigTree {
    figment: Figment,
    root: Dict,
}

impl ConfigTree {
    /// Reads and merges `sources`.
    ///
    /// Unknown sections are reported by [`Reader::finish`], together with everything else.
    ///
    /// # Errors
    ///
    /// If the file can't be read or isn't TOML.
    pub fn load(sources: ConfigSources) -> Result<Self, ConfigError> {
        if let Some(file) = sources.file.as_deref().filter(|file| !file.is_file()) {
            return Err(ConfigError::new(format!("there is no file {}", file.display())));
        }
        Self::of(sources.figment())
    }

    pub(crate) fn of(figment: Figment) -> Result<Self, ConfigError> {
        let mut profiles = figment
            .data()
            .map_err(|error| ConfigError::new(error.to_string()))?;
        let root = profiles.remove(&Profile::Default).unwrap_or_default();
        Ok(Self { figment, root })
    }

    /// Starts reading sections; problems are collected until [`Reader::finish`].
    pub fn reader(&self) -> Reader<'_> {
        Reader::new(self)
    }

    /// Reads one section.
    ///
    /// # Errors
    ///
    /// All unknown, ill-typed and invalid keys of this section, and all unknown sections.
    pub fn section<T: DeserializeOwned + Default + Validate>(&self, name: &str) -> Result<T, ConfigError> {
        let mut reader = self.reader();
        let section = reader.section(name);
        reader.finish()?;
        Ok(section)
    }

    /// Returns this tree with `key` set, as a flag would.
    #[must_use]
    pub fn with(self, key: &str, value: impl Into<Value>) -> Self {
        let sources = ConfigSources {
            overrides: vec![(key.to_owned(), value.into())],
            ..ConfigSources::default()
        };
        let figment = self.figment.merge(sources.figment());
        let root = figment
            .data()
            .ok()
            .and_then(|mut data| data.remove(&Profile::Default))
            .unwrap_or(self.root);
        Self { figment, root }
    }

    /// Returns whether any source sets `key`.
    pub fn contains(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// Renders what the sources set as TOML, with secrets replaced by `***`.
    pub fn redacted(&self) -> String {
        redacted(&self.root)
    }

    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        let (first, rest) = match key.split_once('.') {
            Some((first, rest)) => (first, Some(rest)),
            None => (key, None),
        };
        let value = self.root.get(first)?;
        rest.map_or(Some(value), |rest| value.find_ref(rest))
    }

    /// Says which file, variable or flag a value came from.
    pub(super) fn origin(&self, value: &Value) -> Option<String> {
        let metadata = self.figment.get_metadata(value.tag())?;
        Some(match &metadata.source {
            Some(source) => source.to_string(),
            None => metadata.name.replace('`', ""),
        })
    }

    pub(super) fn unknown_sections(&self) -> Vec<String> {
        let unknown = self
            .root
            .iter()
            .filter(|(name, _)| !SECTIONS.contains(&name.as_str()));
        unknown
            .map(|(name, value)| {
                let origin = self
                    .origin(value)
                    .map(|origin| format!(" ({origin})"))
                    .unwrap_or_default();
                format!("{name}: unknown section, {}{origin}", suggestion(name, &SECTIONS))
            })
            .collect()
    }
}

impl fmt::Debug for ConfigTree {
    /// Shows what [`ConfigTree::redacted`] shows: secrets must not reach a log through `{:?}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConfigTree").field(&self.redacted()).finish()
    }
}
