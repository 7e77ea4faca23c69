//! SQLite as Roadstead's services use it.
//!
//! A [`Database`] is one file in a directory that one process owns: a thread that writes, in groups that share a commit,
//! and pools of read-only connections. The crate knows no table. A service gives its migrations and names, runs closures
//! as named transactions, and keeps its own error type: whatever can be made from a [`Failure`] will do.
//!
//! Invariants:
//!
//! * a write is answered once it is durable, and one that fails takes no other with it;
//! * a read sees what was committed before it began;
//! * a schema that a newer release changed beyond what this one understands is refused.

mod connection;
mod database;
mod failure;
mod migrate;
mod names;
mod readers;
mod writer;

pub use database::{Database, Options};
pub use failure::{Failure, OpenError};
pub use migrate::{Migration, TakeOver};
pub use names::Names;
pub use writer::Tx;
