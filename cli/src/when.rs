//! Times and durations, as people read and write them.

use ::time::{OffsetDateTime, format_description::well_known::Rfc3339};

const UNITS: [(&str, u64); 5] = [
    ("s", 1),
    ("m", 60),
    ("h", 60 * 60),
    ("d", 24 * 60 * 60),
    ("w", 7 * 24 * 60 * 60),
];

/// Parses a duration of one unit, `90s`, `10m`, `12h`, `30d` or `2w`, into seconds.
pub(crate) fn parse_duration(text: &str) -> Result<u64, String> {
    let invalid = || format!("{text:?} is not a duration such as 45s, 10m, 12h, 30d or 2w");
    let (number, seconds) = UNITS
        .iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, *seconds)))
        .ok_or_else(invalid)?;
    let number: u64 = number.parse().map_err(|_| invalid())?;
    number
        .checked_mul(seconds)
        .filter(|total| *total > 0)
        .ok_or_else(invalid)
}

/// RFC 3339, in whole seconds; none for what never was.
pub(crate) fn of_seconds(unix: i64) -> Option<String> {
    if unix == 0 {
        return None;
    }
    OffsetDateTime::from_unix_timestamp(unix)
        .ok()?
        .format(&Rfc3339)
        .ok()
}

/// RFC 3339, in whole seconds; none for what never was.
pub(crate) fn of_millis(unix: i64) -> Option<String> {
    of_seconds(unix.div_euclid(1_000))
}

/// What is left, in its two largest units.
pub(crate) fn life(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        i64::MIN..=0 => "expired".to_owned(),
        1..=119 => format!("{seconds} seconds"),
        120..=7_199 => format!("{minutes} minutes"),
        7_200..=172_799 => format!("{hours} hours"),
        _ => format!("{days} days"),
    }
}

#[cfg(test)]
mod tests {
    use super::{life, of_millis, of_seconds, parse_duration};

    #[test]
    fn durations_have_one_unit() {
        for (text, seconds) in [
            ("45s", 45),
            ("10m", 600),
            ("12h", 43_200),
            ("30d", 2_592_000),
            ("2w", 1_209_600),
        ] {
            assert_eq!(parse_duration(text), Ok(seconds), "{text}");
        }
        for text in [
            "",
            "d",
            "0d",
            "-1d",
            "1.5h",
            "30",
            "1h30m",
            "1y",
            "99999999999999999999d",
            "1 d",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_duration("18446744073709551615w").is_err());
    }

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(of_seconds(0), None);
        assert_eq!(of_seconds(1_767_225_600).as_deref(), Some("2026-01-01T00:00:00Z"));
        assert_eq!(
            of_millis(1_767_225_600_999).as_deref(),
            Some("2026-01-01T00:00:00Z")
        );
        assert_eq!(of_seconds(i64::MAX), None);
    }

    #[test]
    fn lives_are_short_to_read() {
        for (seconds, text) in [
            (-5, "expired"),
            (0, "expired"),
            (119, "119 seconds"),
            (120, "2 minutes"),
            (7_200, "2 hours"),
            (172_800, "2 days"),
        ] {
            assert_eq!(life(seconds), text);
        }
    }
}
