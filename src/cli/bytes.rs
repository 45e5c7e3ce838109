//! A number of bytes, as people give it and read it.

use std::{fmt, str::FromStr};

const UNITS: [(&str, usize); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// A number of bytes: digits, and KiB, MiB or GiB if wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ByteCount(pub(super) usize);

impl FromStr for ByteCount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let unit: usize = match &text[digits.len()..] {
            "" | "B" => 1,
            "KiB" | "K" | "k" => 1 << 10,
            "MiB" | "M" => 1 << 20,
            "GiB" | "G" => 1 << 30,
            unit => return Err(format!("unknown unit {unit:?}; use KiB, MiB or GiB")),
        };
        let number: usize = digits
            .parse()
            .map_err(|_| "give a whole number of bytes, such as 65536, 64KiB or 4MiB".to_owned())?;
        number.checked_mul(unit).map(Self).ok_or_else(|| "too many bytes".to_owned())
    }
}

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

/// A count of bytes for people, to two places of the largest unit.
pub(super) fn about(bytes: u64) -> String {
    match UNITS.iter().find(|(_, unit)| bytes >= *unit as u64) {
        Some((name, unit)) => format!("{:.2} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_counts_are_read_with_and_without_units() {
        let bytes = |text: &str| text.parse::<ByteCount>().map(|count| count.0);
        assert_eq!(bytes("65536"), Ok(65536));
        assert_eq!(bytes("64KiB"), Ok(65536));
        assert_eq!(bytes("1G"), Ok(1 << 30));
        for wrong in [
            "",
            "MiB",
            "4 MiB",
            "-1",
            "1.5MiB",
            "4mib",
            "4TiB",
            "99999999999999999999",
            "18446744073709551615K",
        ] {
            assert!(bytes(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn byte_counts_are_shown_in_the_largest_unit_that_is_exact() {
        for (bytes, shown) in
            [(0, "0"), (1000, "1000"), (65536, "64KiB"), (4 << 20, "4MiB"), (5 << 30, "5GiB")]
        {
            assert_eq!(ByteCount(bytes).to_string(), shown);
        }
    }

    #[test]
    fn bytes_for_people_are_rounded() {
        for (bytes, shown) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.50 KiB"), (5 << 40, "5120.00 GiB")] {
            assert_eq!(about(bytes), shown);
        }
    }
}
