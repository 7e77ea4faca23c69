//! The keys that tokens are signed with, and the one that refresh tokens are made from.

mod files;
mod refresh;
mod ring;
mod signing;
mod store;

pub(crate) use refresh::{RefreshClaims, RefreshKey};
pub(crate) use ring::KeyRing;
pub(crate) use signing::{KeyError, SigningKey};
pub(crate) use store::{KeyStoreError, SigningKeys};
