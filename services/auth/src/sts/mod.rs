//! The security token service: what a credential is worth, and what it is exchanged for.
//!
//! Nothing of a credential is believed before its signature, tag or hash holds; what it may do is then decided on one
//! snapshot of the database, and the token that comes of it says that snapshot's revision.

mod carried;
mod credential;
mod exchange;
mod pull_token;
mod refresh;
mod refusals;
mod registry;
mod upkeep;
mod uses;

use std::time::Duration;

pub(crate) use exchange::summary;
pub(crate) use pull_token::PullSecret;
pub(crate) use refusals::Refusals;
pub(crate) use upkeep::{Upkeep, keep_up};
pub(crate) use uses::LastUses;

use crate::{domain::Narrowing, error::Error, tokens::Signed};

/// How long sessions last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionLives {
    /// However much they are used.
    pub(crate) longest: Duration,
    /// Without use.
    pub(crate) idle: Duration,
    /// Those of clients, which do not rotate. None are begun when it is zero.
    pub(crate) client: Duration,
}

/// Reads what a client asks a token to be narrowed to.
fn narrowing_of(asked: Option<&roadstead_proto::auth::v1::Narrowing>) -> Result<Narrowing, Error> {
    asked.map_or_else(
        || Ok(Narrowing::default()),
        |asked| Narrowing::parse(&asked.resources, &asked.capabilities),
    )
}

fn seconds(life: Duration) -> u32 {
    u32::try_from(life.as_secs()).unwrap_or(u32::MAX)
}

/// The whole seconds from now, in Unix milliseconds, until then; none from then on.
fn seconds_until(then: i64, now: i64) -> u32 {
    u32::try_from(then.saturating_sub(now).max(0) / 1000).unwrap_or(u32::MAX)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

impl Signed {
    fn expires_in(&self) -> u32 {
        seconds(self.life)
    }
}
