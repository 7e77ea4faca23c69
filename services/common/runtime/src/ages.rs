//! Whether what seems old is old.

use std::time::{Duration, SystemTime};

use roadstead_types::{Clock, Reading};

/// What a clock may gain between two looks without having leapt.
const TOLERANCE: Duration = Duration::from_mins(1);

/// How long after a leap forward nothing is deleted for its age. Clients go on with what they began meanwhile, and who
/// set the clock wrong has time to notice.
const SETTLING: Duration = Duration::from_hours(1);

/// Tells whether ages may be acted upon, for whoever deletes what is old.
///
/// A clock that leaps forward, because somebody set it or because it was wrong when the machine started, makes everything
/// old at once. Time that passed without the clock being set shows the leap.
#[derive(Debug)]
pub struct Ages {
    clock: Clock,
    seen: Reading,
    /// The uptime from which ages count again.
    settled: Duration,
}

impl Ages {
    /// Begins to watch the clock.
    pub fn new(clock: Clock) -> Self {
        Self {
            seen: clock.read(),
            settled: Duration::ZERO,
            clock,
        }
    }

    /// Looks at the clock and gives the time, in Unix milliseconds, by which ages are to be judged. None for an hour after
    /// a leap forward, which is noted in the log. Who took the time anew would miss a leap in between.
    pub fn believable_now(&mut self) -> Option<i64> {
        let Reading { now, uptime } = self.clock.read();
        let gained = now
            .duration_since(self.seen.now)
            .unwrap_or_default()
            .saturating_sub(uptime.saturating_sub(self.seen.uptime));
        self.seen = Reading { now, uptime };
        if gained > TOLERANCE {
            tracing::warn!(
                ?gained,
                "the clock leapt forward; nothing is deleted for its age within the next hour"
            );
            self.settled = uptime + SETTLING;
        }
        let millis = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_millis();
        (uptime >= self.settled).then(|| i64::try_from(millis).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn time_that_passes_makes_old() {
        let (clock, control) = Clock::fixed(SystemTime::UNIX_EPOCH + 20_000 * DAY);
        let mut ages = Ages::new(clock);
        let before = ages.believable_now().unwrap();
        control.advance(30 * DAY);
        let passed = i64::try_from(30 * DAY.as_millis()).unwrap();
        assert_eq!(ages.believable_now(), Some(before + passed));
    }

    #[test]
    fn a_leap_forward_does_not_before_an_hour_is_over() {
        let start = SystemTime::UNIX_EPOCH + 20_000 * DAY;
        let (clock, control) = Clock::fixed(start);
        let mut ages = Ages::new(clock);
        control.set(start + TOLERANCE);
        assert!(ages.believable_now().is_some());
        control.set(start + DAY);
        assert!(ages.believable_now().is_none());
        control.advance(SETTLING / 2);
        assert!(ages.believable_now().is_none());
        // Back to what is right, and then wrong again.
        control.set(start);
        assert!(ages.believable_now().is_none());
        control.set(start + DAY);
        assert!(ages.believable_now().is_none());
        control.advance(SETTLING / 2);
        assert!(ages.believable_now().is_none());
        control.advance(SETTLING / 2);
        assert!(ages.believable_now().is_some());
    }

    #[test]
    fn a_leap_backward_makes_nothing_older() {
        let start = SystemTime::UNIX_EPOCH + 20_000 * DAY;
        let (clock, control) = Clock::fixed(start);
        let mut ages = Ages::new(clock);
        control.set(start - DAY);
        assert!(ages.believable_now().is_some());
    }
}
