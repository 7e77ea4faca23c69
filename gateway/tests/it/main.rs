//! Tests of the gateway from outside its modules. What needs the real services is tested with them, elsewhere.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should panic, also in its parts"
)]

mod addresses;
mod front;
mod paths;
mod ranges;
mod reasons;
mod refusals;
mod services;
mod slow_clients;
mod sts;
mod surface;
mod uploads;
