//! The auth service over its RPCs, against an OpenID provider over HTTP.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod audit;
mod dev;
mod exchange;
mod exchange_forms;
mod harness;
mod iam;
mod issuer_keys;
mod key_rotation;
mod pull_tokens;
mod registry_tokens;
mod revocations;
mod sessions;
mod start;
