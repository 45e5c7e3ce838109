//! What a session's program has done to the terminal that shows it, so that leaving can undo just that.

use super::{
    charsets,
    control::{SI, SO},
    modes::{self, ModeKind, Number},
    parser::{ControlSequence, Parser, Perform},
    redraw::EMPTY_KEYBOARD,
    settings::Settings,
};

/// Follows all that a terminal is sent.
#[derive(Debug, Default)]
pub(crate) struct ChangedModes {
    parser: Parser,
    seen: Seen,
}

/// What was done, as far as it is undone.
#[derive(Debug, Default)]
struct Seen {
    settings: Settings,
    /// The width, for tab stops.
    columns: u16,
    tabs: bool,
    margins: bool,
    /// Anything was shown, so colours and character sets may be left set.
    anything: bool,
    /// These three were so at some time. A pen that was saved then, and that undoing brings back, has it still.
    protected: bool,
    linked: bool,
    shifted: bool,
}

/// What keeps the person's own title and keyboard beneath the session's.
const ENTER: &[u8] = b"\x1b[22;0t\x1b[>0u";

/// What a redraw switches screens with; `h` or `l` follows.
const SWITCH: &[u8] = b"\x1b[?1049";

impl ChangedModes {
    /// Takes note of what `output` does to the terminal.
    pub(crate) fn follow(&mut self, output: &[u8]) {
        self.seen.anything |= !output.is_empty();
        self.parser.advance(output, &mut self.seen);
    }

    /// What a terminal is sent first, so that the person's own title and keyboard come back. It is noted.
    pub(crate) fn enter(&mut self) -> &'static [u8] {
        self.follow(ENTER);
        ENTER
    }

    /// The terminal has so many columns.
    pub(crate) fn set_columns(&mut self, columns: u16) {
        self.seen.columns = columns;
    }

    /// What puts the terminal back. Ends a sequence that was cut, first.
    pub(crate) fn undo(&self) -> Vec<u8> {
        let Seen { settings, columns, tabs, margins, anything, protected, linked, shifted } = &self.seen;
        let mut out = Vec::new();
        if self.parser.is_amid() {
            out.push(super::control::CAN);
        }
        settings.undo(&mut out);
        if *margins {
            // Setting the margins moves the cursor; it is kept over that.
            put!(out, "\x1b7\x1b[r\x1b8");
        }
        if *tabs {
            put!(out, "\x1b7\x1b[3g");
            for column in (0..*columns).step_by(8) {
                put!(out, "\x1b[{}G\x1bH", column + 1);
            }
            put!(out, "\x1b8");
        }
        if *linked {
            put!(out, "\x1b]8;;\x1b\\");
        }
        if *protected {
            put!(out, "\x1b[0\"q\x1bW");
        }
        if *shifted {
            put!(out, "{}", charsets::RESET);
        } else if *anything {
            put!(out, "\x1b(B\x0f");
        }
        if *anything {
            put!(out, "\x1b[m");
        }
        out
    }

    /// A redraw as this terminal is sent it: it empties the keyboard's stack but for what the person had beneath.
    pub(crate) fn on_top(&self, redraw: &[u8]) -> Vec<u8> {
        let [first, other] = self.seen.settings.keyboards.each_ref().map(|keyboard| keyboard.stack.len());
        // On the first screen, one was pushed when this was entered.
        let first = first.saturating_sub(1);
        let mut out = Vec::with_capacity(redraw.len());
        let mut rest = redraw;
        // Each screen has a stack; which of the two it is, the redraw says before.
        let mut is_other = false;
        for _ in 0..2 {
            let Some(at) = memchr::memmem::find(rest, EMPTY_KEYBOARD.as_bytes()) else { break };
            let before = &rest[..at];
            if let Some(switch) = memchr::memmem::rfind(before, SWITCH) {
                is_other = before.get(switch + SWITCH.len()) == Some(&b'h');
            }
            let count = if is_other { other } else { first };
            out.extend(before);
            rest = &rest[at + EMPTY_KEYBOARD.len()..];
            if count > 0 {
                put!(out, "\x1b[<{count}u");
            }
        }
        out.extend(rest);
        out
    }
}

impl Perform for Seen {
    fn print(&mut self, _: &str) {}
    fn print_invalid(&mut self, _: &[u8]) {}

    fn control(&mut self, byte: u8) {
        self.shifted |= matches!(byte, SO | SI);
    }

    fn escape(&mut self, intermediates: &[u8], last: u8) {
        self.settings.escape(intermediates, last);
        match (intermediates, last) {
            ([b'(' | b')' | b'*' | b'+'], _) | ([], b'n' | b'o') => self.shifted = true,
            ([], b'V') => self.protected = true,
            ([], b'H') => self.tabs = true,
            ([], b'c') => {
                let settings = std::mem::take(&mut self.settings);
                *self = Self { settings, columns: self.columns, anything: true, ..Self::default() };
            }
            _ => {}
        }
    }

    fn control_sequence(&mut self, sequence: &ControlSequence) {
        self.settings.control_sequence(sequence);
        match (sequence.private, sequence.intermediates(), sequence.last) {
            (0, [], b'h' | b'l') => {
                for number in sequence.numbers() {
                    self.settings.set_mode(Number::Ansi(number), sequence.last == b'h');
                }
            }
            (b'?', [], b'h' | b'l') => {
                for number in sequence.numbers() {
                    self.set_private_mode(number, sequence.last == b'h');
                }
            }
            (b'?', [], b'r') => {
                for row in super::settings::private_rows(sequence) {
                    if let Some(set) = self.settings.saved_modes.get(&row).copied() {
                        self.settings.modes.change(row, set);
                    }
                }
            }
            (0, [], b'r') => self.margins = sequence.parameter(0, 1) > 1 || sequence.parameter(1, 0) > 0,
            (0, [], b'g' | b'W') => self.tabs = true,
            (0, [b'"'], b'q') => self.protected |= sequence.parameter(0, 0) == 1,
            (0, [b'!'], b'p') => self.margins = false,
            _ => {}
        }
    }

    fn string(&mut self, introducer: u8, contents: &[u8]) {
        if introducer == b']' {
            if let Some(link) = contents.strip_prefix(b"8;") {
                self.linked |= !link.ends_with(b";");
            } else {
                self.settings.command(contents);
            }
        }
    }
}

impl Seen {
    fn set_private_mode(&mut self, number: u16, set: bool) {
        let Some(row) = modes::index_of(Number::Private(number)) else { return };
        if modes::MODES[row].kind != ModeKind::Action {
            self.settings.modes.change(row, set);
        }
    }
}
