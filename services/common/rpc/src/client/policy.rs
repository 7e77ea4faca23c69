//! How calls over a channel behave.

use std::time::Duration;

/// How calls over a channel behave. Which RPCs stream and which may be repeated is in their contract, not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallPolicy {
    /// How long a unary call may take whose caller set no timeout (`tonic::Request::set_timeout`). Streams have no
    /// deadline unless their caller sets one.
    pub default_deadline: Duration,
    /// How often an idempotent call is tried, the first time included.
    pub max_attempts: u32,
    /// How many calls may be under way; more are refused with OVERLOADED.
    pub max_in_flight: usize,
}

impl Default for CallPolicy {
    fn default() -> Self {
        Self {
            default_deadline: Duration::from_secs(10),
            max_attempts: 3,
            // As many streams as a server takes on one connection.
            max_in_flight: 1024,
        }
    }
}
