//! Runs the program as its users and their container clients do, against a small registry of the tests' own and,
//! where the registry is built in, against the real one.

#![allow(
    clippy::unwrap_used,
    reason = "the lint's exception for tests does not reach the functions that tests share"
)]

mod auth;
mod credential_helper;
mod docker_config;
mod image;
mod listings;
#[cfg(feature = "serve")]
mod serve;
mod support;
mod usage;
