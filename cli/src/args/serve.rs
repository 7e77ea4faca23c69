//! Running a registry.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand};

/// Flags of `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Enable the development issuer, for this user on this machine. Refused unless the listener is loopback.
    #[arg(long)]
    pub dev: bool,
    /// The address to listen on [default: 127.0.0.1:5000].
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// Where all data is kept [default: ./roadstead-data].
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// A configuration file (TOML). Flags and the environment override it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Flags of `quickstart`.
#[derive(Debug, Args)]
pub struct Quickstart {
    /// The address to listen on; the next free port is taken if it is in use [default: 127.0.0.1:5000].
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// Where all data is kept [default: ./roadstead-data].
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Stop after the check; the exit code says whether it held.
    #[arg(long)]
    pub exit: bool,
}

/// Commands about configuration.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Read the configuration as `serve` would and report every problem.
    Check(ConfigFile),
    /// Print what file and environment set, without secrets.
    Print(ConfigFile),
}

/// The file of `config`.
#[derive(Debug, Args)]
pub struct ConfigFile {
    /// A configuration file (TOML); the environment overrides it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}
