//! Pull tokens.

use clap::{Args, Subcommand};

use super::{Asking, Listing};

/// Commands about pull tokens.
#[derive(Debug, Subcommand)]
pub enum PullTokens {
    /// Make a pull token and print it. It is shown this once, and is a secret.
    Create(PullTokenCreate),
    /// List pull tokens: who made them, when they end, when and from where they were last used.
    List(PullTokenList),
    /// Give a pull token a new secret and print it.
    Rotate(PullTokenRotate),
    /// End a pull token. Every gateway refuses it within five seconds.
    Revoke {
        /// Its id or name.
        token: String,
        /// Which registry, and how to print the answer.
        #[command(flatten)]
        asking: Asking,
    },
}

/// Flags of `pull-token create`.
#[derive(Debug, Args)]
pub struct PullTokenCreate {
    /// What to call it.
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// A repository that it may pull; may be given several times.
    #[arg(long = "repo", value_name = "NAME", required_unless_present = "groups")]
    pub repositories: Vec<String>,
    /// A group, all repositories below which it may pull; may be given several times.
    #[arg(long = "group", value_name = "PATH")]
    pub groups: Vec<String>,
    /// How long it is good: 12h, 30d, at most 365d.
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = crate::when::parse_duration)]
    pub ttl: u64,
    /// A network that it may be used from; may be given several times [default: everywhere].
    #[arg(long = "cidr", value_name = "NETWORK")]
    pub networks: Vec<String>,
    /// Which registry, and how to print it.
    #[command(flatten)]
    pub asking: Asking,
}

/// Flags of `pull-token list`.
#[derive(Debug, Args)]
pub struct PullTokenList {
    /// Only of this group and what is below it.
    #[arg(value_name = "GROUP", default_value = "")]
    pub group: String,
    /// Show expired and revoked ones too.
    #[arg(long)]
    pub all: bool,
    /// Which registry, and how to print them.
    #[command(flatten)]
    pub listing: Listing,
}

/// Flags of `pull-token rotate`.
#[derive(Debug, Args)]
pub struct PullTokenRotate {
    /// Its id or name.
    pub token: String,
    /// A new life from now: 12h, 30d [default: the end that it has].
    #[arg(long, value_name = "DURATION", value_parser = crate::when::parse_duration)]
    pub ttl: Option<u64>,
    /// How long the old secret stays good: 10m, at most 24h [default: it ends now].
    #[arg(long, value_name = "DURATION", value_parser = crate::when::parse_duration)]
    pub overlap: Option<u64>,
    /// Which registry, and how to print it.
    #[command(flatten)]
    pub asking: Asking,
}
