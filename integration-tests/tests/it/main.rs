//! Scenarios against real processes, each in both modes; conformance; fixtures; the rules between crates.

mod addresses;
mod audit;
mod conformance;
mod denials;
mod dependencies;
mod docs;
mod fixtures;
mod identities;
mod lifecycle;
mod listings;
mod manifests;
mod operators;
mod pulls;
mod quickstart;
mod referrers;
mod tokens;
mod traces;
mod uploads;
