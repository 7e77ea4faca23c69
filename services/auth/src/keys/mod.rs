//! The keys that tokens are signed with.

mod signing;
mod store;

pub(crate) use signing::{KeyError, SigningKey};
pub(crate) use store::{KeyStoreError, SigningKeys};
