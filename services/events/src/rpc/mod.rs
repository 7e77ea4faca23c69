//! The RPCs: parse, ask the log, encode.

mod ingest;
mod query;

pub(crate) use self::{ingest::Ingest, query::EventQuery};
