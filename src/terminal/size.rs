//! A terminal's size: what people type, checked where it enters.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A terminal's size in character cells, written `WIDTHxHEIGHT`; both from 1 to 1000.
///
/// A terminal that does not know its size reports 0x0: that is no size, and [`new`](Self::new) says so.
///
/// ```
/// use fugue_server::TerminalSize;
///
/// let size: TerminalSize = "120x40".parse()?;
/// assert_eq!((size.cols(), size.rows()), (120, 40));
/// assert_eq!(TerminalSize::new(0, 0), None);
/// # Ok::<(), fugue_server::SizeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(u16, u16)", into = "(u16, u16)")]
pub struct TerminalSize {
    cols: u16,
    rows: u16,
}

/// A size that is no `WIDTHxHEIGHT` within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a size is WIDTHxHEIGHT in characters, both from 1 to 1000, such as 80x24")]
pub struct SizeError;

impl TerminalSize {
    /// What a terminal is given when nobody knows better.
    pub const DEFAULT: Self = Self { cols: 80, rows: 24 };

    /// Far beyond any screen, and little enough to keep a model of.
    const MAX: u16 = 1000;

    /// A size, unless a side is 0 or above 1000.
    #[must_use]
    pub fn new(cols: u16, rows: u16) -> Option<Self> {
        let bounds = 1..=Self::MAX;
        (bounds.contains(&cols) && bounds.contains(&rows)).then_some(Self { cols, rows })
    }

    /// The size nearest to this within the bounds, unless a side is 0.
    #[must_use]
    pub fn clamped(cols: u16, rows: u16) -> Option<Self> {
        Self::new(cols.min(Self::MAX), rows.min(Self::MAX))
    }

    /// Characters in a line.
    #[must_use]
    pub fn cols(&self) -> u16 {
        self.cols
    }

    /// Lines.
    #[must_use]
    pub fn rows(&self) -> u16 {
        self.rows
    }
}

impl FromStr for TerminalSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let (cols, rows) = text.split_once('x').ok_or(SizeError)?;
        let side = |text: &str| text.parse().map_err(|_| SizeError);
        Self::new(side(cols)?, side(rows)?).ok_or(SizeError)
    }
}

impl TryFrom<(u16, u16)> for TerminalSize {
    type Error = SizeError;

    fn try_from((cols, rows): (u16, u16)) -> Result<Self, SizeError> {
        Self::new(cols, rows).ok_or(SizeError)
    }
}

impl From<TerminalSize> for (u16, u16) {
    fn from(size: TerminalSize) -> Self {
        (size.cols, size.rows)
    }
}

impl fmt::Display for TerminalSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.cols, self.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_outside_the_bounds_are_refused() {
        for size in
            ["", "80", "0x0", "0x24", "80x0", "1001x24", "80x10000", "80x24x1", "-1x24", "axb", "80X24"]
        {
            assert_eq!(size.parse::<TerminalSize>(), Err(SizeError), "{size:?}");
        }
        assert_eq!(TerminalSize::clamped(1200, 50), TerminalSize::new(1000, 50));
        assert_eq!(TerminalSize::clamped(u16::MAX, u16::MAX), TerminalSize::new(1000, 1000));
        assert_eq!((TerminalSize::clamped(0, 24), TerminalSize::clamped(80, 0)), (None, None));
        assert_eq!("1x1000".parse::<TerminalSize>().unwrap().to_string(), "1x1000");
    }
}
