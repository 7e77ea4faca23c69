//! Runs the program as its users and their container clients do, against a small registry of the tests' own and,
//! where the registry is built in, against the real one.

#![allow(
    clippy::unwrap_used,
    reason = "the lint's exception for tests does not reach the functions that tests share"
)]

#[cfg(feature = "serve")]
mod administration;
mod ambient;
mod auth;
mod client;
mod content;
mod credential_helper;
mod docker_config;
mod github_action;
mod iam;
mod image;
mod kubelet;
mod listings;
mod login;
mod login_clients;
mod pull_tokens;
#[cfg(feature = "serve")]
mod serve;
mod sessions;
mod status;
mod support;
mod terminal;
mod trust;
mod usage;
