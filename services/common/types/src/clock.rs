//! The time of day, injected so that tests can move it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Tells the time of day. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Nanoseconds since 1970, when the time is fixed; they last until the year 2554.
    fixed: Option<Arc<AtomicU64>>,
}

impl Clock {
    /// The machine's clock.
    pub const fn system() -> Self {
        Self { fixed: None }
    }

    /// A clock that stands still until its [`ClockControl`] moves it. Times before 1970 count as 1970.
    pub fn fixed(start: SystemTime) -> (Self, ClockControl) {
        let nanos = Arc::new(AtomicU64::new(nanos_since_epoch(start)));
        (
            Self {
                fixed: Some(nanos.clone()),
            },
            ClockControl { nanos },
        )
    }

    /// The time now.
    #[expect(
        clippy::disallowed_methods,
        reason = "the only place that reads the machine's clock"
    )]
    pub fn now(&self) -> SystemTime {
        match &self.fixed {
            None => SystemTime::now(),
            Some(nanos) => UNIX_EPOCH + Duration::from_nanos(nanos.load(Ordering::Relaxed)),
        }
    }

    /// Whole seconds since 1970, as tokens write time.
    pub fn unix_seconds(&self) -> i64 {
        i64::try_from(self.since_epoch().as_secs()).unwrap_or(i64::MAX)
    }

    /// Whole milliseconds since 1970.
    pub fn unix_millis(&self) -> i64 {
        i64::try_from(self.since_epoch().as_millis()).unwrap_or(i64::MAX)
    }

    fn since_epoch(&self) -> Duration {
        self.now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

/// Moves the [`Clock`] that it was made with, and all its clones.
#[derive(Clone, Debug)]
pub struct ClockControl {
    nanos: Arc<AtomicU64>,
}

impl ClockControl {
    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.nanos.fetch_add(duration_nanos(by), Ordering::Relaxed);
    }

    /// Sets the clock, also backward. Times before 1970 count as 1970.
    pub fn set(&self, time: SystemTime) {
        self.nanos.store(nanos_since_epoch(time), Ordering::Relaxed);
    }
}

fn nanos_since_epoch(time: SystemTime) -> u64 {
    duration_nanos(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn duration_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
