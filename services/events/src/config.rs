//! The `[events]` section.

use std::time::Duration;

use roadstead_runtime::Validate;
use serde::Deserialize;

/// The most that one claim may take from an outbox; a claim must fit one message.
const DRAIN_BATCH_LIMIT: u32 = 1_000;

/// How events come in and how long they stay.
///
/// ```
/// let config: roadstead_events::Config = toml::from_str(r#"retention = "30d""#).unwrap();
/// assert_eq!(config.retention.as_secs(), 30 * 24 * 60 * 60);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long to wait before asking an outbox again that had nothing: what an event takes to appear, at most.
    #[serde(with = "humantime_serde")]
    pub drain_interval: Duration,
    /// How many events are taken from an outbox at once.
    pub drain_batch: u32,
    /// Events older than this are deleted.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
    /// How often to look for events that are old enough.
    #[serde(with = "humantime_serde")]
    pub prune_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            drain_interval: Duration::from_millis(250),
            drain_batch: 200,
            retention: Duration::from_hours(90 * 24),
            prune_interval: Duration::from_mins(10),
        }
    }
}

impl Validate for Config {
    fn validate(&self, problems: &mut Vec<String>) {
        for (key, duration) in [
            ("drain_interval", self.drain_interval),
            ("retention", self.retention),
            ("prune_interval", self.prune_interval),
        ] {
            if duration.is_zero() {
                problems.push(format!("{key}: must not be 0"));
            }
        }
        if !(1..=DRAIN_BATCH_LIMIT).contains(&self.drain_batch) {
            problems.push(format!("drain_batch: must be between 1 and {DRAIN_BATCH_LIMIT}"));
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
            drain_interval: zero,
            drain_batch: 0,
            retention: zero,
            ..Config::default()
        };
        let problems = problems(config);
        for key in ["drain_interval", "drain_batch", "retention"] {
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
