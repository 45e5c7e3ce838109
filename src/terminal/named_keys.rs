//! Keys by their names, as tmux has them, and what a terminal sends for each: by the modes that the program is in.
//!
//! Without kitty's keyboard protocol that is what xterm sends. Keys that this makes no difference for are left as they
//! are: a program that understands the protocol understands them.

use std::str::FromStr;

use super::{control::ESC, snapshot::SnapshotModes};

/// A key, with what is held down beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NamedKey {
    base: BaseKey,
    shift: bool,
    meta: bool,
    control: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BaseKey {
    Character(char),
    Enter,
    Tab,
    Escape,
    Backspace,
    /// `CSI 1 ; modifiers letter`, or `SS3 letter` in application cursor keys mode.
    Cursor(u8),
    /// F1 to F4: `SS3 letter`, and as the cursor keys with modifiers.
    Letter(u8),
    /// `CSI number ; modifiers ~`.
    Number(u8),
}

use BaseKey::{Character, Cursor, Letter, Number};

const NAMES: [(&str, BaseKey); 29] = [
    ("Up", Cursor(b'A')),
    ("Down", Cursor(b'B')),
    ("Right", Cursor(b'C')),
    ("Left", Cursor(b'D')),
    ("Home", Cursor(b'H')),
    ("End", Cursor(b'F')),
    ("Enter", BaseKey::Enter),
    ("Escape", BaseKey::Escape),
    ("Tab", BaseKey::Tab),
    ("Space", Character(' ')),
    ("BSpace", BaseKey::Backspace),
    ("Insert", Number(2)),
    ("IC", Number(2)),
    ("Delete", Number(3)),
    ("DC", Number(3)),
    ("PageUp", Number(5)),
    ("PgUp", Number(5)),
    ("PPage", Number(5)),
    ("PageDown", Number(6)),
    ("PgDn", Number(6)),
    ("NPage", Number(6)),
    ("F1", Letter(b'P')),
    ("F2", Letter(b'Q')),
    ("F3", Letter(b'R')),
    ("F4", Letter(b'S')),
    ("Backspace", BaseKey::Backspace),
    ("Return", BaseKey::Enter),
    ("Esc", BaseKey::Escape),
    ("Del", Number(3)),
];

/// F5 to F20.
const FUNCTION_KEYS: [u8; 16] = [15, 17, 18, 19, 20, 21, 23, 24, 25, 26, 28, 29, 31, 32, 33, 34];

/// What is said of a key that is none.
const ALLOWED: &str = "a key is a single character, or one of Up, Down, Left, Right, Home, End, PageUp, PageDown, \
Insert, Delete, Enter, Tab, BTab, Escape, Space, BSpace and F1 to F20; C-, M- and S- before it hold Ctrl, Alt and Shift";

impl FromStr for NamedKey {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let unknown = || format!("there is no key {name:?} (text comes through standard input): {ALLOWED}");
        let mut key = Self { base: BaseKey::Enter, shift: false, meta: false, control: false };
        let mut rest = name;
        loop {
            let after = |prefixes: [&str; 2]| {
                let mut found = prefixes.iter().filter_map(|prefix| rest.strip_prefix(prefix));
                found.next().filter(|after| !after.is_empty())
            };
            rest = if let Some(after) = after(["C-", "^"]) {
                key.control = true;
                after
            } else if let Some(after) = after(["M-", "A-"]) {
                key.meta = true;
                after
            } else if let Some(after) = after(["S-", "S-"]) {
                key.shift = true;
                after
            } else {
                break;
            };
        }
        key.base = base(rest).ok_or_else(unknown)?;
        if rest.eq_ignore_ascii_case("BTab") {
            key.shift = true;
        }
        if let Character(letter) = key.base {
            if key.shift && letter.is_alphabetic() {
                key.base = Character(letter.to_uppercase().next().unwrap_or(letter));
            }
            if key.control && control(letter).is_none() {
                return Err(format!("no terminal sends Ctrl with {letter:?}: {ALLOWED}"));
            }
            if key.shift && !letter.is_alphabetic() && letter != ' ' {
                return Err(format!("{name:?} depends on the keyboard; name the character that is typed"));
            }
        }
        Ok(key)
    }
}

fn base(name: &str) -> Option<BaseKey> {
    let mut characters = name.chars();
    if let (Some(character), None) = (characters.next(), characters.next()) {
        return (!character.is_control()).then_some(Character(character));
    }
    if name.eq_ignore_ascii_case("BTab") {
        return Some(BaseKey::Tab);
    }
    let named = NAMES.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, key)| *key);
    named.or_else(|| {
        let number: usize = name.strip_prefix(['F', 'f'])?.parse().ok()?;
        FUNCTION_KEYS.get(number.checked_sub(5)?).map(|code| Number(*code))
    })
}

/// The byte that a character is with Ctrl.
fn control(character: char) -> Option<u8> {
    match character {
        'a'..='z' | '@' | '[' | '\\' | ']' | '^' | '_' => {
            u8::try_from(character).ok().map(|byte| byte & 0x1f)
        }
        'A'..='Z' => u8::try_from(character).ok().map(|byte| byte & 0x1f),
        ' ' => Some(0),
        '/' => Some(0x1f),
        '?' => Some(0x7f),
        _ => None,
    }
}

/// Flags of kitty's protocol: keys that looked like others get forms of their own; all keys do; their text is told.
const DISAMBIGUATE: u16 = 1;
const ALL_KEYS: u16 = 8;
const TEXT: u16 = 16;

impl NamedKey {
    /// What a terminal in these modes sends for it.
    pub(crate) fn put(self, modes: &SnapshotModes, out: &mut Vec<u8>) {
        let all = modes.kitty_keyboard & ALL_KEYS != 0;
        let is_kitty = all || modes.kitty_keyboard & DISAMBIGUATE != 0;
        let modifiers = self.modifiers();
        // Its letter ends a report of the cursor as well.
        let base = if is_kitty && self.base == Letter(b'R') { Number(13) } else { self.base };
        match base {
            Cursor(letter) | Letter(letter) => {
                let is_letter = matches!(base, Letter(_));
                if modifiers > 1 {
                    put!(out, "\x1b[1;{modifiers}");
                } else if !is_kitty && (is_letter || modes.cursor_keys) {
                    out.extend(b"\x1bO");
                } else {
                    out.extend(b"\x1b[");
                }
                out.push(letter);
            }
            Number(number) => {
                out.extend(b"\x1b[");
                put_number(out, number, modifiers);
            }
            Character(character) if all || (is_kitty && (self.control || self.meta)) => {
                self.put_as_code(character, modes, out);
            }
            Character(character) => self.put_character(character, out),
            BaseKey::Escape if is_kitty => put_code(out, 27, modifiers),
            BaseKey::Enter | BaseKey::Tab | BaseKey::Backspace if all || (is_kitty && modifiers > 1) => {
                let code = match self.base {
                    BaseKey::Enter => 13,
                    BaseKey::Tab => 9,
                    _ => 127,
                };
                put_code(out, code, modifiers);
            }
            _ => self.put_plain(modes, out),
        }
    }

    /// Enter, Tab, Escape and Backspace as terminals always sent them.
    fn put_plain(self, modes: &SnapshotModes, out: &mut Vec<u8>) {
        if self.meta {
            out.push(ESC);
        }
        match self.base {
            BaseKey::Tab if self.shift => out.extend(b"\x1b[Z"),
            BaseKey::Tab => out.push(b'\t'),
            BaseKey::Escape => out.push(ESC),
            BaseKey::Backspace => out.push(if modes.backspace == self.control { 0x7f } else { 0x08 }),
            _ => out.push(b'\r'),
        }
    }

    fn put_character(self, character: char, out: &mut Vec<u8>) {
        if self.meta {
            out.push(ESC);
        }
        match control(character).filter(|_| self.control) {
            Some(byte) => out.push(byte),
            None => put!(out, "{character}"),
        }
    }

    /// A character in kitty's protocol: by the key that it is on without Shift.
    fn put_as_code(self, character: char, modes: &SnapshotModes, out: &mut Vec<u8>) {
        let lower = character.to_lowercase().next().unwrap_or(character);
        let shifted = Self { shift: self.shift || lower != character, ..self };
        let (code, modifiers) = (u32::from(lower), shifted.modifiers());
        if modes.kitty_keyboard & TEXT != 0 && !self.control && !self.meta {
            put!(out, "\x1b[{code};{modifiers};{}u", u32::from(character));
        } else {
            put_code(out, code, modifiers);
        }
    }

    /// As xterm counts them: one more than the sum of Shift 1, Alt 2, Ctrl 4.
    fn modifiers(self) -> u8 {
        1 + u8::from(self.shift) + 2 * u8::from(self.meta) + 4 * u8::from(self.control)
    }
}

fn put_code(out: &mut Vec<u8>, code: u32, modifiers: u8) {
    match modifiers {
        1 => put!(out, "\x1b[{code}u"),
        _ => put!(out, "\x1b[{code};{modifiers}u"),
    }
}

fn put_number(out: &mut Vec<u8>, number: u8, modifiers: u8) {
    match modifiers {
        1 => put!(out, "{number}~"),
        _ => put!(out, "{number};{modifiers}~"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(names: &str, modes: SnapshotModes) -> String {
        let mut out = Vec::new();
        for name in names.split_whitespace() {
            name.parse::<NamedKey>().unwrap().put(&modes, &mut out);
        }
        String::from_utf8(out).unwrap().replace('\x1b', "^[")
    }

    #[test]
    fn keys_are_what_xterm_sends() {
        let plain = SnapshotModes::default();
        for (names, expected) in [
            ("a A ü 漢 Space - C S", "aAü漢 -CS"),
            ("C-c ^C C-Space C-@ C-[ C-\\ C-? C-/", "\x03\x03\0\0^[\x1c\x7f\x1f"),
            ("M-x M-C-a S-a A-Enter", "^[x^[\x01A^[\r"),
            ("Up Down Right Left Home End", "^[[A^[[B^[[C^[[D^[[H^[[F"),
            ("C-Up M-Left S-End C-M-S-Home", "^[[1;5A^[[1;3D^[[1;2F^[[1;8H"),
            ("Enter Tab BTab S-Tab Escape BSpace C-BSpace", "\r\t^[[Z^[[Z^[\x7f\x08"),
            ("IC DC PageUp NPage S-Delete", "^[[2~^[[3~^[[5~^[[6~^[[3;2~"),
            ("F1 F4 S-F3 F5 F12 F20 C-F5", "^[OP^[OS^[[1;2R^[[15~^[[24~^[[34~^[[15;5~"),
            ("up ENTER f1 pgdn", "^[[A\r^[OP^[[6~"),
            ("^ -", "^-"),
        ] {
            assert_eq!(sent(names, plain), expected, "{names}");
        }
    }

    #[test]
    fn modes_decide_what_keys_are() {
        let cursor_keys = SnapshotModes { cursor_keys: true, ..SnapshotModes::default() };
        assert_eq!(sent("Up Home C-Up F1", cursor_keys), "^[OA^[OH^[[1;5A^[OP");
        let backspace = SnapshotModes { backspace: true, ..SnapshotModes::default() };
        assert_eq!(sent("BSpace C-BSpace", backspace), "\x08\x7f");
        let kitty =
            |flags| SnapshotModes { kitty_keyboard: flags, cursor_keys: true, ..SnapshotModes::default() };
        assert_eq!(
            sent("a C-c M-X Escape Enter C-Enter S-Tab Up F1 F3 S-F3", kitty(1)),
            "a^[[99;5u^[[120;4u^[[27u\r^[[13;5u^[[9;2u^[[A^[[P^[[13~^[[13;2~"
        );
        assert_eq!(sent("a A Enter BSpace", kitty(8)), "^[[97u^[[97;2u^[[13u^[[127u");
        assert_eq!(sent("A C-a", kitty(24)), "^[[97;2;65u^[[97;5u");
    }

    #[test]
    fn what_is_no_key_is_refused_with_what_is_allowed() {
        for wrong in ["", "Upp", "C-", "C-ü", "C-1", "F0", "F21", "Fx", "hello", "\x07", "S-1", "C--"] {
            let error = wrong.parse::<NamedKey>().unwrap_err();
            assert!(error.contains("key") && !error.contains('\x07'), "{wrong:?}: {error}");
        }
    }
}
