//! Where the values come from.

use std::path::PathBuf;

use figment::providers::{Env, Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::ConfigError;

/// Environment variables that begin with this belong to the configuration; the rest of the name is the key, with `__`
/// between its parts: `ROADSTEAD__BLOBS__ROOT`.
const ENVIRONMENT_PREFIX: &str = "ROADSTEAD__";

/// What to read, from the weakest to the strongest.
#[derive(Debug, Clone)]
pub struct ConfigSources {
    /// A TOML file. It must exist if named.
    pub file: Option<PathBuf>,
    /// Whether `ROADSTEAD__SECTION__KEY` variables count; tests say no.
    pub environment: bool,
    /// Keys (`gateway.listen`) that flags set.
    pub overrides: Vec<(String, Value)>,
}

impl Default for ConfigSources {
    /// No file, no environment, no flags.
    fn default() -> Self {
        Self {
            file: None,
            environment: false,
            overrides: Vec::new(),
        }
    }
}

impl ConfigSources {
    /// Reads `file`, if given, and the environment.
    pub fn from_file(file: Option<PathBuf>) -> Self {
        Self {
            file,
            environment: true,
            overrides: Vec::new(),
        }
    }

    pub(super) fn figment(self) -> Figment {
        let mut figment = Figment::new();
        if let Some(file) = self.file {
            figment = figment.merge(Toml::file_exact(file));
        }
        if self.environment {
            figment = figment.merge(Env::prefixed(ENVIRONMENT_PREFIX).split("__"));
        }
        figment.merge(Flags(self.overrides))
    }
}

/// Splits `section.key=value`; the value is TOML, or else taken as a string.
///
/// # Errors
///
/// If there is no `=` or the key has no section.
pub fn parse_assignment(text: &str) -> Result<(String, Value), ConfigError> {
    let (key, value) = text
        .split_once('=')
        .filter(|(key, _)| key.contains('.'))
        .ok_or_else(|| ConfigError::new(format!("`{text}` is not of the form section.key=value")))?;
    let parsed = toml::from_str::<Dict>(&format!("value = {value}"))
        .ok()
        .and_then(|mut table| table.remove("value"))
        // Such a number would be wider than TOML's, in which the configuration is shown.
        .filter(|value| toml::Value::try_from(value).is_ok());
    Ok((
        key.trim().to_owned(),
        parsed.unwrap_or_else(|| Value::from(value)),
    ))
}

struct Flags(Vec<(String, Value)>);

impl Provider for Flags {
    fn metadata(&self) -> Metadata {
        Metadata::named("flags")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let mut root = Dict::new();
        for (key, value) in &self.0 {
            insert(&mut root, key, value.clone());
        }
        Ok(Profile::Default.collect(root))
    }
}

fn insert(table: &mut Dict, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((first, rest)) => {
            let entry = table
                .entry(first.to_owned())
                .or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, inner) = entry {
                insert(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_toml_or_strings() {
        let (key, value) = parse_assignment("gateway.listen=127.0.0.1:0").expect("string");
        assert_eq!(
            (key.as_str(), value.as_str()),
            ("gateway.listen", Some("127.0.0.1:0"))
        );
        let (_, value) = parse_assignment("gateway.dev=true").expect("boolean");
        assert_eq!(value.to_bool(), Some(true));
        let (_, value) = parse_assignment("gateway.page_size=277777777777777777777777777777").expect("text");
        assert!(value.as_str().is_some(), "TOML has no such number");

        assert!(parse_assignment("listen=1").is_err());
        assert!(parse_assignment("gateway.dev").is_err());
    }
}
