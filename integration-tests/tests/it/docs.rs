//! The documentation says what the programs do.

mod configuration;
mod errors;
mod keys;

use anyhow::{Context as _, Result};
use roadstead_integration_tests::programs;

/// A document of the repository.
fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(programs::repository().join(path)).with_context(|| format!("read {path}"))
}
