//! Logging in, and tokens.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Output, TransportFlags};
use crate::{ambient::Provider, host::RegistryHost};

/// Flags of `login`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Login {
    /// The registry, HOST or HOST:PORT.
    pub host: RegistryHost,
    /// A file with an OIDC identity token, `-` for standard input. The environment variable `ROADSTEAD_IDENTITY_TOKEN`
    /// holds the token itself, `ROADSTEAD_IDENTITY_TOKEN_FILE` names a file.
    #[arg(long, value_name = "FILE", group = "how")]
    pub identity_token: Option<String>,
    /// Log in as what this machine is to this provider.
    #[arg(long, value_enum, group = "how")]
    pub provider: Option<Provider>,
    /// Log in through a browser on this machine, which is opened.
    #[arg(long, group = "how")]
    pub browser: bool,
    /// Log in through a browser on this machine, and only print the address to open.
    #[arg(long, group = "how")]
    pub no_browser: bool,
    /// Log in through a browser on any device: prints an address and a code.
    #[arg(long, group = "how")]
    pub device: bool,
    /// The issuer to log in with, where the registry offers people several.
    #[arg(long, value_name = "URL")]
    pub issuer: Option<String>,
    /// Log in although the registry names another registry's client at the issuer: they are one registry under several
    /// names. If they are not, it can use your login there.
    #[arg(long, conflicts_with_all = ["identity_token", "provider"])]
    pub shared_client: bool,
    /// The audience to ask of a provider [default: the registry's HOST or HOST:PORT].
    #[arg(long, value_name = "AUDIENCE")]
    pub audience: Option<String>,
    /// What the token is good for.
    #[command(flatten)]
    pub narrowing: Narrowing,
    /// How to reach it.
    #[command(flatten)]
    pub transport: TransportFlags,
}

/// Makes a token less than what its identity may do.
#[derive(Debug, Args)]
pub struct Narrowing {
    /// Speak for this identity only, by id or full name [default: all that the claims match].
    #[arg(long, value_name = "IDENTITY")]
    pub identity: Option<String>,
    /// A token for this group or repository only; may be given several times.
    #[arg(long = "scope", value_name = "PATH")]
    pub scopes: Vec<String>,
    /// A token with this capability only, such as repo.pull; may be given several times.
    #[arg(long = "capability", value_name = "NAME")]
    pub capabilities: Vec<String>,
}

/// Commands about tokens.
#[derive(Debug, Subcommand)]
pub enum Auth {
    /// Print an access token, a fresh one where that needs no one's help. It is a secret.
    ///
    /// It goes to a pipe or a file, and to a terminal only with --print.
    Token {
        /// The registry, HOST or HOST:PORT.
        host: RegistryHost,
        /// Print it although standard output is a terminal.
        #[arg(long)]
        print: bool,
        /// How to reach it.
        #[command(flatten)]
        transport: TransportFlags,
    },
    /// Show who you are, by which issuer, until when, and what you may do.
    Status {
        /// Only this registry, HOST or HOST:PORT.
        host: Option<RegistryHost>,
        /// Ask no registry: show what is known here.
        #[arg(long)]
        offline: bool,
        /// How to print it.
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Make container clients get their credentials from this program.
    ConfigureDocker {
        /// The registry, HOST or HOST:PORT.
        host: RegistryHost,
        /// Where to put the helper program [default: beside this program].
        #[arg(long, value_name = "DIR")]
        bin_dir: Option<PathBuf>,
    },
}
