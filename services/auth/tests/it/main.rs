//! The auth service over its RPCs, against an OpenID provider over HTTP.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod dev;
mod exchange;
mod harness;
mod issuer_keys;
mod registry_tokens;
mod start;
