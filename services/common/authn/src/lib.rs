//! Verifies Roadstead's own tokens, locally.
//!
//! The crate owns the format of access and registry tokens and the rules by which they are believed. It never signs,
//! never decides what an identity may do, and never asks the network on the path of a request: keys and revocations come
//! from auth's `KeyService` and `RevocationService` in the background, and a token under an unknown key is simply invalid.
//!
//! Invariants:
//!
//! * `iss`, `aud`, `typ` and the algorithm are pinned for each kind of token, and each kind has keys of its own, so that
//!   no token passes for one of another kind or of another registry;
//! * [`VerifyError::Expired`] is said only of a token of which everything else holds;
//! * what was once learnt about a token is forgotten when the keys change;
//! * revocations are looked at for every decision, also about tokens that are remembered, and about expired ones: whoever
//!   may still use those (a push grant) needs no check of its own;
//! * while auth cannot be heard, what was revoked stays revoked, and other tokens are good until they expire.

mod claims;
mod error;
mod keys;
mod revocations;
mod verifier;
mod watermarks;

pub use claims::{Access, AccessClaims, Act, Provenance, RegistryClaims, TokenClaims, WireClaims};
pub use error::VerifyError;
pub use keys::{ACCESS_TYPE, Believed, KeySetError, PinnedKeys, REGISTRY_TYPE};
pub use verifier::{Verifier, token_hash};
pub use watermarks::Watermarks;
