//! Private parsers, for the fuzz targets in `integration-tests/fuzz`.

use crate::{docker_config, host::RegistryHost};

/// Adds the credential helper of a registry to a client's configuration; none when it is there already.
///
/// # Errors
///
/// When the configuration is not one.
pub fn with_helper(content: &[u8], host: &RegistryHost) -> Result<Option<Vec<u8>>, String> {
    docker_config::with_helper(content, host)
}

/// The names under which a registry is written into a client's configuration.
pub fn aliases(host: &RegistryHost) -> Vec<String> {
    host.aliases()
}

/// The name of the file that keeps a registry's token.
pub fn cache_name(host: &RegistryHost) -> String {
    host.cache_name()
}
