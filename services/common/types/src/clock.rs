//! The time of day, injected so that tests can move it.

use std::{
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Tells the time of day. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// The time, when it stands still.
    fixed: Option<Arc<Mutex<Reading>>>,
}

/// What a clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The time of day.
    pub now: SystemTime,
    /// The time that passed since some moment of the past. Setting the clock does not change it.
    pub uptime: Duration,
}

impl Clock {
    /// The machine's clock.
    pub const fn system() -> Self {
        Self { fixed: None }
    }

    /// A clock that stands still until its [`ClockControl`] moves it. Times before 1970 count as 1970.
    pub fn fixed(start: SystemTime) -> (Self, ClockControl) {
        let fixed = Arc::new(Mutex::new(Reading {
            now: start.max(UNIX_EPOCH),
            uptime: Duration::ZERO,
        }));
        let clock = Self {
            fixed: Some(fixed.clone()),
        };
        (clock, ClockControl { fixed })
    }

    /// The time now.
    #[expect(
        clippy::disallowed_methods,
        reason = "the only place that reads the machine's clock"
    )]
    pub fn now(&self) -> SystemTime {
        match &self.fixed {
            None => SystemTime::now(),
            Some(fixed) => shown(fixed).now,
        }
    }

    /// The time, and how much of it passed.
    pub fn read(&self) -> Reading {
        match &self.fixed {
            None => Reading {
                now: self.now(),
                uptime: STARTED.elapsed(),
            },
            Some(fixed) => *shown(fixed),
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
    fixed: Arc<Mutex<Reading>>,
}

impl ClockControl {
    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let mut shown = shown(&self.fixed);
        shown.now += by;
        shown.uptime += by;
    }

    /// Sets the clock, also backward, while no time passes. Times before 1970 count as 1970.
    pub fn set(&self, time: SystemTime) {
        shown(&self.fixed).now = time.max(UNIX_EPOCH);
    }
}

fn shown(fixed: &Mutex<Reading>) -> MutexGuard<'_, Reading> {
    fixed.lock().unwrap_or_else(PoisonError::into_inner)
}
