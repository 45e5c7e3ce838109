//! A terminal's size in pixels, for programs that draw pictures.

use serde::{Deserialize, Serialize};

use crate::{SizeError, TerminalSize};

/// The size of a whole terminal in pixels, without its borders; neither side is 0.
///
/// A terminal that does not know its size in pixels reports 0x0: that is no size, and [`new`](Self::new) says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(u16, u16)", into = "(u16, u16)")]
pub struct PixelSize {
    width: u16,
    height: u16,
}

impl PixelSize {
    /// A size, unless a side is 0.
    #[must_use]
    pub const fn new(width: u16, height: u16) -> Option<Self> {
        if width == 0 || height == 0 { None } else { Some(Self { width, height }) }
    }

    /// Pixels in a row of them.
    #[must_use]
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// Rows of pixels.
    #[must_use]
    pub const fn height(&self) -> u16 {
        self.height
    }

    /// The size of a terminal of `to` cells, each as large as the cells of this one, which has `from`. At most 65535
    /// pixels a side.
    #[must_use]
    pub fn scaled(self, from: TerminalSize, to: TerminalSize) -> Self {
        let side = |pixels: u16, from: u16, to: u16| match from == to {
            true => pixels,
            false => (pixels / from).max(1).saturating_mul(to),
        };
        Self {
            width: side(self.width, from.cols(), to.cols()),
            height: side(self.height, from.rows(), to.rows()),
        }
    }
}

impl TryFrom<(u16, u16)> for PixelSize {
    type Error = SizeError;

    fn try_from((width, height): (u16, u16)) -> Result<Self, SizeError> {
        Self::new(width, height).ok_or(SizeError)
    }
}

impl From<PixelSize> for (u16, u16) {
    fn from(size: PixelSize) -> Self {
        (size.width, size.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_size_has_cells_of_the_same_size() {
        let pixels = |width, height| PixelSize::new(width, height).unwrap();
        let cells = |cols, rows| TerminalSize::new(cols, rows).unwrap();
        // With 4 pixels to spare, which no cell has.
        let whole = pixels(1604, 480);
        assert_eq!(whole.scaled(cells(80, 24), cells(80, 24)), whole);
        assert_eq!(whole.scaled(cells(80, 24), cells(100, 10)), pixels(2000, 200));
        assert_eq!(pixels(u16::MAX, 1).scaled(cells(1, 1000), cells(1000, 1)), pixels(u16::MAX, 1));
    }

    #[test]
    fn a_size_without_a_side_is_none_and_not_read() {
        assert_eq!((PixelSize::new(0, 1), PixelSize::new(1, 0)), (None, None));
        assert!(postcard::from_bytes::<PixelSize>(&[0, 7]).is_err());
        let size = PixelSize::new(300, 7).unwrap();
        assert_eq!(postcard::from_bytes(&postcard::to_stdvec(&size).unwrap()), Ok(size));
    }
}
