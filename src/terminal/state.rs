//! A terminal's state, and what moves, writes and erases in it. Where terminals differ, xterm is followed.

use super::{
    cell::{Attributes, Cell, Colour, Extra, Extras, Glyph, width},
    charsets::Charsets,
    grid::{Area, Grid, Line},
    history::ScrolledLines,
    modes,
    screen::{Cursor, Pen, Saved, ScreenBuffer, Tabs},
    settings::Settings,
};

/// Combining characters on one character. No script needs more, and without a bound they would fill the memory.
const MAX_MARKS: usize = 8;

/// The longest link that is kept, in bytes with its parameters.
const MAX_LINK: usize = 4096;

/// How often SGR may be pushed, as in xterm.
const MAX_PENS: usize = 10;

/// Which erases leave protected characters alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Protection {
    /// Selective ones (DECSED, DECSEL, DECSERA).
    #[default]
    Selective,
    /// All (SPA, of ISO 6429).
    Always,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct TerminalState {
    pub(super) settings: Settings,
    /// The first and the other one.
    pub(super) screens: [ScreenBuffer; 2],
    pub(super) cursor: Cursor,
    pub(super) pen: Pen,
    pub(super) pens: Vec<Pen>,
    pub(super) charsets: Charsets,
    /// The lines that scroll.
    pub(super) top: usize,
    pub(super) bottom: usize,
    /// The columns that scroll, in force while DECLRMM is set.
    pub(super) left: usize,
    pub(super) right: usize,
    pub(super) tabs: Tabs,
    pub(super) protection: Protection,
    /// The character before the cursor as the program printed it, if nothing came after it: repeats and combining
    /// characters go with it.
    pub(super) last: Option<char>,
    pub(super) history: ScrolledLines,
    pub(super) extras: Extras,
}

impl TerminalState {
    pub(super) fn new(rows: usize, columns: usize, history: usize) -> Self {
        let screen = || ScreenBuffer { grid: Grid::new(rows, columns), saved: Saved::default() };
        Self {
            settings: Settings::default(),
            screens: [screen(), screen()],
            cursor: Cursor::default(),
            pen: Pen::default(),
            pens: Vec::new(),
            charsets: Charsets::default(),
            top: 0,
            bottom: rows,
            left: 0,
            right: columns,
            tabs: Tabs::default(),
            protection: Protection::default(),
            last: None,
            history: ScrolledLines::new(history),
            extras: Extras::default(),
        }
    }

    pub(super) fn screen(&self) -> &ScreenBuffer {
        &self.screens[self.settings.screen()]
    }

    fn screen_mut(&mut self) -> &mut ScreenBuffer {
        &mut self.screens[self.settings.screen()]
    }

    pub(super) fn grid(&self) -> &Grid {
        &self.screen().grid
    }

    pub(super) fn grid_mut(&mut self) -> &mut Grid {
        &mut self.screen_mut().grid
    }

    pub(super) fn rows(&self) -> usize {
        self.screens[0].grid.rows()
    }

    pub(super) fn columns(&self) -> usize {
        self.screens[0].grid.columns
    }

    pub(super) fn is_set(&self, row: usize) -> bool {
        self.settings.modes.is_set(row)
    }

    /// What scrolls.
    pub(super) fn margins(&self) -> Area {
        let Self { top, bottom, left, right, .. } = *self;
        if self.is_set(modes::DECLRMM) {
            Area { top, bottom, left, right }
        } else {
            Area { top, bottom, left: 0, right: self.columns() }
        }
    }

    pub(super) fn reset_margins(&mut self) {
        (self.top, self.bottom) = (0, self.rows());
        self.reset_side_margins();
    }

    pub(super) fn reset_side_margins(&mut self) {
        (self.left, self.right) = (0, self.columns());
    }

    /// The column after the last that the cursor may write to: that of the margins, while it is within them.
    fn limit(&self) -> usize {
        let Area { right, .. } = self.margins();
        if self.cursor.column < right { right } else { self.columns() }
    }

    // Writing.

    /// Printable characters of ASCII, where no character set or mode makes more of them.
    pub(super) fn write_ascii(&mut self, mut text: &[u8]) {
        let cell = self.pen.cell;
        while let Some(last) = text.last().copied() {
            self.wrap_if_due();
            let (line, column, limit) = (self.cursor.line, self.cursor.column, self.limit());
            let (now, later) = text.split_at(text.len().min(limit - column));
            let cells = &mut self.grid_mut().lines[line];
            cells.cut(column, column + now.len());
            for (cell_there, byte) in cells.cells[column..].iter_mut().zip(now) {
                *cell_there = Cell { glyph: Glyph::character(char::from(*byte)), ..cell };
            }
            self.advance(now.len(), limit);
            self.last = Some(char::from(last));
            text = later;
        }
    }

    /// One character, as the program printed it.
    pub(super) fn write(&mut self, character: char) {
        let shown = self.charsets.translate(character);
        match width(shown) {
            0 => self.combine(shown),
            width => {
                self.write_glyph(Glyph::character(shown), width);
                self.last = Some(character);
            }
        }
    }

    pub(super) fn write_glyph(&mut self, glyph: Glyph, width: usize) {
        let columns = self.columns();
        if width > columns {
            return;
        }
        self.wrap_if_due();
        let mut limit = self.limit();
        if self.cursor.column + width > limit {
            if self.is_set(modes::DECAWM) {
                self.wrap();
                limit = self.limit();
            }
            // Without room even there, as between margins a column apart, it is shown over what is before it.
            self.cursor.column = self.cursor.column.min(limit.saturating_sub(width));
        }
        let (line, column) = (self.cursor.line, self.cursor.column);
        let (cell, blank) = (self.pen.cell, self.pen.blank());
        let inserts = self.is_set(modes::IRM);
        let grid = self.grid_mut();
        if inserts {
            grid.shift(line, column, limit, width, false, blank);
        }
        let end = (column + width).min(columns);
        let cells = &mut grid.lines[line];
        cells.cut(column, end);
        cells.cells[column] = Cell { glyph, ..cell };
        if width == 2 && end == column + 2 {
            cells.cells[column].attributes = cell.attributes.with(Attributes::WIDE, true);
            cells.cells[column + 1] = Cell {
                glyph: Glyph::BLANK,
                attributes: cell.attributes.with(Attributes::TAIL, true),
                ..cell
            };
        }
        self.advance(width, limit);
    }

    fn advance(&mut self, width: usize, limit: usize) {
        self.cursor.column += width;
        if self.cursor.column >= limit {
            self.cursor.column = limit - 1;
            self.cursor.wraps = true;
        }
    }

    fn wrap_if_due(&mut self) {
        if std::mem::take(&mut self.cursor.wraps) && self.is_set(modes::DECAWM) {
            self.wrap();
        }
    }

    fn wrap(&mut self) {
        let line = self.cursor.line;
        let is_whole = self.limit() == self.columns();
        self.grid_mut().lines[line].wraps = is_whole;
        self.carriage_return();
        self.index();
    }

    /// A combining character, onto the one before the cursor.
    fn combine(&mut self, mark: char) {
        let Some((line, column)) = self.before_cursor() else { return };
        let cell = self.grid().lines[line].cells[column];
        let mut extra = self.extras.get(cell.extra).clone();
        if extra.marks.chars().count() < MAX_MARKS {
            extra.marks.push(mark);
            let number = self.number(extra);
            self.grid_mut().lines[line].cells[column].extra = number;
        }
    }

    /// The place of the character before the cursor.
    pub(super) fn before_cursor(&self) -> Option<(usize, usize)> {
        let Cursor { line, column, wraps } = self.cursor;
        let column = if wraps { column } else { column.checked_sub(1)? };
        let is_tail = self.grid().lines[line].cells[column].attributes.has(Attributes::TAIL);
        Some((line, if is_tail { column.saturating_sub(1) } else { column }))
    }

    /// An extra's number. Where there is no room, those that are nowhere shown make it.
    fn number(&mut self, extra: Extra) -> u16 {
        if self.extras.is_full() {
            let mut used = vec![false; self.extras.count()];
            let mut mark = |cell: &Cell| {
                if let Some(used) = used.get_mut(usize::from(cell.extra)) {
                    *used = true;
                }
            };
            for screen in &self.screens {
                screen.grid.lines.iter().for_each(|line| line.cells.iter().for_each(&mut mark));
                mark(&screen.saved.pen.cell);
            }
            self.history.for_each_cell(&mut mark);
            self.pens.iter().for_each(|pen| mark(&pen.cell));
            mark(&self.pen.cell);
            self.extras.retain(&used);
        }
        self.extras.number(extra)
    }

    pub(super) fn set_underline_colour(&mut self, colour: Colour) {
        let before = self.extras.get(self.pen.cell.extra);
        if before.underline != colour {
            let link = before.link.clone();
            self.pen.cell.extra = self.number(Extra { underline: colour, link, ..Extra::default() });
        }
    }

    /// OSC 8: `parameters;address`.
    pub(super) fn set_link(&mut self, link: &str) {
        let (parameters, address) = link.split_once(';').unwrap_or((link, ""));
        let is_kept = !address.is_empty()
            && link.len() <= MAX_LINK
            && !parameters.chars().chain(address.chars()).any(char::is_control);
        let underline = self.extras.get(self.pen.cell.extra).underline;
        let link = if is_kept { link.to_owned() } else { String::new() };
        self.pen.cell.extra = self.number(Extra { underline, link, ..Extra::default() });
    }

    pub(super) fn push_pen(&mut self) {
        if self.pens.len() < MAX_PENS {
            let mut pen = self.pen;
            pen.set(Attributes::PROTECTED, false);
            let underline = self.extras.get(pen.cell.extra).underline;
            pen.cell.extra = self.number(Extra { underline, ..Extra::default() });
            self.pens.push(pen);
        }
    }

    pub(super) fn pop_pen(&mut self) {
        if let Some(pen) = self.pens.pop() {
            let before = self.extras.get(self.pen.cell.extra).clone();
            let underline = self.extras.get(pen.cell.extra).underline;
            let is_protected = self.pen.cell.attributes.has(Attributes::PROTECTED);
            self.pen = pen;
            self.pen.set(Attributes::PROTECTED, is_protected);
            self.pen.cell.extra = self.number(Extra { underline, ..before });
        }
    }

    // Moving.

    pub(super) fn carriage_return(&mut self) {
        let Area { left, .. } = self.margins();
        let column = if self.cursor.column >= left { left } else { 0 };
        self.place(self.cursor.line, column);
    }

    /// Puts the cursor at a place of the screen.
    pub(super) fn place(&mut self, line: usize, column: usize) {
        let (line, column) = (line.min(self.rows() - 1), column.min(self.columns() - 1));
        self.cursor = Cursor { line, column, wraps: false };
    }

    /// Puts the cursor at a place that counts from the margins, in origin mode.
    pub(super) fn go_to(&mut self, line: usize, column: usize) {
        if self.is_set(modes::DECOM) {
            let Area { top, bottom, left, right } = self.margins();
            self.place((top + line).min(bottom - 1), (left + column).min(right - 1));
        } else {
            self.place(line, column);
        }
    }

    /// The cursor's place, as [`go_to`](Self::go_to) counts.
    pub(super) fn relative(&self, line: usize, column: usize) -> (usize, usize) {
        if self.is_set(modes::DECOM) {
            let Area { top, left, .. } = self.margins();
            (line.saturating_sub(top), column.saturating_sub(left))
        } else {
            (line, column)
        }
    }

    pub(super) fn up(&mut self, count: usize) {
        let Area { top, .. } = self.margins();
        let end = if self.cursor.line >= top { top } else { 0 };
        self.place(self.cursor.line.saturating_sub(count).max(end), self.cursor.column);
    }

    pub(super) fn down(&mut self, count: usize) {
        let Area { bottom, .. } = self.margins();
        let end = if self.cursor.line < bottom { bottom } else { self.rows() };
        self.place((self.cursor.line + count).min(end - 1), self.cursor.column);
    }

    pub(super) fn forward(&mut self, count: usize) {
        let end = self.limit();
        self.place(self.cursor.line, (self.cursor.column + count).min(end - 1));
    }

    pub(super) fn back(&mut self, count: usize) {
        let Area { left, .. } = self.margins();
        let end = if self.cursor.column >= left { left } else { 0 };
        self.place(self.cursor.line, self.cursor.column.saturating_sub(count).max(end));
    }

    pub(super) fn backspace(&mut self) {
        let Area { top, bottom, left, right } = self.margins();
        let Cursor { line, column, .. } = self.cursor;
        let wraps_back = self.is_set(modes::REVERSE_WRAP) && self.is_set(modes::DECAWM);
        if wraps_back && self.cursor.wraps {
            // The next character would have gone to the next line; it goes to the last column instead.
            self.cursor.wraps = false;
        } else if column == left && wraps_back {
            let line = if line == top { bottom - 1 } else { line.saturating_sub(1) };
            self.place(line, right - 1);
        } else {
            self.back(1);
        }
    }

    pub(super) fn tab(&mut self, count: usize) {
        for _ in 0..count.min(self.columns()) {
            let end = self.limit();
            let column = self.tabs.after(self.cursor.column, end).unwrap_or(end - 1);
            self.place(self.cursor.line, column);
        }
    }

    pub(super) fn tab_back(&mut self, count: usize) {
        let Area { left, .. } = self.margins();
        let start = if self.is_set(modes::DECOM) { left } else { 0 };
        for _ in 0..count.min(self.columns()) {
            let column = self.tabs.before(self.cursor.column, start).unwrap_or(start);
            self.place(self.cursor.line, column);
        }
    }

    pub(super) fn line_feed(&mut self) {
        self.index();
        if self.is_set(modes::LNM) {
            self.carriage_return();
        }
    }

    pub(super) fn index(&mut self) {
        let Area { bottom, left, right, .. } = self.margins();
        if self.cursor.line + 1 == bottom {
            if (left..right).contains(&self.cursor.column) {
                self.scroll_up(1);
            }
            self.cursor.wraps = false;
        } else {
            self.place(self.cursor.line + 1, self.cursor.column);
        }
    }

    pub(super) fn reverse_index(&mut self) {
        let area = self.margins();
        if self.cursor.line == area.top {
            if (area.left..area.right).contains(&self.cursor.column) {
                self.scroll_down(1);
            }
            self.cursor.wraps = false;
        } else {
            self.place(self.cursor.line.saturating_sub(1), self.cursor.column);
        }
    }

    pub(super) fn scroll_up(&mut self, count: usize) {
        self.scroll_area_up(self.margins(), count);
    }

    fn scroll_area_up(&mut self, area: Area, count: usize) {
        let blank = self.pen.blank();
        let screen = self.settings.screen();
        let history = &mut self.history;
        let keep = |line: &Line| {
            if screen == 0 {
                history.push(line);
            }
        };
        self.screens[screen].grid.scroll_up(area, count, blank, keep);
    }

    pub(super) fn scroll_down(&mut self, count: usize) {
        let (area, blank) = (self.margins(), self.pen.blank());
        self.grid_mut().scroll_down(area, count, blank);
    }

    /// Moves all lines of the scrolling area sideways.
    pub(super) fn scroll_sideways(&mut self, count: usize, back: bool) {
        let Area { left, .. } = self.margins();
        self.shift_columns(left, count, back);
    }

    /// Inserts or deletes columns at one (DECIC, DECDC, SL, SR), in the lines that scroll.
    pub(super) fn shift_columns(&mut self, column: usize, count: usize, back: bool) {
        let (area, blank) = (self.margins(), self.pen.blank());
        if (area.left..area.right).contains(&column) {
            for line in area.top..area.bottom {
                self.grid_mut().shift(line, column, area.right, count, back, blank);
            }
        }
        self.cursor.wraps = false;
    }

    pub(super) fn is_in_margins(&self) -> bool {
        self.margins().contains(self.cursor.line, self.cursor.column)
    }

    // Editing.

    pub(super) fn insert_lines(&mut self, count: usize) {
        if self.is_in_margins() {
            let (area, blank) = (Area { top: self.cursor.line, ..self.margins() }, self.pen.blank());
            self.grid_mut().scroll_down(area, count, blank);
            self.carriage_return();
        }
    }

    pub(super) fn delete_lines(&mut self, count: usize) {
        if self.is_in_margins() {
            let (area, blank) = (Area { top: self.cursor.line, ..self.margins() }, self.pen.blank());
            // What is deleted did not scroll away.
            self.grid_mut().scroll_up(area, count, blank, |_| {});
            self.carriage_return();
        }
    }

    /// Inserts blanks at the cursor, or deletes characters there.
    pub(super) fn shift_line(&mut self, count: usize, back: bool) {
        let Cursor { line, column, .. } = self.cursor;
        if self.is_in_side_margins() {
            let (right, blank) = (self.margins().right, self.pen.blank());
            self.grid_mut().shift(line, column, right, count, back, blank);
        }
        self.cursor.wraps = false;
    }

    fn is_in_side_margins(&self) -> bool {
        let Area { left, right, .. } = self.margins();
        (left..right).contains(&self.cursor.column)
    }

    /// Erases in one line; `selective` as DECSEL.
    pub(super) fn erase(&mut self, line: usize, from: usize, to: usize, selective: bool) {
        let blank = self.pen.blank();
        let spares_protected = selective || self.protection == Protection::Always;
        self.grid_mut().erase(line, from, to, blank, |cell| {
            spares_protected && cell.attributes.has(Attributes::PROTECTED)
        });
    }

    pub(super) fn erase_characters(&mut self, count: usize) {
        let Cursor { line, column, .. } = self.cursor;
        self.erase(line, column, column.saturating_add(count), false);
        self.cursor.wraps = false;
    }

    pub(super) fn erase_in_line(&mut self, which: u16, selective: bool) {
        let Cursor { line, column, .. } = self.cursor;
        let columns = self.columns();
        match which {
            0 => self.erase(line, column, columns, selective),
            1 => self.erase(line, 0, column + 1, selective),
            2 => self.erase(line, 0, columns, selective),
            _ => return,
        }
        self.cursor.wraps = false;
    }

    pub(super) fn erase_in_display(&mut self, which: u16, selective: bool) {
        let (rows, columns) = (self.rows(), self.columns());
        let line = self.cursor.line;
        let lines = match which {
            0 => line + 1..rows,
            1 => 0..line,
            2 => 0..rows,
            3 if !selective => return self.history.clear(),
            _ => return,
        };
        if which < 2 {
            self.erase_in_line(which, selective);
        }
        for line in lines {
            self.erase(line, 0, columns, selective);
        }
        self.cursor.wraps = false;
    }

    /// DECALN.
    pub(super) fn fill_with_e(&mut self) {
        self.reset_margins();
        let cell = Cell { glyph: Glyph::character('E'), ..Cell::default() };
        for line in &mut self.grid_mut().lines {
            *line = Line::new(line.cells.len());
            line.cells.fill(cell);
        }
        self.place(0, 0);
    }

    // Saving, screens, resets.

    pub(super) fn save_cursor(&mut self) {
        let saved = Saved {
            cursor: self.cursor,
            pen: self.pen,
            charsets: Charsets { single: None, ..self.charsets },
            origin: self.is_set(modes::DECOM),
        };
        self.screen_mut().saved = saved;
    }

    pub(super) fn restore_cursor(&mut self) {
        let Saved { cursor, pen, charsets, origin } = self.screen().saved;
        self.settings.modes.change(modes::DECOM, origin);
        (self.pen, self.charsets) = (pen, charsets);
        self.place(cursor.line, cursor.column);
        self.cursor.wraps = cursor.wraps && cursor.column < self.columns();
    }

    /// Shows a screen, `row` being the mode that asks for it.
    pub(super) fn show_screen(&mut self, number: u16, row: usize, other: bool) {
        let is_there = self.settings.screen() == 1;
        if other {
            if number == 1049 {
                self.save_cursor();
            }
            self.settings.modes.change(row, true);
            if number == 1049 && !is_there {
                self.clear_screen();
            }
        } else {
            if number == 1047 && is_there {
                self.clear_screen();
            }
            self.settings.modes.change(row, false);
            if number == 1049 {
                self.restore_cursor();
            }
        }
        self.cursor.wraps &= number == 1049 && !other;
    }

    fn clear_screen(&mut self) {
        let blank = self.pen.blank();
        for line in &mut self.grid_mut().lines {
            *line = Line::new(line.cells.len());
            line.cells.fill(blank);
        }
    }

    /// DECCOLM, where it is allowed: the size is the person's, all else is done.
    pub(super) fn change_columns(&mut self) {
        if self.is_set(modes::ALLOW_DECCOLM) {
            self.reset_margins();
            self.clear_screen();
            self.place(0, 0);
        }
    }

    /// DECSTR; the settings were reset before.
    pub(super) fn soft_reset(&mut self) {
        self.reset_margins();
        self.pen.reset_look();
        self.pen.set(Attributes::PROTECTED, false);
        self.set_underline_colour(Colour::DEFAULT);
        self.protection = Protection::Selective;
        self.charsets = Charsets::default();
        self.save_cursor();
        self.screen_mut().saved.cursor = Cursor::default();
    }

    /// RIS; the settings were reset before.
    pub(super) fn hard_reset(&mut self) {
        let settings = std::mem::take(&mut self.settings);
        let (rows, columns, history) = (self.rows(), self.columns(), self.history.max_lines());
        *self = Self { settings, ..Self::new(rows, columns, history) };
    }
}
