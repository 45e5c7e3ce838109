//! A screen's lines.

use std::collections::VecDeque;

use super::cell::{Attributes, Cell, Glyph};

/// One line of a screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) cells: Vec<Cell>,
    /// Its text goes on in the next line.
    pub(super) wraps: bool,
    /// `ESC # size`: 3 to 6; 0 for the usual one.
    pub(super) size: u8,
}

impl Line {
    pub(super) fn new(columns: usize) -> Self {
        Self { cells: vec![Cell::default(); columns], wraps: false, size: 0 }
    }

    /// Its cells without those at the end where nothing is.
    pub(super) fn text(&self) -> &[Cell] {
        let length = self.cells.iter().rposition(|cell| !cell.is_blank()).map_or(0, |last| last + 1);
        &self.cells[..length]
    }

    fn clear(&mut self, cell: Cell) {
        self.cells.fill(cell);
        self.wraps = false;
        self.size = 0;
    }

    /// Erases halves of characters whose other half is not in `from..to`, which is about to be written or moved.
    pub(super) fn cut(&mut self, from: usize, to: usize) {
        for at in [from, to] {
            if at > 0 && self.cells.get(at).is_some_and(|cell| cell.attributes.has(Attributes::TAIL)) {
                for half in &mut self.cells[at - 1..=at] {
                    half.glyph = Glyph::BLANK;
                    half.extra = 0;
                    half.attributes = half.attributes.look();
                }
            }
        }
    }
}

/// A part of a screen; the sides after the last are not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) top: usize,
    pub(super) bottom: usize,
    pub(super) left: usize,
    pub(super) right: usize,
}

impl Area {
    pub(super) fn contains(&self, line: usize, column: usize) -> bool {
        (self.top..self.bottom).contains(&line) && (self.left..self.right).contains(&column)
    }
}

/// The lines of one screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) lines: VecDeque<Line>,
    pub(super) columns: usize,
}

impl Grid {
    pub(super) fn new(rows: usize, columns: usize) -> Self {
        Self { lines: (0..rows).map(|_| Line::new(columns)).collect(), columns }
    }

    pub(super) fn rows(&self) -> usize {
        self.lines.len()
    }

    pub(super) fn whole(&self) -> Area {
        Area { top: 0, bottom: self.rows(), left: 0, right: self.columns }
    }

    fn is_full_width(&self, area: Area) -> bool {
        area.left == 0 && area.right >= self.columns
    }

    /// Moves the lines of an area up by `count`. Those that leave a whole-width area at the screen's top go to `gone`.
    pub(super) fn scroll_up(&mut self, area: Area, count: usize, blank: Cell, mut gone: impl FnMut(&Line)) {
        let count = count.min(area.bottom - area.top);
        if !self.is_full_width(area) {
            for line in area.top..area.bottom {
                self.move_part(area, line, (line + count < area.bottom).then_some(line + count), blank);
            }
            return;
        }
        for _ in 0..count {
            let Some(mut line) = self.lines.remove(area.top) else { return };
            if area.top == 0 {
                gone(&line);
            }
            line.clear(blank);
            self.lines.insert(area.bottom - 1, line);
        }
    }

    /// Moves the lines of an area down by `count`.
    pub(super) fn scroll_down(&mut self, area: Area, count: usize, blank: Cell) {
        let count = count.min(area.bottom - area.top);
        if !self.is_full_width(area) {
            for line in (area.top..area.bottom).rev() {
                let from = line.checked_sub(count).filter(|from| *from >= area.top);
                self.move_part(area, line, from, blank);
            }
            return;
        }
        for _ in 0..count {
            let Some(mut line) = self.lines.remove(area.bottom - 1) else { return };
            line.clear(blank);
            self.lines.insert(area.top, line);
        }
        // What went on in a line that moved away goes on nowhere.
        if let Some(above) = area.top.checked_sub(1) {
            self.lines[above].wraps = false;
        }
    }

    /// Puts a part of the line at `from` in the place of that of `line`; blanks, without it.
    fn move_part(&mut self, area: Area, line: usize, from: Option<usize>, blank: Cell) {
        let columns = area.left..area.right.min(self.columns);
        let cells = from.map(|from| {
            self.lines[from].cut(columns.start, columns.end);
            self.lines[from].cells[columns.clone()].to_vec()
        });
        let line = &mut self.lines[line];
        line.cut(columns.start, columns.end);
        match cells {
            Some(cells) => line.cells[columns].copy_from_slice(&cells),
            None => line.cells[columns].fill(blank),
        }
    }

    /// Moves the cells of a line's `left..right` by `count` to the right, or to the left if `back`.
    pub(super) fn shift(
        &mut self,
        line: usize,
        left: usize,
        right: usize,
        count: usize,
        back: bool,
        blank: Cell,
    ) {
        let line = &mut self.lines[line];
        let count = count.min(right - left);
        line.cut(left, right);
        if back {
            line.cut(left + count, right);
            line.cells.copy_within(left + count..right, left);
            line.cells[right - count..right].fill(blank);
        } else {
            line.cut(left, right - count);
            line.cells.copy_within(left..right - count, left + count);
            line.cells[left..left + count].fill(blank);
        }
        line.wraps &= right < line.cells.len();
    }

    /// Erases the cells of a line that `spares` does not spare.
    pub(super) fn erase(
        &mut self,
        line: usize,
        from: usize,
        to: usize,
        blank: Cell,
        spares: impl Fn(&Cell) -> bool,
    ) {
        let to = to.min(self.columns);
        if from >= to {
            return;
        }
        if (from, to) == (0, self.columns)
            && let Some(above) = line.checked_sub(1)
        {
            // Nothing of it goes on here.
            self.lines[above].wraps = false;
        }
        let line = &mut self.lines[line];
        line.cut(from, to);
        for cell in line.cells[from..to].iter_mut().filter(|cell| !spares(cell)) {
            *cell = blank;
        }
        if to == line.cells.len() {
            line.wraps = false;
        }
        if from == 0 && to == line.cells.len() {
            line.size = 0;
        }
    }
}
