//! A span of time, as people give it.

use std::{str::FromStr, time::Duration};

/// A span of time: a number, with a fraction if wanted, and ms, s, m or h; seconds without one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TimeSpan(pub(super) Duration);

/// The longest that can be given, in seconds: a year. Timers have bounds of their own.
const MOST: f64 = 365.0 * 24.0 * 3600.0;

const EXAMPLES: &str = "give a span of time such as 500ms, 2s, 1.5m or 1h";

impl FromStr for TimeSpan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let unit = match &text[number.len()..] {
            _ if number.is_empty() => return Err(EXAMPLES.to_owned()),
            "" | "s" => 1.0,
            "ms" => 0.001,
            "m" => 60.0,
            "h" => 3600.0,
            unit => return Err(format!("unknown unit {unit:?}; use ms, s, m or h")),
        };
        let is_number = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let seconds = number.parse::<f64>().ok().filter(|_| is_number).map(|number| number * unit);
        match seconds {
            Some(seconds) if seconds <= MOST => Ok(Self(Duration::from_secs_f64(seconds))),
            Some(_) => Err("at most a year can be waited for".to_owned()),
            None => Err(EXAMPLES.to_owned()),
        }
    }
}

/// An age, in the largest unit of which it has two.
pub(super) fn age(seconds: u64) -> String {
    let units = [("days", 24 * 60 * 60), ("hours", 60 * 60), ("minutes", 60)];
    match units.iter().find(|(_, unit)| seconds >= 2 * unit) {
        Some((name, unit)) => format!("{} {name}", seconds / unit),
        None if seconds == 1 => "1 second".to_owned(),
        None => format!("{seconds} seconds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_shown_in_the_largest_unit_of_which_there_are_two() {
        for (seconds, shown) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (119, "119 seconds"),
            (120, "2 minutes"),
            (7199, "119 minutes"),
            (7200, "2 hours"),
            (48 * 3600, "2 days"),
        ] {
            assert_eq!(age(seconds), shown);
        }
    }

    #[test]
    fn spans_of_time_are_read_with_and_without_units() {
        for (text, milliseconds) in [
            ("2", 2000),
            ("2s", 2000),
            ("500ms", 500),
            ("0.5", 500),
            ("1.5m", 90_000),
            ("1h", 3_600_000),
            ("0", 0),
        ] {
            assert_eq!(text.parse(), Ok(TimeSpan(Duration::from_millis(milliseconds))), "{text}");
        }
        for wrong in ["", "s", "-1", "1 s", "2d", "1e3", "inf", "nan", "1..2", "9999999h"] {
            assert!(wrong.parse::<TimeSpan>().is_err(), "{wrong:?}");
        }
    }
}
