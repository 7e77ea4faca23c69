//! A database that many use at once, on a disk that may fail.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod migrations;
mod support;
mod transactions;
