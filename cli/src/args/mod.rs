//! The command line.

mod auth;
mod content;
mod explain;
mod iam;
mod pull_token;
#[cfg(feature = "serve")]
mod serve;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::{host::RegistryHost, registry::Transport};

pub use auth::{Auth, Login, Narrowing};
pub use content::{Events, EventsList, Repos, ReposShow, Tags, TagsDelete, TagsHistory, TagsList};
pub use explain::{Explain, Test};
pub use iam::{
    Bindings, BindingsCreate, ClaimRule, Groups, Iam, Identities, IdentitiesCreate, IdentitiesUpdate,
    PushPolicies, Roles, Target,
};
pub use pull_token::{PullTokenCreate, PullTokenList, PullTokenRotate, PullTokens};
#[cfg(feature = "serve")]
pub use serve::{Config, ConfigFile, Quickstart, Serve};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed, not verified, or not allowed (`iam test`)
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
    /// The first of these that is there is used: an identity token that was given; what this machine is to its CI system,
    /// cluster or cloud; the development issuer of a registry on this machine that runs with --dev; a person with a
    /// browser.
    Login(Box<Login>),
    /// End the session with a registry and forget its access token.
    Logout {
        /// The registry, HOST or HOST:PORT.
        host: RegistryHost,
        /// How to reach it.
        #[command(flatten)]
        transport: TransportFlags,
    },
    /// Tokens and what uses them.
    #[command(subcommand)]
    Auth(Auth),
    /// Who may do what where.
    #[command(subcommand)]
    Iam(Box<Iam>),
    /// Secrets that can pull and nothing else, for what cannot log in.
    #[command(subcommand)]
    PullToken(PullTokens),
    /// The repositories of a registry.
    #[command(subcommand)]
    Repos(Repos),
    /// The tags of a repository.
    #[command(subcommand)]
    Tags(Tags),
    /// What happened in the registry.
    #[command(subcommand)]
    Events(Events),
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
    /// Answer a kubelet's request for credentials, on standard input.
    ///
    /// The same as calling this program kubelet-credential-provider-roadstead, which is what a kubelet does.
    KubeletCredentialProvider(Kubelet),
    /// Print the completions of a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the manual page, or write those of every command.
    Man {
        /// The directory to write to, such as /usr/local/share/man/man1.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Print the version.
    Version(Version),
}

/// The command line of the kubelet's plugin.
#[derive(Debug, Parser)]
#[command(name = "kubelet-credential-provider-roadstead", version)]
pub struct KubeletProgram {
    /// All there is.
    #[command(flatten)]
    pub flags: Kubelet,
}

/// Flags of the kubelet's plugin, as `args` of the kubelet's configuration.
#[derive(Debug, Args)]
pub struct Kubelet {
    /// How to reach the registries.
    #[command(flatten)]
    pub transport: TransportFlags,
}

/// Flags of `version`.
#[derive(Debug, Args)]
pub struct Version {
    /// Ask the registry for its version too, and warn if the two do not fit.
    #[arg(long)]
    pub check: bool,
    /// Which registry.
    #[command(flatten)]
    pub remote: Remote,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
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
#[derive(Debug, Clone, Args)]
pub struct TransportFlags {
    /// Speak http to a registry that is not on this machine. Tokens then travel in the clear.
    #[arg(long)]
    pub plain_http: bool,
    /// Trust this certificate authority (PEM) beside the system's, or beside those of `SSL_CERT_FILE`.
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

/// Which registry, and how to print its answer.
#[derive(Debug, Args)]
pub struct Asking {
    /// Which registry.
    #[command(flatten)]
    pub remote: Remote,
    /// How to print the answer.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// A listing of a registry.
#[derive(Debug, Args)]
pub struct Listing {
    /// Which registry, and how to print it.
    #[command(flatten)]
    pub asking: Asking,
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub limit: usize,
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Columns and lines for a person.
    #[default]
    Table,
    /// JSON: an array of what is listed, an object of what is shown.
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::{Cli, KubeletProgram};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        KubeletProgram::command().debug_assert();
    }
}
