//! Runs the program as its users and their container clients do, against a small registry of the tests' own and,
//! where the registry is built in, against the real one.

mod auth;
mod credential_helper;
mod docker_config;
mod image;
mod listings;
#[cfg(feature = "serve")]
mod serve;
mod support;
mod usage;
