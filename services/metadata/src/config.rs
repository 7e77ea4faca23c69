//! The `[metadata]` section.

use std::path::PathBuf;
use std::time::Duration;

use roadstead_runtime::Validate;
use roadstead_types::{MANIFEST_SIZE_LIMIT, RepositoryPrefix};
use serde::Deserialize;

/// The longest that a push may go on under a token that expired.
const PUSH_GRANT_LIMIT: Duration = Duration::from_hours(6);

/// Whether a manifest may name content that its repository does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ManifestValidation {
    /// The config, the layers and an index's children must be in the repository, and stay while a manifest names them.
    /// A subject and foreign layers never need to be.
    Strict,
    /// Anything may be missing, as in sparse mirrors.
    Lenient,
}

/// One `[[metadata.repositories]]` entry. For each property the longest prefix that sets it wins.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepositoryConfig {
    /// Whole path segments; the empty string is every repository.
    pub prefix: String,
    /// Overrides `metadata.manifest_validation`.
    #[serde(default)]
    pub manifest_validation: Option<ManifestValidation>,
}

/// Configuration of the metadata service.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether a manifest may name what its repository lacks.
    pub manifest_validation: ManifestValidation,
    /// Bytes of the largest manifest accepted. Clients refuse to pull more than 4 MiB.
    pub manifest_size_limit: usize,
    /// Tags that one push may set; the specification asks for at least 10.
    pub max_tags_per_push: usize,
    /// Rules by repository prefix.
    pub repositories: Vec<RepositoryConfig>,
    /// How long an upload session may be idle before its bytes are discarded.
    #[serde(with = "humantime_serde")]
    pub upload_session_ttl: Duration,
    /// How long a finished session answers a repeated finish.
    #[serde(with = "humantime_serde")]
    pub finished_upload_ttl: Duration,
    /// How long a push grant may be unused.
    #[serde(with = "humantime_serde")]
    pub push_grant_idle: Duration,
    /// The longest that a push grant lives.
    #[serde(with = "humantime_serde")]
    pub push_grant_lifetime: Duration,
    /// How long a sealed locator is good for. A stream that started earlier is not cut.
    #[serde(with = "humantime_serde")]
    pub locator_ttl: Duration,
    /// How long the bytes of a replaced object stay, so that readers of the old one can finish.
    #[serde(with = "humantime_serde")]
    pub object_delete_delay: Duration,
    /// How long a claimed event is not given to another claim.
    #[serde(with = "humantime_serde")]
    pub outbox_lease: Duration,
    /// How often expired sessions, grants and objects are looked for.
    #[serde(with = "humantime_serde")]
    pub reaper_interval: Duration,
    /// Connections for reading.
    pub readers: usize,
    /// Writes that may wait for the writer before more are refused as overload.
    pub write_queue: usize,
    /// The key that seals locators, leases and receipts, shared with blobs; used by the split process only.
    pub seal_key_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            manifest_validation: ManifestValidation::Strict,
            manifest_size_limit: MANIFEST_SIZE_LIMIT,
            max_tags_per_push: 64,
            repositories: Vec::new(),
            // A day, so that a push interrupted in the evening can go on in the morning.
            upload_session_ttl: Duration::from_hours(24),
            finished_upload_ttl: Duration::from_hours(24),
            push_grant_idle: Duration::from_mins(15),
            push_grant_lifetime: PUSH_GRANT_LIMIT,
            locator_ttl: Duration::from_mins(5),
            object_delete_delay: Duration::from_hours(24),
            outbox_lease: Duration::from_secs(30),
            reaper_interval: Duration::from_secs(30),
            readers: 8,
            write_queue: 1024,
            seal_key_file: None,
        }
    }
}

impl Validate for Config {
    fn validate(&self, problems: &mut Vec<String>) {
        for (index, entry) in self.repositories.iter().enumerate() {
            if let Err(error) = RepositoryPrefix::parse(&entry.prefix) {
                problems.push(format!("repositories[{index}].prefix: {error}"));
            }
            if self.repositories[..index]
                .iter()
                .any(|earlier| earlier.prefix == entry.prefix)
            {
                problems.push(format!(
                    "repositories[{index}].prefix: {:?} appears twice",
                    entry.prefix
                ));
            }
        }
        if self.manifest_size_limit == 0 || self.manifest_size_limit > MANIFEST_SIZE_LIMIT {
            problems.push(format!(
                "manifest_size_limit: must be from 1 to {MANIFEST_SIZE_LIMIT}"
            ));
        }
        if self.max_tags_per_push < 10 {
            problems.push("max_tags_per_push: must be at least 10".to_owned());
        }
        // Revocations and old keys are kept for as long as a grant can last.
        if self.push_grant_idle.max(self.push_grant_lifetime) > PUSH_GRANT_LIMIT {
            problems.push("push_grant_idle, push_grant_lifetime: must be 6 hours at most".to_owned());
        }
        if self.readers == 0 || self.write_queue == 0 {
            problems.push("readers, write_queue: must not be 0".to_owned());
        }
        if self.object_delete_delay < self.locator_ttl {
            problems.push(
                "object_delete_delay: must not be less than locator_ttl, or readers lose their object"
                    .to_owned(),
            );
        }
        let durations = [
            ("upload_session_ttl", self.upload_session_ttl),
            ("push_grant_idle", self.push_grant_idle),
            ("push_grant_lifetime", self.push_grant_lifetime),
            ("locator_ttl", self.locator_ttl),
            ("outbox_lease", self.outbox_lease),
            ("reaper_interval", self.reaper_interval),
        ];
        for (key, duration) in durations {
            if duration.is_zero() {
                problems.push(format!("{key}: must not be 0"));
            }
        }
    }
}
