//! Repositories, tags and events.

use clap::{Args, Subcommand};

use super::{Asking, Listing, Output, Remote};

/// Commands about repositories.
#[derive(Debug, Subcommand)]
pub enum Repos {
    /// List the repositories that you may pull from.
    List(Listing),
    /// Show the tags of a repository and what you may do to it.
    Show(ReposShow),
}

/// Flags of `repos show`.
#[derive(Debug, Args)]
pub struct ReposShow {
    /// The repository, without the registry.
    pub repository: String,
    /// Which registry, and how to print it.
    #[command(flatten)]
    pub asking: Asking,
}

/// Commands about tags.
#[derive(Debug, Subcommand)]
pub enum Tags {
    /// List the tags of a repository.
    List(TagsList),
    /// Show every change of a tag, the newest first.
    History(TagsHistory),
    /// Delete a tag. What it points at stays, and its history too.
    Delete(TagsDelete),
}

/// Flags of `tags list`.
#[derive(Debug, Args)]
pub struct TagsList {
    /// The repository, without the registry.
    pub repository: String,
    /// Which registry, and how to print them.
    #[command(flatten)]
    pub listing: Listing,
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

/// Flags of `tags delete`.
#[derive(Debug, Args)]
pub struct TagsDelete {
    /// The repository, without the registry.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// Which registry, and how to print the answer.
    #[command(flatten)]
    pub asking: Asking,
}

/// Commands about events.
#[derive(Debug, Subcommand)]
pub enum Events {
    /// List events of the repositories that you may pull from, and audit events where you may see them.
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
    /// Only events of this type: push, pull, delete, refusal; exchange, iam, iam.binding and other audit events; or the
    /// start of a `CloudEvents` type.
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
