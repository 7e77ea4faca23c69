//! Why, and what if.

use std::path::PathBuf;

use clap::Args;

use super::Asking;

/// Flags of `iam explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// Whom, by id or full name; `anonymous` for everybody [default: yourself].
    #[arg(long, value_name = "IDENTITY", default_value = "")]
    pub identity: String,
    /// The repository.
    #[arg(long, value_name = "NAME")]
    pub repo: String,
    /// pull, push, delete, or a capability such as repo.list.
    #[arg(long, value_name = "ACTION", default_value = "pull")]
    pub action: String,
    /// A JSON file with the claims that conditions of bindings look at, `-` for standard input.
    #[arg(long, value_name = "FILE")]
    pub claims: Option<PathBuf>,
    /// Which registry, and how to print it.
    #[command(flatten)]
    pub asking: Asking,
}

/// Flags of `iam test`.
#[derive(Debug, Args)]
pub struct Test {
    /// A JSON file with the claims of an OIDC token, `-` for standard input.
    #[arg(long, value_name = "FILE")]
    pub claims: PathBuf,
    /// The repository.
    #[arg(long, value_name = "NAME")]
    pub repo: String,
    /// pull, push, delete, or a capability such as repo.list.
    #[arg(long, value_name = "ACTION", default_value = "push")]
    pub action: String,
    /// Which registry, and how to print it.
    #[command(flatten)]
    pub asking: Asking,
}
