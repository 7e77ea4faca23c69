//! The vocabulary of the OCI distribution specification as types.
//!
//! Parse, don't validate: text from outside becomes one of these types at the edge, and the code inside sees no raw
//! strings. The crate does no I/O and knows no runtime; [`Clock`] is the one place where the time of day is read.

mod action;
mod clock;
mod digest;
pub mod media_type;
mod name;
mod principal;
mod repository_set;
mod scope;
mod upload;

pub use action::{Action, ActionError, ActionSet};
pub use clock::{Clock, ClockControl, Reading};
pub use digest::{Digest, DigestAlgorithm, DigestError};
pub use name::{NameError, Reference, RepositoryName, RepositoryPrefix, Tag};
pub use principal::Principal;
pub use repository_set::RepositorySet;
pub use scope::{Resource, Scope, ScopeError};
pub use upload::{UploadId, UploadIdError};

/// The largest manifest that is accepted, in bytes.
pub const MANIFEST_SIZE_LIMIT: usize = 4 * 1024 * 1024;

/// Serialises a parsed type as its text, and deserialises it by parsing.
macro_rules! serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
use serde_as_text;
