//! Configuration: default < file < environment < flags, one tree that every process reads its own sections of.
//!
//! ```
//! use roadstead_runtime::{ConfigSources, ConfigTree, RuntimeConfig};
//!
//! let tree = ConfigTree::load(ConfigSources {
//!     overrides: vec![("runtime.shutdown_grace".to_owned(), "10s".into())],
//!     ..ConfigSources::default()
//! })?;
//! let runtime: RuntimeConfig = tree.section("runtime")?;
//! assert_eq!(runtime.shutdown_grace.as_secs(), 10);
//! # Ok::<(), roadstead_runtime::ConfigError>(())
//! ```

mod nearest;
mod reader;
mod redact;
mod sections;
mod sources;
mod tree;

pub use figment::value::Value as ConfigValue;
pub use reader::{Reader, Validate};
pub use sections::{Endpoints, LogFormat, RpcConfig, RuntimeConfig, TelemetryConfig};
pub use sources::{ConfigSources, parse_assignment};
pub use tree::{ConfigTree, SECTIONS};

use std::fmt;

/// Everything that is wrong with the configuration, found in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<String>,
}

impl ConfigError {
    /// Reports one problem.
    pub fn new(problem: impl Into<String>) -> Self {
        Self {
            problems: vec![problem.into()],
        }
    }

    /// Reports all of `problems`; `None` if there are none.
    fn from_problems(problems: Vec<String>) -> Option<Self> {
        (!problems.is_empty()).then_some(Self { problems })
    }

    /// One line for each problem, beginning with the key that it is about.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [one] => write!(f, "configuration: {one}"),
            many => {
                write!(f, "configuration: {} problems", many.len())?;
                many.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}
