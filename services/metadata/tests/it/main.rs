//! The metadata service over its RPCs, on a real database, with really signed tokens.

#![allow(clippy::unwrap_used, reason = "in a test, what is not there is a failure")]

mod access;
mod database;
mod deletes;
mod grants;
mod harness;
mod listings;
mod manifests;
mod mounts;
mod notices;
mod outbox;
mod reaper;
mod referrers;
mod tags;
mod uploads;
