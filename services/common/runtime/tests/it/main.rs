//! The runtime's tests, in one binary.

mod address;
mod admin;
mod certificates;
mod config;
mod environment;
mod process;
mod shutdown;
