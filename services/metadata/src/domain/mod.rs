//! Rules without input or output.

pub(crate) mod author;
pub(crate) mod event;
pub(crate) mod intervals;
pub(crate) mod json;
pub(crate) mod manifest;
pub(crate) mod page;
pub(crate) mod policy;
