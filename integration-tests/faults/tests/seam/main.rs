//! Faults between the services, of the database, of the disk and of the clock.
//!
//! The whole registry runs in the test's own process, built as `roadstead serve` builds it, with a layer in each channel
//! between two services. Clients come over a socket. What counts as failure: an answer that is neither right nor one that
//! asks to try again; an acknowledged push that is not there; a second event or line of history for one change; a test
//! that goes on before what it waits for is so.

mod busy;
mod clock;
mod down;
mod full;
mod gateways;
mod lost_answers;
mod mix;
mod resets;
mod slow;
mod store;
mod wire;
mod world;
