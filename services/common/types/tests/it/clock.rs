//! The injected clock.

use std::time::{Duration, UNIX_EPOCH};

use roadstead_types::Clock;

#[test]
fn a_fixed_clock_moves_only_by_its_control() {
    let (clock, control) = Clock::fixed(UNIX_EPOCH + Duration::from_millis(1_700_000_000_123));
    let copy = clock.clone();
    assert_eq!(
        (clock.unix_seconds(), clock.unix_millis()),
        (1_700_000_000, 1_700_000_000_123)
    );
    control.advance(Duration::from_millis(900));
    assert_eq!(copy.unix_millis(), 1_700_000_001_023);
    control.set(UNIX_EPOCH);
    assert_eq!((copy.now(), copy.unix_seconds()), (UNIX_EPOCH, 0));
    control.set(UNIX_EPOCH - Duration::from_secs(1));
    assert_eq!(copy.now(), UNIX_EPOCH);
}

#[test]
fn setting_a_clock_lets_no_time_pass() {
    let (clock, control) = Clock::fixed(UNIX_EPOCH + Duration::from_hours(400_000));
    let before = clock.read();
    control.advance(Duration::from_secs(3));
    let after = clock.read();
    assert_eq!(after.uptime, before.uptime + Duration::from_secs(3));
    assert_eq!(after.now, before.now + Duration::from_secs(3));
    control.set(UNIX_EPOCH);
    assert_eq!(
        (clock.read().now, clock.read().uptime),
        (UNIX_EPOCH, after.uptime)
    );
}

#[test]
fn the_system_clock_goes_forward() {
    let clock = Clock::system();
    // The first minute of 2025: no machine that builds this is earlier.
    assert!(clock.unix_seconds() > 1_735_689_600);
    assert!(clock.unix_millis() / 1000 >= clock.unix_seconds() - 1);
}
