//! Tests of the service through its RPCs, with an outbox of the test's and tokens of the test's keys.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod drain;
mod harness;
mod ingest;
mod list;
mod outbox;
mod storage;
