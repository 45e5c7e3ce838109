//! What sequences do to a terminal's state: from what the parser found to the call that does it.

use super::{
    cell::{Attributes, Glyph},
    control::{BS, CR, FF, HT, LF, SI, SO, VT},
    grid::Area,
    modes::{self, MODES, ModeKind, Number},
    parser::{ControlSequence, Perform},
    rectangles, sgr,
    state::{Protection, TerminalState},
};

impl Perform for TerminalState {
    fn print(&mut self, text: &str) {
        if self.charsets.is_plain() && !self.is_set(modes::IRM) {
            let ascii = text.bytes().position(|byte| !byte.is_ascii()).unwrap_or(text.len());
            self.write_ascii(&text.as_bytes()[..ascii]);
            text[ascii..].chars().for_each(|character| self.write(character));
        } else {
            text.chars().for_each(|character| self.write(character));
        }
    }

    fn print_invalid(&mut self, bytes: &[u8]) {
        self.charsets.single = None;
        self.write_glyph(Glyph::raw(bytes), 1);
        self.last = None;
    }

    fn control(&mut self, byte: u8) {
        self.last = None;
        match byte {
            BS => self.backspace(),
            HT => self.tab(1),
            LF | VT | FF => self.line_feed(),
            CR => self.carriage_return(),
            SO => self.charsets.active = 1,
            SI => self.charsets.active = 0,
            _ => {}
        }
    }

    fn escape(&mut self, intermediates: &[u8], last: u8) {
        self.last = None;
        self.settings.escape(intermediates, last);
        match (intermediates, last) {
            ([], b'7') => self.save_cursor(),
            ([], b'8') => self.restore_cursor(),
            ([], b'D') => self.index(),
            ([], b'E') => {
                self.index();
                self.carriage_return();
            }
            ([], b'H') => self.tabs.set(self.cursor.column, true),
            ([], b'M') => self.reverse_index(),
            ([], b'N') => self.charsets.single = Some(2),
            ([], b'O') => self.charsets.single = Some(3),
            ([], b'n') => self.charsets.active = 2,
            ([], b'o') => self.charsets.active = 3,
            ([], b'V') => {
                self.protection = Protection::Always;
                self.pen.set(Attributes::PROTECTED, true);
            }
            ([], b'W') => self.pen.set(Attributes::PROTECTED, false),
            ([], b'6') => self.index_sideways(true),
            ([], b'9') => self.index_sideways(false),
            ([], b'c') => self.hard_reset(),
            ([b'#'], b'8') => self.fill_with_e(),
            ([b'#'], size @ b'3'..=b'6') => {
                let line = self.cursor.line;
                self.grid_mut().lines[line].size = if size == b'5' { 0 } else { size - b'0' };
            }
            ([designator], set @ b'0'..=b'~') => self.charsets.designate(*designator, set),
            _ => {}
        }
    }

    fn control_sequence(&mut self, sequence: &ControlSequence) {
        let last = self.last.take();
        self.settings.control_sequence(sequence);
        match (sequence.private, sequence.intermediates()) {
            (0, []) => self.plain_sequence(sequence, last),
            (b'?', []) => self.private_sequence(sequence),
            (0, intermediates) => self.sequence_with_intermediates(intermediates, sequence),
            _ => {}
        }
    }

    fn string(&mut self, introducer: u8, contents: &[u8]) {
        self.last = None;
        if introducer != b']' {
            return;
        }
        if let Some(link) = contents.strip_prefix(b"8;") {
            self.set_link(&String::from_utf8_lossy(link));
        } else {
            self.settings.command(contents);
        }
    }
}

impl TerminalState {
    fn plain_sequence(&mut self, sequence: &ControlSequence, last: Option<char>) {
        let number = |index| usize::from(sequence.parameter(index, 1));
        let (count, line, column) = (number(0), self.cursor.line, self.cursor.column);
        match sequence.last {
            b'@' => self.shift_line(count, false),
            b'A' => self.up(count),
            b'B' | b'e' => self.down(count),
            b'C' | b'a' => self.forward(count),
            b'D' => self.back(count),
            b'E' => {
                self.down(count);
                self.carriage_return();
            }
            b'F' => {
                self.up(count);
                self.carriage_return();
            }
            b'G' | b'`' => {
                let (line, _) = self.relative(line, column);
                self.go_to(line, count - 1);
            }
            b'H' | b'f' => self.go_to(count - 1, number(1) - 1),
            b'I' => self.tab(count),
            b'J' => self.erase_in_display(sequence.parameter(0, 0), false),
            b'K' => self.erase_in_line(sequence.parameter(0, 0), false),
            b'L' => self.insert_lines(count),
            b'M' => self.delete_lines(count),
            b'P' => self.shift_line(count, true),
            b'S' => self.scroll_up(count),
            b'T' | b'^' if sequence.parameters().count() == 1 => self.scroll_down(count),
            b'W' => self.control_tabs(sequence.parameter(0, 0)),
            b'X' => self.erase_characters(count),
            b'Z' => self.tab_back(count),
            b'b' => {
                if let Some(last) = last {
                    // More would only be written over one another.
                    let most = self.rows() * self.columns();
                    (0..count.min(most)).for_each(|_| self.write(last));
                    // Only what was printed is repeated.
                    self.last = None;
                }
            }
            b'd' => {
                let (_, column) = self.relative(line, column);
                self.go_to(count - 1, column);
            }
            b'g' => match sequence.parameter(0, 0) {
                0 => self.tabs.set(column, false),
                3 => self.tabs.clear(),
                _ => {}
            },
            b'h' | b'l' => {
                for number in sequence.numbers() {
                    self.settings.set_mode(Number::Ansi(number), sequence.last == b'h');
                }
            }
            b'm' => {
                if let Some(underline) = sgr::apply(sequence, &mut self.pen) {
                    self.set_underline_colour(underline);
                }
            }
            b'r' => self.set_margins(sequence),
            b's' if self.is_set(modes::DECLRMM) => self.set_side_margins(sequence),
            b's' => self.save_cursor(),
            b'u' => self.restore_cursor(),
            _ => {}
        }
    }

    fn private_sequence(&mut self, sequence: &ControlSequence) {
        match sequence.last {
            b'h' | b'l' => {
                for number in sequence.numbers() {
                    self.change_private_mode(number, sequence.last == b'h');
                }
            }
            b'r' => {
                for row in super::settings::private_rows(sequence) {
                    let Number::Private(number) = MODES[row].number else { continue };
                    if let Some(set) = self.settings.saved_modes.get(&row).copied() {
                        self.change_private_mode(number, set);
                    }
                }
            }
            b'J' => self.erase_in_display(sequence.parameter(0, 0), true),
            b'K' => self.erase_in_line(sequence.parameter(0, 0), true),
            b'W' if sequence.parameter(0, 0) == 5 => self.tabs = super::screen::Tabs::default(),
            _ => {}
        }
    }

    fn change_private_mode(&mut self, number: u16, set: bool) {
        let Some(row) = modes::index_of(Number::Private(number)) else { return };
        match (MODES[row].kind, number) {
            (ModeKind::Screen, _) => self.show_screen(number, row, set),
            (ModeKind::Action, 1048) if set => self.save_cursor(),
            (ModeKind::Action, 1048) => self.restore_cursor(),
            (ModeKind::Action, _) => self.change_columns(),
            _ => {
                self.settings.change_mode(row, set);
            }
        }
        match row {
            modes::DECOM => self.go_to(0, 0),
            // The margins are there once they are set; as before, all columns scroll.
            modes::DECLRMM => self.reset_side_margins(),
            _ => {}
        }
    }

    fn sequence_with_intermediates(&mut self, intermediates: &[u8], sequence: &ControlSequence) {
        let count = usize::from(sequence.parameter(0, 1));
        match (intermediates, sequence.last) {
            ([b' '], b'@') => self.scroll_sideways(count, true),
            ([b' '], b'A') => self.scroll_sideways(count, false),
            ([b'\''], b'}') if self.is_in_margins() => self.shift_columns(self.cursor.column, count, false),
            ([b'\''], b'~') if self.is_in_margins() => self.shift_columns(self.cursor.column, count, true),
            ([b'!'], b'p') => self.soft_reset(),
            ([b'"'], b'p') => {
                // DECSCL: the level of conformance. Any is as the highest here, and choosing one resets.
                self.settings.soft_reset();
                self.soft_reset();
            }
            ([b'"'], b'q') => {
                self.protection = Protection::Selective;
                self.pen.set(Attributes::PROTECTED, sequence.parameter(0, 0) == 1);
            }
            ([b'#'], b'{' | b'p') => self.push_pen(),
            ([b'#'], b'}' | b'q') => self.pop_pen(),
            ([b'$'], _) => rectangles::apply(self, sequence),
            _ => {}
        }
    }

    /// DECFI and DECBI: a column forward or back, scrolling at the margin.
    fn index_sideways(&mut self, back: bool) {
        let Area { left, right, .. } = self.margins();
        let at_edge = self.cursor.column == if back { left } else { right - 1 };
        if at_edge && self.is_in_margins() {
            self.scroll_sideways(1, !back);
        } else if back {
            self.place(self.cursor.line, self.cursor.column.saturating_sub(1));
        } else {
            self.place(self.cursor.line, self.cursor.column + 1);
        }
    }

    /// CTC.
    fn control_tabs(&mut self, what: u16) {
        match what {
            0 => self.tabs.set(self.cursor.column, true),
            2 => self.tabs.set(self.cursor.column, false),
            5 => self.tabs.clear(),
            _ => {}
        }
    }

    /// DECSTBM. A region of one line is none, as in every terminal.
    fn set_margins(&mut self, sequence: &ControlSequence) {
        let rows = self.rows();
        let top = usize::from(sequence.parameter(0, 1)) - 1;
        let bottom = match usize::from(sequence.parameter(1, 0)) {
            0 => rows,
            bottom => bottom.min(rows),
        };
        if top + 1 < bottom {
            (self.top, self.bottom) = (top, bottom);
            self.go_to(0, 0);
        }
    }

    /// DECSLRM.
    fn set_side_margins(&mut self, sequence: &ControlSequence) {
        let columns = self.columns();
        let left = usize::from(sequence.parameter(0, 1)) - 1;
        let right = match usize::from(sequence.parameter(1, 0)) {
            0 => columns,
            right => right.min(columns),
        };
        if left + 1 < right {
            (self.left, self.right) = (left, right);
            self.go_to(0, 0);
        }
    }
}
