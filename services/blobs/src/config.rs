//! The `[blobs]` section.

use std::{path::PathBuf, time::Duration};

use roadstead_runtime::Validate;
use serde::Deserialize;

use crate::memory;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// Where bytes are kept and how much of what an upload may take. All sizes are in bytes.
///
/// ```
/// let config: roadstead_blobs::Config = toml::from_str(
///     r#"
///     root = "/srv/roadstead/blobs"
///     upload_memory = 134217728
///     chunk_idle_timeout = "30s"
///     "#,
/// )
/// .unwrap();
/// assert_eq!(config.upload_memory, 128 * 1024 * 1024);
/// assert_eq!(config.max_blob_size, 64 * 1024 * 1024 * 1024);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The directory of all bytes; `<runtime.data_dir>/blobs` when absent.
    pub root: Option<PathBuf>,
    /// File with the key that blobs shares with metadata. Only read where the two are separate processes.
    pub seal_key_file: Option<PathBuf>,
    /// What all uploads together may have in memory. Credit for more is not granted.
    pub upload_memory: u64,
    /// What a single upload may have in memory, once it has shown that it sends faster than that is written.
    pub upload_window: u64,
    /// After so many bytes an upload's state goes back to the caller, who saves it: what is repeated at most after a
    /// crash of the gateway.
    pub checkpoint_interval: u64,
    /// Larger blobs are refused with `BLOB_TOO_LARGE`.
    pub max_blob_size: u64,
    /// Bytes of the disk that uploads leave free. What is needed to give the rest back is written there too: the databases
    /// on the same disk, where deletions and cancelled uploads are recorded.
    pub disk_reserve: u64,
    /// How long an upload may bring nothing, or next to nothing, before it is given up. The time that it waits for credit
    /// does not count.
    #[serde(with = "humantime_serde")]
    pub chunk_idle_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            root: None,
            seal_key_file: None,
            // Twelve uploads at full speed and 64 that begin, or 256 slow ones.
            upload_memory: 64 * MIB,
            // Covers the bandwidth-delay product of 10 Gbit/s at 3 ms, and is large against one scheduling quantum.
            upload_window: 4 * MIB,
            checkpoint_interval: 64 * MIB,
            max_blob_size: 64 * GIB,
            // As much as the log of metadata's database grows to.
            disk_reserve: 64 * MIB,
            chunk_idle_timeout: Duration::from_mins(1),
        }
    }
}

impl Validate for Config {
    fn validate(&self, problems: &mut Vec<String>) {
        if self.upload_window < memory::FIRST_CREDIT {
            problems.push(format!(
                "upload_window: is {} but must be at least {} bytes",
                self.upload_window,
                memory::FIRST_CREDIT
            ));
        }
        if self.upload_memory < self.upload_window {
            problems.push("upload_memory: must not be less than upload_window".to_owned());
        }
        if self.checkpoint_interval == 0 {
            problems.push("checkpoint_interval: must not be 0".to_owned());
        }
        if self.max_blob_size == 0 {
            problems.push("max_blob_size: must not be 0, for nothing could be pushed".to_owned());
        }
        if self.chunk_idle_timeout.is_zero() {
            problems.push("chunk_idle_timeout: must not be 0".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_every_problem_is_named() {
        let problems = |config: Config| {
            let mut problems = Vec::new();
            config.validate(&mut problems);
            problems
        };
        assert_eq!(problems(Config::default()), Vec::<String>::new());
        let zero = Duration::ZERO;
        let config = Config {
            upload_memory: 5,
            upload_window: 1,
            max_blob_size: 0,
            chunk_idle_timeout: zero,
            ..Config::default()
        };
        let problems = problems(config);
        for key in ["upload_window", "max_blob_size", "chunk_idle_timeout"] {
            assert!(
                problems
                    .iter()
                    .any(|problem| problem.starts_with(&format!("{key}: "))),
                "{problems:?}"
            );
        }
        assert_eq!(problems.len(), 3);
    }
}
