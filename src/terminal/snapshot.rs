//! What a terminal shows, as a description of it: lines cut into runs of one look, cursor, title, modes.
//!
//! A client makes it of a drawing that the server sent, with the emulator that the server has as well. It is what
//! `screen` prints in its forms, and what `send` and `wait` look at.

use super::{
    ScreenModel, TerminalSize,
    cell::{Attributes, Cell, Colour, Shade},
    emulator::Emulator,
    grid::Line,
    redraw, resize,
    settings::ColourName,
    state::TerminalState,
};

/// A session's terminal, as a client has it.
pub(crate) struct ShownScreen {
    emulator: Emulator,
    lines: usize,
}

/// What a terminal shows at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Lines that scrolled off the top, the oldest first.
    pub(crate) above: Vec<SnapshotLine>,
    pub(crate) screen: Vec<SnapshotLine>,
    pub(crate) columns: usize,
    pub(crate) cursor: SnapshotCursor,
    pub(crate) title: Option<String>,
    /// A program shows the other screen, as an editor does.
    pub(crate) is_other_screen: bool,
    pub(crate) modes: SnapshotModes,
    pub(crate) palette: Palette,
}

/// A line, without the blanks at its end.
#[derive(Debug)]
pub(crate) struct SnapshotLine {
    pub(crate) runs: Vec<TextRun>,
    /// Its text goes on in the next line.
    pub(crate) wraps: bool,
}

/// Neighbouring characters of one look and one width.
#[derive(Debug)]
pub(crate) struct TextRun {
    pub(crate) column: usize,
    /// What each character is: its letter, and what combines with it.
    pub(crate) characters: Vec<String>,
    /// Columns that each takes: 1 or 2.
    pub(crate) width: usize,
    pub(crate) look: Look,
}

/// How characters look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    cell: Cell,
    underline: Colour,
    /// The address of a link (OSC 8).
    pub(crate) link: String,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct SnapshotCursor {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) is_shown: bool,
    pub(crate) shape: CursorShape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CursorShape {
    Block,
    Underline,
    Bar,
}

/// The modes that decide what a terminal sends, and how the screen looks as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SnapshotModes {
    /// DECCKM.
    pub(crate) cursor_keys: bool,
    /// DECNKM.
    pub(crate) keypad: bool,
    /// DECBKM.
    pub(crate) backspace: bool,
    pub(crate) bracketed_paste: bool,
    pub(crate) focus: bool,
    /// The private mode that says which events of the mouse are told, if any.
    pub(crate) mouse: Option<u16>,
    /// Flags of kitty's keyboard protocol.
    pub(crate) kitty_keyboard: u16,
    /// DECSCNM.
    pub(crate) reverse: bool,
}

/// Red, green, blue.
pub(crate) type Rgb = [u8; 3];

/// The colours that the program chose.
#[derive(Clone, Debug, Default)]
pub(crate) struct Palette {
    pub(crate) indexed: Vec<(u8, Rgb)>,
    pub(crate) foreground: Option<Rgb>,
    pub(crate) background: Option<Rgb>,
    pub(crate) cursor: Option<Rgb>,
}

impl ShownScreen {
    /// A terminal that was given a drawing, and keeps so many lines above its screen.
    pub(crate) fn new(size: TerminalSize, drawing: &[u8], lines: usize) -> Self {
        let mut emulator = Emulator::with_history(size, lines);
        emulator.advance(drawing);
        Self { emulator, lines }
    }

    /// What it shows, and the newest lines above that.
    pub(crate) fn snapshot(&mut self) -> Snapshot {
        resize::read_history(&mut self.emulator.state);
        let modes = self.modes();
        let state = &self.emulator.state;
        let skipped = state.history.lines().count().saturating_sub(self.lines);
        let title = state.settings.titles.window.clone().filter(|title| !title.is_empty());
        Snapshot {
            above: state.history.lines().skip(skipped).map(|line| cut(state, &line, 0)).collect(),
            screen: state.grid().lines.iter().map(|line| cut(state, line, 0)).collect(),
            columns: state.columns(),
            cursor: self.cursor(),
            title,
            is_other_screen: state.settings.screen() == 1,
            modes,
            palette: palette(state),
        }
    }

    pub(crate) fn modes(&self) -> SnapshotModes {
        let emulator = &self.emulator;
        let settings = &emulator.state.settings;
        SnapshotModes {
            cursor_keys: emulator.mode(true, 1),
            keypad: emulator.mode(true, 66),
            backspace: emulator.mode(true, 67),
            bracketed_paste: emulator.mode(true, 2004),
            focus: emulator.mode(true, 1004),
            mouse: [9, 1000, 1002, 1003].into_iter().find(|number| emulator.mode(true, *number)),
            kitty_keyboard: settings.keyboards[settings.screen()].flags,
            reverse: emulator.mode(true, 5),
        }
    }

    fn cursor(&self) -> SnapshotCursor {
        let state = &self.emulator.state;
        let shape = match state.settings.cursor_style {
            Some(3 | 4) => CursorShape::Underline,
            Some(5 | 6) => CursorShape::Bar,
            _ => CursorShape::Block,
        };
        SnapshotCursor {
            line: state.cursor.line,
            column: state.cursor.column,
            is_shown: self.emulator.mode(true, 25),
            shape,
        }
    }

    /// The screen's text in two parts: up to the cursor, and after it. Lines that run on are one. On the cursor's line
    /// the blanks before it count, as after a prompt.
    pub(crate) fn text(&self) -> (String, String) {
        let state = &self.emulator.state;
        let (mut before, mut after) = (String::new(), String::new());
        for (number, line) in state.grid().lines.iter().enumerate() {
            let at_cursor = number == state.cursor.line;
            let end = if state.cursor.wraps { state.cursor.column + 1 } else { state.cursor.column };
            for run in cut(state, line, if at_cursor { end } else { 0 }).runs {
                let mut column = run.column;
                for character in &run.characters {
                    let is_before = number < state.cursor.line || (at_cursor && column < end);
                    (if is_before { &mut before } else { &mut after }).push_str(character);
                    column += run.width;
                }
            }
            if !line.wraps {
                (if number < state.cursor.line { &mut before } else { &mut after }).push('\n');
            }
        }
        after.truncate(after.trim_end().len());
        (before, after)
    }
}

impl SnapshotLine {
    /// Its text, with blanks between the runs.
    pub(crate) fn text(&self) -> String {
        self.runs.iter().flat_map(|run| &run.characters).map(String::as_str).collect()
    }
}

impl TextRun {
    pub(crate) fn text(&self) -> String {
        self.characters.concat()
    }

    /// Columns that it takes.
    pub(crate) fn columns(&self) -> usize {
        self.characters.len() * self.width
    }
}

impl Look {
    pub(crate) fn foreground(&self) -> Shade {
        self.cell.foreground.shade()
    }

    pub(crate) fn background(&self) -> Shade {
        self.cell.background.shade()
    }

    pub(crate) fn underline_colour(&self) -> Shade {
        self.underline.shade()
    }

    /// The style of `CSI 4:style m`; 0 for none.
    pub(crate) fn underline(&self) -> u16 {
        self.cell.attributes.underline()
    }

    pub(crate) fn has(&self, attribute: Attributes) -> bool {
        self.cell.attributes.has(attribute)
    }

    /// The sequence that selects it.
    pub(crate) fn sgr(&self) -> Vec<u8> {
        let mut out = Vec::new();
        redraw::look(&mut out, &self.cell, self.underline);
        out
    }

    /// Whether a blank of it is seen.
    fn shows_blanks(&self) -> bool {
        self.cell.background != Colour::DEFAULT
            || self.underline() != 0
            || [Attributes::INVERSE, Attributes::STRUCK, Attributes::OVERLINE]
                .into_iter()
                .any(|attribute| self.has(attribute))
    }
}

/// A line as runs. Blanks at its end that nobody sees are left out, but for those before column `least`.
fn cut(state: &TerminalState, line: &Line, least: usize) -> SnapshotLine {
    let end = line.cells.iter().rposition(|cell| is_seen(state, cell)).map_or(0, |last| last + 1);
    let end = end.max(least.min(line.cells.len()));
    let mut runs: Vec<TextRun> = Vec::new();
    for (column, cell) in line.cells[..end].iter().enumerate() {
        if cell.attributes.has(Attributes::TAIL) {
            continue;
        }
        let (text, look) = (text(state, cell), look(state, cell));
        let width = if cell.attributes.has(Attributes::WIDE) { 2 } else { 1 };
        match runs.last_mut() {
            Some(run) if run.look == look && run.width == width => run.characters.push(text),
            _ => runs.push(TextRun { column, characters: vec![text], width, look }),
        }
    }
    SnapshotLine { runs, wraps: line.wraps }
}

fn is_seen(state: &TerminalState, cell: &Cell) -> bool {
    let is_blank = matches!(cell.glyph.as_char(), None | Some(' ')) && !cell.glyph.is_raw();
    cell.attributes.has(Attributes::TAIL)
        || !is_blank
        || look(state, cell).shows_blanks()
        || !state.extras.get(cell.extra).marks.is_empty()
}

fn text(state: &TerminalState, cell: &Cell) -> String {
    let mut bytes = Vec::new();
    cell.glyph.push_to(&mut bytes);
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    text.push_str(&state.extras.get(cell.extra).marks);
    text
}

fn look(state: &TerminalState, cell: &Cell) -> Look {
    let extra = state.extras.get(cell.extra);
    let link = extra.link.split_once(';').map_or("", |(_, address)| address).to_owned();
    let attributes = cell.attributes.look().with(Attributes::PROTECTED, false);
    let cell =
        Cell { foreground: cell.foreground, background: cell.background, attributes, ..Cell::default() };
    Look { cell, underline: extra.underline, link }
}

fn palette(state: &TerminalState) -> Palette {
    let mut palette = Palette::default();
    for (name, colour) in &state.settings.colours {
        let Some(colour) = colour.as_deref().and_then(parse_colour) else { continue };
        match name {
            ColourName::Palette(index) => {
                palette.indexed.extend(u8::try_from(*index).map(|index| (index, colour)))
            }
            ColourName::Dynamic(10) => palette.foreground = Some(colour),
            ColourName::Dynamic(11) => palette.background = Some(colour),
            ColourName::Dynamic(12) => palette.cursor = Some(colour),
            _ => {}
        }
    }
    palette
}

/// A colour as X11 writes it with numbers: `#rgb` to `#rrrrggggbbbb`, `rgb:r/g/b` to `rgb:rrrr/gggg/bbbb`.
fn parse_colour(text: &str) -> Option<Rgb> {
    let parts: Vec<&str> = if let Some(digits) = text.strip_prefix('#') {
        let length = digits.len() / 3;
        if !digits.is_ascii() || digits.len() != length * 3 {
            return None;
        }
        (0..3).map(|at| &digits[at * length..(at + 1) * length]).collect()
    } else {
        text.strip_prefix("rgb:")?.split('/').collect()
    };
    let [red, green, blue] = parts[..] else { return None };
    // `#` gives the highest digits, `rgb:` a fraction; both agree for two digits and four, which are what is used.
    let part = |digits: &str| {
        let value = u32::from_str_radix(digits, 16).ok()?;
        let most = match digits.len() {
            1 => 0xf,
            2 => 0xff,
            3 => 0xfff,
            4 => 0xffff,
            _ => return None,
        };
        u8::try_from(value * 0xff / most).ok()
    };
    Some([part(red)?, part(green)?, part(blue)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(output: &[u8]) -> ShownScreen {
        ShownScreen::new(TerminalSize::new(10, 3).unwrap(), output, 100)
    }

    /// As `screen` has it: through a drawing.
    fn drawn(output: &[u8], lines: usize) -> Snapshot {
        let size = TerminalSize::new(10, 3).unwrap();
        let mut emulator = Emulator::with_history(size, 100);
        emulator.advance(output);
        ShownScreen::new(size, &emulator.redraw_with_history(lines), lines).snapshot()
    }

    fn texts(lines: &[SnapshotLine]) -> Vec<String> {
        lines.iter().map(SnapshotLine::text).collect()
    }

    #[test]
    fn lines_above_the_screen_come_through_a_drawing_and_no_others() {
        for (printed, asked) in [(0, 5), (2, 5), (3, 5), (4, 5), (20, 0), (20, 1), (20, 5), (20, 100)] {
            let output: String = (1..=printed).map(|number| format!("{number}\r\n")).collect();
            let snapshot = drawn(output.as_bytes(), asked);
            // The cursor's line is the last of the screen.
            let above = usize::max(printed, 2) - 2;
            let expected: Vec<_> =
                (above.saturating_sub(asked) + 1..=above).map(|number| number.to_string()).collect();
            assert_eq!(texts(&snapshot.above), expected, "{printed} {asked}");
            assert_eq!(snapshot.screen.len(), 3);
        }
    }

    #[test]
    fn runs_have_their_columns_widths_and_looks() {
        let snapshot = drawn("ab\x1b[1;31mc\x1b[m漢字e\u{301}\x1b[44m  ".as_bytes(), 0);
        let runs: Vec<_> = snapshot.screen[0]
            .runs
            .iter()
            .map(|run| (run.column, run.columns(), run.text(), run.look.has(Attributes::BOLD)))
            .collect();
        let expected = [
            (0, 2, "ab".to_owned(), false),
            (2, 1, "c".to_owned(), true),
            (3, 4, "漢字".to_owned(), false),
            (7, 1, "e\u{301}".to_owned(), false),
            (8, 2, "  ".to_owned(), false),
        ];
        assert_eq!(runs, expected);
        assert_eq!(snapshot.screen[0].runs[1].look.foreground(), Shade::Named(1));
        assert_eq!(snapshot.screen[0].runs[4].look.background(), Shade::Named(4));
    }

    #[test]
    fn a_text_is_cut_at_the_cursor_and_keeps_the_blanks_before_it() {
        assert_eq!(shown(b"one\r\n$ ").text(), ("one\n$ ".to_owned(), String::new()));
        let (before, after) = shown(b"one\r\ntwo\r\nthree\x1b[2;2H").text();
        assert_eq!((&before[..], &after[..]), ("one\nt", "wo\nthree"));
        assert_eq!(shown(b"0123456789ab").text().0, "0123456789ab");
        assert_eq!(shown(b"0123456789").text().0, "0123456789");
    }

    #[test]
    fn the_colours_that_a_program_chose_are_known() {
        let palette =
            drawn(b"\x1b]4;1;#010203\x1b\\\x1b]11;rgb:ffff/8080/0000\x1b\\\x1b]10;red\x1b\\", 0).palette;
        assert_eq!(palette.indexed, [(1, [1, 2, 3])]);
        assert_eq!((palette.foreground, palette.background), (None, Some([0xff, 0x80, 0])));
        for wrong in ["#", "#12", "#ääää", "rgb:1/2", "rgb:1/2/12345", "rgb:1/2/x", "rgb:-1/2/3"] {
            assert_eq!(parse_colour(wrong), None, "{wrong}");
        }
    }
}
