//! Rules without I/O: who may do what, and what a token therefore says.

mod grants;
mod pattern;
mod scopes;

pub(crate) use grants::Grants;
pub(crate) use pattern::SubjectPattern;
pub(crate) use scopes::{Decision, decide, parse_scopes};
