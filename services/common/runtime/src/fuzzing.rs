//! Private parsers, for the fuzz targets in `integration-tests/fuzz`.

use figment::{
    Figment,
    providers::{Format as _, Toml},
};

use crate::config::{ConfigError, ConfigTree};

/// Reads a configuration as from a file with this text.
///
/// # Errors
///
/// When the text is not TOML.
pub fn tree(text: &str) -> Result<ConfigTree, ConfigError> {
    ConfigTree::of(Figment::new().merge(Toml::string(text)))
}
