//! The behaviour of channels and servers. `contract` runs over every transport and must see no difference.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

mod contract;
mod metrics;
mod network;
mod seal;
mod support;
mod tasks;
mod tls;
