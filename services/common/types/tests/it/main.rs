//! Properties of the vocabulary, against the grammars that the specification gives as regular expressions.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

mod clock;
mod digests;
mod names;
mod repository_sets;
mod scopes;
