//! Configuration, telemetry, shutdown and the main function of every service.
//!
//! This crate owns what a process does around its service: reading configuration, logging, tracing, metrics, the admin
//! port, the order of shutdown. It never knows what the service does.
//!
//! Invariants:
//!
//! - A configuration is refused as a whole, with every problem named; no process starts on part of one.
//! - A service in a process of its own speaks mutual TLS, or does not start.
//! - Shutdown is always in the order that [`shutdown`] gives.

mod address;
pub mod admin;
mod ages;
pub mod certificates;
mod config;
mod directory;
#[cfg(feature = "failpoints")]
pub mod fail_points;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod harness;
mod service;
pub mod shutdown;
mod telemetry;

pub use address::{DEFAULT_LISTEN, PublicAddress};
pub use ages::Ages;
pub use config::{
    ConfigError, ConfigSources, ConfigTree, ConfigValue, Endpoints, LogFormat, Reader, RpcConfig,
    RuntimeConfig, SECTIONS, TelemetryConfig, Validate, parse_assignment,
};
pub use directory::{DirectoryError, OwnedDirectory};
pub use harness::{Program, create_data_dir, install_crypto, run};
pub use service::{Built, BuiltService, ServiceContext};
pub use telemetry::{Telemetry, TelemetryGuard, prometheus};
