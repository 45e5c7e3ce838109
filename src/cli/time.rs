//! A span of time, as people give it.

use std::{str::FromStr, time::Duration};

/// A span of time: numbers, with a fraction if wanted, each with ms, s, m, h, d or w; one alone is seconds without it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TimeSpan(pub(super) Duration);

/// The longest that can be given, in seconds: a year. Timers have bounds of their own.
const MOST: f64 = 365.0 * DAY;

const DAY: f64 = 24.0 * 3600.0;

const EXAMPLES: &str = "give a span of time such as 500ms, 2s, 1.5m, 1h30m or 2d";

impl FromStr for TimeSpan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_number = |letter: char| letter.is_ascii_digit() || letter == '.';
        let (mut rest, mut seconds) = (text, 0.0);
        loop {
            let (number, after) = rest.split_at(rest.find(|letter| !is_number(letter)).unwrap_or(rest.len()));
            let (unit, next) = after.split_at(after.find(is_number).unwrap_or(after.len()));
            let unit = match unit {
                "" if number.len() == text.len() => 1.0,
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "d" => DAY,
                "w" => 7.0 * DAY,
                _ if number.is_empty() || unit.is_empty() => return Err(EXAMPLES.to_owned()),
                _ => return Err(format!("unknown unit {unit:?}; use ms, s, m, h, d or w")),
            };
            seconds += number.parse::<f64>().map_err(|_| EXAMPLES.to_owned())? * unit;
            if next.is_empty() {
                break;
            }
            rest = next;
        }
        match seconds {
            seconds if seconds <= MOST => Ok(Self(Duration::from_secs_f64(seconds))),
            _ => Err("a year is the longest".to_owned()),
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
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            ("1w1.5d", 734_400_000),
            ("365d", 31_536_000_000),
            ("0", 0),
        ] {
            assert_eq!(text.parse(), Ok(TimeSpan(Duration::from_millis(milliseconds))), "{text}");
        }
        for wrong in [
            "", "s", "-1", "1 s", "2y", "1e3", "inf", "nan", "1..2", "9999999h", "366d", "1h30", "1hm", "h1",
            "1D", "1.h.", "365d1s", "300d66d",
        ] {
            assert!(wrong.parse::<TimeSpan>().is_err(), "{wrong:?}");
        }
    }
}
