//! Death at a given point, for the crash suite. Only built with the feature `failpoints`.

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Signal, getpid, kill_process};

/// Says where the process is to die: `<fail point>:<n>`, the nth time that it passes there.
const KILL_AT: &str = "ROADSTEAD_KILL_AT";

/// Reads from the environment what is to happen at fail points: `FAILPOINTS` as the crate `fail` describes it, and
/// `ROADSTEAD_KILL_AT=blobs::publish::renamed:3` for a SIGKILL.
///
/// # Panics
///
/// If one of them can't be understood: a test that injects nothing would pass.
pub fn arm() {
    static ONCE: Once = Once::new();
    ONCE.call_once(read_environment);
}

fn read_environment() {
    // Dropping it would disarm everything again.
    std::mem::forget(fail::FailScenario::setup());
    let Ok(place) = std::env::var(KILL_AT) else {
        return;
    };
    let Some((name, Ok(nth))) = place
        .rsplit_once(':')
        .map(|(name, nth)| (name, nth.parse::<u32>()))
    else {
        panic!("{KILL_AT}={place}: not a fail point and a number");
    };
    let passes = AtomicU32::new(0);
    let die = move || {
        if passes.fetch_add(1, Ordering::Relaxed) + 1 == nth {
            // As if the machine had lost its power: nothing is unwound, flushed or answered.
            let killed = kill_process(getpid(), Signal::KILL);
            unreachable!("survived SIGKILL: {killed:?}");
        }
    };
    if let Err(error) = fail::cfg_callback(name, die) {
        panic!("{KILL_AT}={place}: {error}");
    }
}
