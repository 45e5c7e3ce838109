//! The table of modes: all that a program switches on and off in a terminal by number.
//!
//! Emulator, redraw, undo and answers are derived from it; none has a list of its own. What a program sets by other
//! sequences is in [`Settings`](super::settings::Settings). Source of numbers and of what the resets do: xterm's
//! control sequences (<https://invisible-island.net/xterm/ctlseqs/ctlseqs.html>), kitty's protocol extensions, and the
//! drafts that the rows name.
//!
//! Not kept, and so not offered: VT52 mode (`?2`), highlight tracking (`?1001`), sixel modes, and any number that is
//! not here. DECRQM says of them that they are not recognised.

/// A mode by its number, `CSI ? number h` or, of ANSI's own, `CSI number h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Ansi(u16),
    Private(u16),
}

use Number::{Ansi, Private};

/// One row of the table.
#[derive(Debug)]
pub(super) struct Mode {
    pub(super) number: Number,
    /// The standard name, or what it is about.
    #[allow(dead_code, reason = "for people, and for tests that fail")]
    pub(super) name: &'static str,
    /// How a terminal is when nobody changed anything.
    pub(super) normal: Normal,
    /// A soft reset (DECSTR) makes it normal. A hard reset (RIS) does in any case.
    pub(super) soft_reset: bool,
    pub(super) kind: ModeKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Normal {
    Set,
    Reset,
    /// Reset, in most terminals, but a person may have configured otherwise: left alone unless a program changed it.
    Usually,
    /// As `Usually`, but set.
    UsuallySet,
}

/// What goes with a mode beside its being set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ModeKind {
    Plain,
    /// Which events of the mouse are told: setting one ends the others, resetting one ends all.
    MouseEvents,
    /// How those are told: setting one ends the others.
    MouseEncoding,
    /// Which screen is shown; redraw and undo enter and leave it in an order of their own.
    Screen,
    /// A change moves the cursor, so that redraw and undo have a place for it.
    Places,
    /// Acts at once and has no state: 1048 saves the cursor.
    Action,
}

const fn row(number: Number, name: &'static str, normal: Normal, soft_reset: bool, kind: ModeKind) -> Mode {
    Mode { number, name, normal, soft_reset, kind }
}

const fn plain(number: u16, name: &'static str, normal: Normal) -> Mode {
    row(Private(number), name, normal, false, ModeKind::Plain)
}

/// The table.
pub(super) static MODES: [Mode; COUNT] = [
    row(Ansi(2), "KAM, keyboard locked", Normal::Reset, true, ModeKind::Plain),
    row(Ansi(4), "IRM, insert", Normal::Reset, true, ModeKind::Plain),
    row(Ansi(12), "SRM, no local echo", Normal::UsuallySet, false, ModeKind::Plain),
    row(Ansi(20), "LNM, a line feed returns", Normal::Reset, false, ModeKind::Plain),
    row(Private(1), "DECCKM, cursor keys", Normal::Reset, true, ModeKind::Plain),
    row(Private(3), "DECCOLM, 132 columns", Normal::Reset, false, ModeKind::Action),
    plain(4, "DECSCLM, smooth scroll", Normal::Usually),
    plain(5, "DECSCNM, reverse video", Normal::Reset),
    row(Private(6), "DECOM, origin", Normal::Reset, true, ModeKind::Places),
    row(Private(7), "DECAWM, auto-wrap", Normal::Set, true, ModeKind::Plain),
    plain(8, "DECARM, keys repeat", Normal::UsuallySet),
    row(Private(9), "X10 mouse", Normal::Reset, false, ModeKind::MouseEvents),
    row(Private(12), "the cursor blinks", Normal::Usually, true, ModeKind::Plain),
    row(Private(25), "DECTCEM, the cursor is shown", Normal::Set, true, ModeKind::Plain),
    plain(40, "DECCOLM is allowed", Normal::Usually),
    plain(42, "DECNRCM, national character sets", Normal::Reset),
    row(Private(45), "backspace wraps", Normal::Usually, true, ModeKind::Plain),
    row(Private(47), "other screen, as in 1980", Normal::Reset, false, ModeKind::Screen),
    row(Private(66), "DECNKM, keypad", Normal::Reset, true, ModeKind::Plain),
    plain(67, "DECBKM, backspace key", Normal::Usually),
    row(Private(69), "DECLRMM, margins left and right", Normal::Reset, true, ModeKind::Places),
    row(Private(1000), "mouse buttons", Normal::Reset, false, ModeKind::MouseEvents),
    row(Private(1002), "mouse drags", Normal::Reset, false, ModeKind::MouseEvents),
    row(Private(1003), "mouse motion", Normal::Reset, false, ModeKind::MouseEvents),
    plain(1004, "focus", Normal::Reset),
    row(Private(1005), "mouse in UTF-8", Normal::Reset, false, ModeKind::MouseEncoding),
    row(Private(1006), "mouse, SGR", Normal::Reset, false, ModeKind::MouseEncoding),
    plain(1007, "alternate scroll", Normal::Usually),
    plain(1010, "scroll to the end on output", Normal::Usually),
    plain(1011, "scroll to the end on a key", Normal::UsuallySet),
    row(Private(1015), "mouse, urxvt", Normal::Reset, false, ModeKind::MouseEncoding),
    row(Private(1016), "mouse in pixels", Normal::Reset, false, ModeKind::MouseEncoding),
    plain(1034, "meta sets the eighth bit", Normal::UsuallySet),
    plain(1035, "num lock modifies", Normal::UsuallySet),
    plain(1036, "meta sends ESC", Normal::Usually),
    plain(1037, "delete sends DEL", Normal::Usually),
    plain(1039, "alt sends ESC", Normal::Usually),
    plain(1040, "selection is kept", Normal::UsuallySet),
    plain(1041, "selection is the clipboard", Normal::Usually),
    plain(1042, "bell is urgent", Normal::Usually),
    plain(1043, "bell raises the window", Normal::Usually),
    row(Private(1047), "other screen, cleared on leaving", Normal::Reset, false, ModeKind::Screen),
    row(Private(1048), "saves the cursor", Normal::Reset, false, ModeKind::Action),
    row(Private(1049), "other screen, and the cursor saved", Normal::Reset, false, ModeKind::Screen),
    plain(1050, "function keys of terminfo", Normal::Usually),
    plain(1051, "function keys of Sun", Normal::Usually),
    plain(1052, "function keys of HP", Normal::Usually),
    plain(1053, "function keys of SCO", Normal::Usually),
    plain(1060, "keyboard of X11R6", Normal::Usually),
    plain(1061, "keyboard of a VT220", Normal::Usually),
    plain(2004, "bracketed paste", Normal::Reset),
    plain(2027, "grapheme clusters", Normal::Usually),
    plain(2031, "reports of the colour scheme", Normal::Reset),
    plain(2048, "reports of the size in band", Normal::Reset),
    plain(5522, "pastes as events, with their types", Normal::Reset),
    plain(7727, "escape key of its own", Normal::Reset),
    plain(9001, "Windows' key events", Normal::Reset),
    // The last: what is drawn before it is shown.
    plain(2026, "synchronised output", Normal::Reset),
];

const COUNT: usize = 58;

const fn is(number: Number, other: Number) -> bool {
    match (number, other) {
        (Ansi(a), Ansi(b)) | (Private(a), Private(b)) => a == b,
        _ => false,
    }
}

/// The row of a mode.
pub(super) const fn index_of(number: Number) -> Option<usize> {
    let mut at = 0;
    while at < COUNT {
        if is(MODES[at].number, number) {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// Rows that the emulator itself looks at.
macro_rules! rows {
    ($($name:ident = $number:expr;)*) => {
        $(pub(super) const $name: usize = match index_of($number) {
            Some(index) => index,
            None => panic!("no such row"),
        };)*
    };
}

rows! {
    IRM = Ansi(4);
    LNM = Ansi(20);
    DECOM = Private(6);
    DECAWM = Private(7);
    DECTCEM = Private(25);
    ALLOW_DECCOLM = Private(40);
    REVERSE_WRAP = Private(45);
    KEYPAD = Private(66);
    DECLRMM = Private(69);
}

impl Normal {
    pub(super) const fn is_set(self) -> bool {
        matches!(self, Self::Set | Self::UsuallySet)
    }

    /// Whether a terminal that nobody changed is so for certain.
    pub(super) const fn is_certain(self) -> bool {
        matches!(self, Self::Set | Self::Reset)
    }
}

/// Which modes are set, and which were ever changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ModeSet {
    set: u64,
    /// Changed at least once, by the program or a reset that others may have missed.
    touched: u64,
}

const fn normal_bits() -> u64 {
    let (mut bits, mut at) = (0, 0);
    while at < COUNT {
        if MODES[at].normal.is_set() {
            bits |= 1 << at;
        }
        at += 1;
    }
    bits
}

impl Default for ModeSet {
    fn default() -> Self {
        Self { set: normal_bits(), touched: 0 }
    }
}

/// The rows of [`ModeKind::Screen`], a bit each.
const SCREEN_BITS: u64 = {
    let (mut bits, mut at) = (0, 0);
    while at < COUNT {
        if matches!(MODES[at].kind, ModeKind::Screen) {
            bits |= 1 << at;
        }
        at += 1;
    }
    bits
};

impl ModeSet {
    /// Whether the other screen is shown, whichever mode asked for it.
    pub(super) const fn shows_other_screen(&self) -> bool {
        self.set & SCREEN_BITS != 0
    }

    pub(super) const fn is_set(&self, row: usize) -> bool {
        self.set & (1 << row) != 0
    }

    /// Whether a program ever changed it.
    pub(super) const fn is_touched(&self, row: usize) -> bool {
        self.touched & (1 << row) != 0
    }

    /// Whether it is as in a terminal that nobody changed.
    pub(super) const fn is_normal(&self, row: usize) -> bool {
        self.is_set(row) == MODES[row].normal.is_set()
    }

    /// Sets or resets a mode, and what goes with it.
    pub(super) fn change(&mut self, row: usize, set: bool) {
        let kind = MODES[row].kind;
        let ends_others = match kind {
            ModeKind::MouseEvents | ModeKind::Screen => true,
            ModeKind::MouseEncoding => set,
            _ => false,
        };
        if ends_others {
            for (other, mode) in MODES.iter().enumerate() {
                if mode.kind == kind {
                    self.set &= !(1 << other);
                }
            }
        }
        self.set_alone(row, set);
    }

    fn set_alone(&mut self, row: usize, set: bool) {
        self.touched |= 1 << row;
        if set {
            self.set |= 1 << row;
        } else {
            self.set &= !(1 << row);
        }
    }

    pub(super) fn soft_reset(&mut self) {
        for (row, mode) in MODES.iter().enumerate() {
            if mode.soft_reset && !self.is_normal(row) {
                self.set_alone(row, mode.normal.is_set());
            }
        }
    }

    pub(super) fn hard_reset(&mut self) {
        self.set = normal_bits();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_has_one_row() {
        for (row, mode) in MODES.iter().enumerate() {
            assert_eq!(index_of(mode.number), Some(row), "{mode:?}");
        }
        assert_eq!(index_of(Private(2)), None);
    }

    #[test]
    fn of_the_mouse_one_mode_is_set_at_most() {
        let row = |number| index_of(Private(number)).unwrap();
        let mut modes = ModeSet::default();
        modes.change(row(1000), true);
        modes.change(row(1006), true);
        modes.change(row(1003), true);
        assert!(!modes.is_set(row(1000)) && modes.is_set(row(1003)) && modes.is_set(row(1006)));
        modes.change(row(1005), false);
        assert!(modes.is_set(row(1006)));
        modes.change(row(1015), true);
        modes.change(row(1000), false);
        assert!(!modes.is_set(row(1003)) && !modes.is_set(row(1006)) && modes.is_set(row(1015)));
    }

    #[test]
    fn a_soft_reset_leaves_the_mouse_alone() {
        let row = |number| index_of(Private(number)).unwrap();
        let mut modes = ModeSet::default();
        for number in [1, 6, 1000, 2004] {
            modes.change(row(number), true);
        }
        modes.change(DECAWM, false);
        modes.soft_reset();
        assert!(modes.is_normal(row(1)) && modes.is_normal(row(6)) && modes.is_normal(DECAWM));
        assert!(modes.is_set(row(1000)) && modes.is_set(row(2004)));
        modes.hard_reset();
        assert!(modes.is_normal(row(1000)) && modes.is_touched(row(1000)));
    }
}
