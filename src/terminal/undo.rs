//! Which modes a session's program has set in the terminal that shows it, so that leaving can undo just those.

use std::collections::BTreeMap;

use vte::{Params, Parser, Perform};

/// DEC private modes that outlive a program's output and disturb a shell, with the state they normally have: cursor
/// keys, reverse video, origin, auto-wrap, mouse in its variants, cursor, alternate screens, focus, bracketed paste,
/// synchronised output.
const MODES: [(u16, bool); 18] = [
    (1, false),
    (5, false),
    (6, false),
    (7, true),
    (9, false),
    (25, true),
    (47, false),
    (1000, false),
    (1002, false),
    (1003, false),
    (1004, false),
    (1005, false),
    (1006, false),
    (1015, false),
    (1047, false),
    (1049, false),
    (2004, false),
    (2026, false),
];

/// Follows a session's output.
#[derive(Default)]
pub(crate) struct Modes {
    parser: Parser,
    seen: Seen,
}

#[derive(Default)]
struct Seen {
    /// Modes that are not as they normally are.
    changed: BTreeMap<u16, bool>,
    application_keypad: bool,
    scroll_region: bool,
    /// Kitty's keyboard modes stack up.
    keyboard_modes: u16,
    /// Anything was shown, so colours and character sets may be left set.
    anything: bool,
}

impl Modes {
    /// Takes note of what `output` does to the terminal.
    pub(crate) fn follow(&mut self, output: &[u8]) {
        self.seen.anything |= !output.is_empty();
        // The rest of a character that was cut goes in by single bytes: given more, the parser may lose what follows it.
        let rest = output.iter().take(3).take_while(|byte| matches!(byte, 0x80..0xc0)).count();
        let (rest, output) = output.split_at(rest);
        for byte in rest {
            self.parser.advance(&mut self.seen, &[*byte]);
        }
        self.parser.advance(&mut self.seen, output);
    }

    /// What puts the terminal back.
    pub(crate) fn undo(&self) -> Vec<u8> {
        let seen = &self.seen;
        let mut undo = String::new();
        if seen.keyboard_modes > 0 {
            undo += &format!("\x1b[<{}u", seen.keyboard_modes);
        }
        if seen.scroll_region {
            // Setting the margins moves the cursor; it is kept over that.
            undo += "\x1b7\x1b[r\x1b8";
        }
        for (mode, set) in &seen.changed {
            undo += &format!("\x1b[?{mode}{}", if *set { 'l' } else { 'h' });
        }
        if seen.application_keypad {
            undo += "\x1b>";
        }
        if seen.anything {
            undo += "\x1b[m\x1b(B\x0f";
        }
        undo.into_bytes()
    }
}

impl Perform for Seen {
    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], _ignore: bool, action: char) {
        let first = params.iter().next().and_then(|param| param.first().copied()).unwrap_or(0);
        match (intermediates, action) {
            (b"?", 'h' | 'l') => {
                for mode in params.iter().flatten() {
                    let Some((_, normal)) = MODES.iter().find(|(known, _)| known == mode) else { continue };
                    let set = action == 'h';
                    if set == *normal {
                        self.changed.remove(mode);
                    } else {
                        self.changed.insert(*mode, set);
                    }
                }
            }
            (b"", 'r') => self.scroll_region = params.iter().count() > 1 || first > 1,
            (b">", 'u') => self.keyboard_modes = self.keyboard_modes.saturating_add(1),
            (b"<", 'u') => self.keyboard_modes = self.keyboard_modes.saturating_sub(first.max(1)),
            (b"!", 'p') => *self = Self { anything: true, ..Self::default() },
            _ => {}
        }
    }

    fn esc_dispatch(&mut self, intermediates: &[u8], _ignore: bool, byte: u8) {
        match (intermediates, byte) {
            ([], b'=') => self.application_keypad = true,
            ([], b'>') => self.application_keypad = false,
            ([], b'c') => *self = Self { anything: true, ..Self::default() },
            _ => {}
        }
    }
}

impl std::fmt::Debug for Modes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Modes").field("changed", &self.seen.changed).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undone(output: &str) -> String {
        // Byte by byte: sequences may be cut anywhere.
        let mut modes = Modes::default();
        for byte in output.as_bytes() {
            modes.follow(&[*byte]);
        }
        String::from_utf8(modes.undo()).unwrap()
    }

    #[test]
    fn a_sequence_after_a_character_that_was_cut_counts() {
        for text in ["é\x1bé=", "é\x1b[?1004hé", "漢\x1b[?1h"] {
            for at in 1..text.len() {
                let (before, after) = text.as_bytes().split_at(at);
                let mut modes = Modes::default();
                modes.follow(before);
                modes.follow(after);
                assert_eq!(modes.undo(), undone(text).into_bytes(), "{text:?} cut at {at}");
            }
        }
    }

    #[test]
    fn nothing_shown_leaves_nothing_to_undo() {
        assert_eq!(undone(""), "");
    }

    #[test]
    fn an_editor_that_is_left_running_is_undone() {
        let undo = undone("\x1b[?1049h\x1b[?1;2004h\x1b=\x1b[?25l\x1b[2;20r\x1b[>1u");
        assert_eq!(
            undo,
            "\x1b[<1u\x1b7\x1b[r\x1b8\x1b[?1l\x1b[?25h\x1b[?1049l\x1b[?2004l\x1b>\x1b[m\x1b(B\x0f"
        );
    }

    #[test]
    fn what_the_program_undid_itself_is_left_alone() {
        assert_eq!(undone("\x1b[?1049h\x1b[?25l\x1b[?25h\x1b[?1049l"), "\x1b[m\x1b(B\x0f");
        assert_eq!(undone("\x1b[?1003h\x1bc"), "\x1b[m\x1b(B\x0f");
    }

    #[test]
    fn unknown_modes_are_left_alone() {
        assert_eq!(undone("\x1b[?7777h\x1b[4h"), "\x1b[m\x1b(B\x0f");
    }
}
