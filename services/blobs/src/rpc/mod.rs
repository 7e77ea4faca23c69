//! The RPCs: open what is sealed, call the backend, seal the answer.

mod admin;
mod read;
mod write;

use crate::{backend::Backend, seal::Seals};

/// Implements every service of `roadstead.blobs.v1`.
#[derive(Clone)]
pub(crate) struct Rpc {
    pub(crate) backend: Backend,
    pub(crate) seals: Seals,
}
