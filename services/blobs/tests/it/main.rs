//! Tests of the service through its RPCs, over the channel that the gateway uses.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod admin;
mod finish;
mod harness;
mod hostile;
mod leases;
mod memory;
mod read;
mod resume;
mod round_trip;
mod storage;
