//! What a terminal's screens are made of: places, what is written next, and what was saved of that.

use super::{
    cell::{Attributes, Cell, Colour},
    charsets::Charsets,
    grid::Grid,
};

/// Where the next character goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) line: usize,
    pub(super) column: usize,
    /// The last column was written: the next character wraps before it is shown.
    pub(super) wraps: bool,
}

/// How characters are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pen {
    /// Colours and attributes, and in `extra` the underline's colour and the link.
    pub(super) cell: Cell,
}

impl Pen {
    /// What erasing leaves: the background, as in xterm.
    pub(super) fn blank(&self) -> Cell {
        Cell { background: self.cell.background, ..Cell::default() }
    }

    pub(super) fn set(&mut self, attribute: Attributes, set: bool) {
        self.cell.attributes = self.cell.attributes.with(attribute, set);
    }

    /// As after `CSI m`, which leaves protection and the link alone.
    pub(super) fn reset_look(&mut self) {
        let protected = self.cell.attributes.has(Attributes::PROTECTED);
        self.cell.attributes = Attributes::default().with(Attributes::PROTECTED, protected);
        self.cell.foreground = Colour::DEFAULT;
        self.cell.background = Colour::DEFAULT;
    }
}

/// What DECSC saves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Saved {
    pub(super) cursor: Cursor,
    pub(super) pen: Pen,
    pub(super) charsets: Charsets,
    pub(super) origin: bool,
}

/// One of the two screens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ScreenBuffer {
    pub(super) grid: Grid,
    pub(super) saved: Saved,
}

/// Columns that may have a tab stop: more than a terminal may have.
const MAX_COLUMNS: usize = 1024;

/// Where tabs stop, a bit for each column, beyond the screen's as well: it may become wider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tabs([u64; MAX_COLUMNS / 64]);

impl Default for Tabs {
    /// Every eight columns.
    fn default() -> Self {
        Self([0x0101_0101_0101_0101; MAX_COLUMNS / 64])
    }
}

impl Tabs {
    pub(super) fn is_stop(&self, column: usize) -> bool {
        self.0.get(column / 64).is_some_and(|bits| bits & 1 << (column % 64) != 0)
    }

    pub(super) fn set(&mut self, column: usize, stop: bool) {
        if let Some(bits) = self.0.get_mut(column / 64) {
            *bits = if stop { *bits | 1 << (column % 64) } else { *bits & !(1 << (column % 64)) };
        }
    }

    pub(super) fn clear(&mut self) {
        self.0 = [0; MAX_COLUMNS / 64];
    }

    /// The next stop after a column, if there is one before `end`.
    pub(super) fn after(&self, column: usize, end: usize) -> Option<usize> {
        (column + 1..end).find(|column| self.is_stop(*column))
    }

    pub(super) fn before(&self, column: usize, start: usize) -> Option<usize> {
        (start..column).rev().find(|column| self.is_stop(*column))
    }
}
