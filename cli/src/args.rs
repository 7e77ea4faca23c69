//! The command line.

#[cfg(feature = "serve")]
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{host::RegistryHost, registry::Transport};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed, or not verified
  2  wrong usage or configuration
  3  not logged in, or the login was refused
  4  the registry is unreachable
  5  the registry refused the request";

/// An open OCI registry: run one, and use any.
#[derive(Debug, Parser)]
#[command(name = "roadstead", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the whole registry in this process.
    #[cfg(feature = "serve")]
    Serve(Serve),
    /// Run the registry with a demonstration: token, push, pull, verification, next commands.
    #[cfg(feature = "serve")]
    Quickstart(Quickstart),
    /// Log in to a registry and keep its access token.
    ///
    /// A registry on this machine that runs with --dev asks for nothing. Every other one is given an identity token of
    /// an OIDC issuer that it trusts.
    Login(Login),
    /// Forget the access token of a registry.
    Logout {
        /// The registry, HOST or HOST:PORT.
        host: RegistryHost,
    },
    /// Tokens and what uses them.
    #[command(subcommand)]
    Auth(Auth),
    /// What happened in the registry.
    #[command(subcommand)]
    Events(Events),
    /// The tags of a repository.
    #[command(subcommand)]
    Tags(Tags),
    /// The configuration of a registry.
    #[cfg(feature = "serve")]
    #[command(subcommand)]
    Config(Config),
    /// Mint an authority, service identities and a seal key for one run of separate services.
    #[cfg(feature = "serve")]
    #[command(hide = true)]
    Certificates {
        /// The directory to write to; it must hold no authority yet.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Print the version.
    Version,
}

/// Flags of `serve`.
#[cfg(feature = "serve")]
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
#[cfg(feature = "serve")]
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

/// Flags of `login`.
#[derive(Debug, Args)]
pub struct Login {
    /// The registry, HOST or HOST:PORT.
    pub host: RegistryHost,
    /// A file with an OIDC identity token, `-` for standard input; the environment variable `ROADSTEAD_IDENTITY_TOKEN`
    /// holds the token itself.
    #[arg(long, value_name = "FILE")]
    pub identity_token: Option<String>,
    /// How to reach it.
    #[command(flatten)]
    pub transport: TransportFlags,
}

/// Commands about tokens.
#[derive(Debug, Subcommand)]
pub enum Auth {
    /// Print an access token, a fresh one where that needs no one's help. It is a secret.
    Token {
        /// The registry, HOST or HOST:PORT.
        host: RegistryHost,
        /// How to reach it.
        #[command(flatten)]
        transport: TransportFlags,
    },
    /// Show to which registries there are logins, as whom, and for how long.
    Status,
    /// Make container clients get their credentials from this program.
    ConfigureDocker {
        /// The registry, HOST or HOST:PORT.
        host: RegistryHost,
        /// Where to put the helper program [default: beside this program].
        #[arg(long, value_name = "DIR")]
        bin_dir: Option<PathBuf>,
    },
}

/// Commands about events.
#[derive(Debug, Subcommand)]
pub enum Events {
    /// List events of the repositories that you may pull from.
    List(EventsList),
}

/// Flags of `events list`.
#[derive(Debug, Args)]
pub struct EventsList {
    /// Which registry.
    #[command(flatten)]
    pub remote: Remote,
    /// Only events of this repository.
    #[arg(long, value_name = "NAME")]
    pub repository: Option<String>,
    /// Only events of this type: push, pull, delete, or the start of a CloudEvents type.
    #[arg(long = "type", value_name = "TYPE")]
    pub event_type: Option<String>,
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
    /// The newest first, instead of the oldest.
    #[arg(long)]
    pub newest_first: bool,
    /// How to print them.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// Commands about tags.
#[derive(Debug, Subcommand)]
pub enum Tags {
    /// Show every change of a tag, the newest first.
    History(TagsHistory),
}

/// Flags of `tags history`.
#[derive(Debug, Args)]
pub struct TagsHistory {
    /// The repository, without the registry.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// Which registry.
    #[command(flatten)]
    pub remote: Remote,
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
    /// How to print them.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// Commands about configuration.
#[cfg(feature = "serve")]
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Read the configuration as `serve` would and report every problem.
    Check(ConfigFile),
    /// Print what file and environment set, without secrets.
    Print(ConfigFile),
}

/// The file of `config`.
#[cfg(feature = "serve")]
#[derive(Debug, Args)]
pub struct ConfigFile {
    /// A configuration file (TOML); the environment overrides it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Which registry a command asks, and how.
#[derive(Debug, Args)]
pub struct Remote {
    /// The registry, HOST or HOST:PORT [default: that of the last login].
    #[arg(long, value_name = "HOST", env = "ROADSTEAD_REGISTRY")]
    pub registry: Option<RegistryHost>,
    /// How to reach it.
    #[command(flatten)]
    pub transport: TransportFlags,
}

/// How to reach a registry.
#[derive(Debug, Args)]
pub struct TransportFlags {
    /// Speak http to a registry that is not on this machine. Tokens then travel in the clear.
    #[arg(long)]
    pub plain_http: bool,
    /// Trust this certificate authority (PEM) beside the system's.
    #[arg(long, value_name = "FILE", env = "ROADSTEAD_CA_FILE")]
    pub ca_file: Option<PathBuf>,
}

impl From<TransportFlags> for Transport {
    fn from(flags: TransportFlags) -> Self {
        Self {
            plain_http: flags.plain_http,
            ca_file: flags.ca_file,
        }
    }
}

/// The form of a listing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Columns for a person.
    #[default]
    Table,
    /// One JSON array.
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
