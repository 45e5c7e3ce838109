//! Finds one or two control keys in what a terminal sends, whichever way the terminal encodes them.
//!
//! A press of ctrl-\ is the byte 0x1c, or, as its program asked: `CSI 92;5u` (kitty's keyboard protocol, and xterm's
//! modifyOtherKeys in its newer format), `CSI 27;5;92~` (modifyOtherKeys) or `CSI 220;43;28;1;8;1_` (win32-input-mode).
//! So the input is parsed. KeyState a bracketed paste, and within a string that the terminal sends as a reply, nothing
//! is a key.
//!
//! Sequences may be cut over calls at any byte. What may still become the key is kept back, at most [`MAX_KEPT`] bytes
//! and for at most [`MOMENT`]; then it passes, and is parsed on all the same. A lone ESC passes at once: it is the
//! escape key. If the key comes after a beginning of it has passed, that beginning is ended by [`HARMLESS_FINAL`], so
//! that the program is not left within a sequence.
//!
//! Legacy encodings do not tell all keys apart: ctrl-i is Tab, ctrl-m is Return, ctrl-[ is Escape, and ESC followed at
//! once by the key's byte is the key with Alt. Where ctrl-[ is the key, an ESC is kept back for a moment, and is the
//! key if nothing follows it.
//!
//! Sources: <https://sw.kovidgoyal.net/kitty/keyboard-protocol/>, `modifyOtherKeys` in xterm's control sequences, and
//! the specification of win32-input-mode in Microsoft's terminal.

use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// How long the beginning of what may be the key is kept back: a terminal sends a key at once.
pub(crate) const MOMENT: Duration = Duration::from_millis(50);

/// A pause in a string after which it is taken for keys: a person may have typed Alt-] or Alt-P.
const STRING_PAUSE: Duration = Duration::from_secs(1);

/// A pause in a paste after which its end is no longer awaited: a terminal that never ends one can be left all the
/// same.
const PASTE_PAUSE: Duration = Duration::from_secs(10);

/// Bytes of a sequence that are kept. A key with all its fields is shorter.
const MAX_KEPT: usize = 64;

/// Ends a control sequence of digits as one that means nothing to any program.
const HARMLESS_FINAL: u8 = b'}';

const BEL: u8 = 0x07;
const CAN: u8 = 0x18;
const SUB: u8 = 0x1a;
const ESC: u8 = 0x1b;

/// What ends a bracketed paste.
const PASTE_END: &[u8] = b"\x1b[201~";

/// The modifiers of kitty's protocol and of xterm, less the one that both add.
const SHIFT: u32 = 1;
const CTRL: u32 = 4;
const LOCKS: u32 = 64 | 128;

/// The modifiers of win32-input-mode: right and left of the first two.
const WINDOWS_ALT: u32 = 1 | 2;
const WINDOWS_CTRL: u32 = 4 | 8;
const WINDOWS_SHIFT: u32 = 16;

/// The parse state of what one terminal sends.
#[derive(Debug)]
pub(crate) struct KeyFinder {
    /// The control characters that a legacy encoding sends for the keys, where keys are looked for.
    keys: [Option<u8>; 2],
    within: KeyState,
    /// The sequence so far, from its ESC on, while it may be the key or begin a paste.
    kept: Vec<u8>,
    /// How many bytes of `kept` have passed already.
    passed: usize,
    /// When anything came last.
    last: Option<Instant>,
    /// The last press of a key, as the terminal sent it; and which of the two it is.
    press: Vec<u8>,
    is_second: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyState {
    Text,
    /// After an ESC. `late`: what follows did not follow at once, so the ESC was a key of its own.
    Escape {
        late: bool,
    },
    /// In a control sequence (CSI); with nothing kept, one that is not the key.
    Control,
    /// Before the one character of an SS3 sequence.
    Single,
    /// After the introducer of a string, if that is what it was.
    StringStart {
        ends_with_bell: bool,
    },
    String {
        ends_with_bell: bool,
    },
    /// So many bytes of a bracketed paste's end were seen.
    Paste {
        matched: usize,
    },
}

/// What a call found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct KeysFound {
    /// What the program is to get, up to the key.
    pub(crate) passes: Vec<u8>,
    /// Whether the key was pressed. What was typed after it is dropped.
    pub(crate) is_pressed: bool,
}

impl KeyFinder {
    /// Finds the key whose legacy encoding is the control character `key`; none without one.
    #[cfg(test)]
    pub(crate) fn new(key: impl Into<Option<u8>>) -> Self {
        Self::of_two([key.into(), None])
    }

    /// Finds two keys, where they are given. If they are the same, it is the first.
    pub(crate) fn of_two(keys: [Option<u8>; 2]) -> Self {
        let (within, press) = (KeyState::Text, Vec::new());
        Self { keys, within, kept: Vec::new(), passed: 0, last: None, press, is_second: false }
    }

    /// Whether the last press was of the second key.
    pub(crate) fn is_second(&self) -> bool {
        self.is_second
    }

    fn is_key(&self, byte: u8) -> bool {
        self.keys.contains(&Some(byte))
    }

    /// Takes note of a press, of the key of this control character.
    fn press_of(&mut self, key: u8, press: Vec<u8>) {
        self.is_second = self.keys[0] != Some(key);
        self.press = press;
    }

    /// The last press of the key, as the terminal sent it.
    pub(crate) fn press(&self) -> &[u8] {
        &self.press
    }

    /// Looks for the key in `input`, which came at `now`.
    #[cfg(test)]
    pub(crate) fn find(&mut self, input: &[u8], now: Instant) -> KeysFound {
        self.find_first(input, now).0
    }

    /// Looks for the key in `input`, which came at `now`. Also returns what follows the first press.
    pub(crate) fn find_first<'a>(&mut self, input: &'a [u8], now: Instant) -> (KeysFound, &'a [u8]) {
        let mut found =
            KeysFound { passes: Vec::with_capacity(self.kept.len() + input.len()), is_pressed: false };
        if self.expire(now) {
            self.press_of(ESC, vec![ESC]);
            self.settle(&mut Vec::new());
            found.is_pressed = true;
            return (found, input);
        }
        for (at, byte) in input.iter().enumerate() {
            if self.take(*byte, &mut found.passes) {
                found.is_pressed = true;
                return (found, &input[at + 1..]);
            }
        }
        // An ESC that nothing follows passes at once, unless it may be the key itself.
        if matches!(self.within, KeyState::Escape { .. }) && !self.is_key(ESC) {
            self.pass_kept(&mut found.passes);
        }
        (found, &[])
    }

    /// Whether something is kept back. If nothing follows within [`MOMENT`], the caller takes it with
    /// [`flush`](Self::flush).
    pub(crate) fn is_holding(&self) -> bool {
        self.kept.len() > self.passed
    }

    /// Whether a bracketed paste has begun and not ended.
    pub(crate) fn is_pasting(&self) -> bool {
        matches!(self.within, KeyState::Paste { .. })
    }

    /// Gives up what is kept back. What follows is still parsed as its rest.
    pub(crate) fn flush(&mut self) -> KeysFound {
        if self.is_escape_the_key() {
            self.press_of(ESC, vec![ESC]);
            self.settle(&mut Vec::new());
            return KeysFound { passes: Vec::new(), is_pressed: true };
        }
        let mut found = KeysFound::default();
        self.pass_kept(&mut found.passes);
        found
    }

    /// Whether a lone ESC is kept back that is the key, unless its rest comes at once.
    fn is_escape_the_key(&self) -> bool {
        self.is_key(ESC) && self.is_holding() && matches!(self.within, KeyState::Escape { .. })
    }

    /// Takes note of the pause before `now`. Returns whether it makes an ESC the key.
    fn expire(&mut self, now: Instant) -> bool {
        let pause = self.last.replace(now).map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        match self.within {
            KeyState::Escape { .. } if pause >= MOMENT => {
                if self.is_escape_the_key() {
                    return true;
                }
                self.within = KeyState::Escape { late: true };
            }
            KeyState::StringStart { .. } if pause >= MOMENT => self.within = KeyState::Text,
            KeyState::String { .. } if pause >= STRING_PAUSE => self.within = KeyState::Text,
            KeyState::Paste { .. } if pause >= PASTE_PAUSE => self.within = KeyState::Text,
            _ => {}
        }
        false
    }

    /// Takes a byte. Returns whether it completes the key.
    fn take(&mut self, byte: u8, passes: &mut Vec<u8>) -> bool {
        match self.within {
            KeyState::Text => return self.take_in_text(byte, passes),
            KeyState::Escape { late } => return self.take_after_escape(byte, late, passes),
            KeyState::Control => return self.take_in_control(byte, passes),
            KeyState::Single => {
                self.within = KeyState::Text;
                return self.take_in_text(byte, passes);
            }
            KeyState::StringStart { ends_with_bell } | KeyState::String { ends_with_bell } => {
                self.within = match byte {
                    ESC => return self.take_in_text(byte, passes),
                    CAN | SUB => KeyState::Text,
                    BEL if ends_with_bell => KeyState::Text,
                    _ => KeyState::String { ends_with_bell },
                };
            }
            KeyState::Paste { matched } => {
                let matched = if byte == PASTE_END[matched] { matched + 1 } else { usize::from(byte == ESC) };
                self.within =
                    if matched < PASTE_END.len() { KeyState::Paste { matched } } else { KeyState::Text };
            }
        }
        passes.push(byte);
        false
    }

    fn take_in_text(&mut self, byte: u8, passes: &mut Vec<u8>) -> bool {
        if byte == ESC {
            self.begin();
            return false;
        }
        if self.is_key(byte) {
            self.press_of(byte, vec![byte]);
            return true;
        }
        passes.push(byte);
        false
    }

    fn take_after_escape(&mut self, byte: u8, late: bool, passes: &mut Vec<u8>) -> bool {
        self.within = match byte {
            b'[' => {
                self.kept.push(byte);
                self.within = KeyState::Control;
                return false;
            }
            // The ESC was a key of its own.
            _ if late || byte == ESC => {
                self.settle(passes);
                return self.take_in_text(byte, passes);
            }
            b'O' => KeyState::Single,
            b']' => KeyState::StringStart { ends_with_bell: true },
            b'P' | b'X' | b'^' | b'_' => KeyState::StringStart { ends_with_bell: false },
            // A key with Alt.
            _ => KeyState::Text,
        };
        self.pass_kept(passes);
        self.forget();
        passes.push(byte);
        false
    }

    fn take_in_control(&mut self, byte: u8, passes: &mut Vec<u8>) -> bool {
        match byte {
            b'0'..=b';' if !self.kept.is_empty() && self.kept.len() < MAX_KEPT => self.kept.push(byte),
            // It goes on, and is not the key.
            b' '..=b'?' => {
                self.pass_kept(passes);
                self.forget();
                passes.push(byte);
            }
            b'@'..=b'~' => {
                let parameters = self.kept.get(2..);
                let is_pressed = |key: &u8| parameters.is_some_and(|fields| is_press(*key, fields, byte));
                if let Some(key) = self.keys.into_iter().flatten().find(is_pressed) {
                    let is_cut = self.passed > 1;
                    self.kept.push(byte);
                    let press = std::mem::take(&mut self.kept);
                    self.press_of(key, press);
                    self.forget();
                    passes.extend(is_cut.then_some(HARMLESS_FINAL));
                    self.within = KeyState::Text;
                    return true;
                }
                let begins_paste = parameters == Some(b"200") && byte == b'~';
                self.settle(passes);
                passes.push(byte);
                if begins_paste {
                    self.within = KeyState::Paste { matched: 0 };
                }
            }
            // A control character, or one that is not ASCII: no terminal sends that in a sequence.
            _ => {
                self.settle(passes);
                return self.take_in_text(byte, passes);
            }
        }
        false
    }

    fn begin(&mut self) {
        self.forget();
        self.kept.push(ESC);
        self.within = KeyState::Escape { late: false };
    }

    /// Ends the sequence, and passes what of it has yet to pass.
    fn settle(&mut self, passes: &mut Vec<u8>) {
        self.pass_kept(passes);
        self.forget();
        self.within = KeyState::Text;
    }

    fn pass_kept(&mut self, passes: &mut Vec<u8>) {
        passes.extend_from_slice(&self.kept[self.passed..]);
        self.passed = self.kept.len();
    }

    fn forget(&mut self) {
        self.kept.clear();
        self.passed = 0;
    }
}

/// Whether `CSI parameters last` is a press of the control key `key`.
fn is_press(key: u8, parameters: &[u8], last: u8) -> bool {
    let mut fields = parameters.split(|byte| *byte == b';');
    let first = Numbers::of(fields.next());
    match last {
        // code[:shifted[:base]] ; modifiers[:event] ; text
        b'u' => {
            let Numbers([code, shifted, base]) = first;
            let Numbers([modifiers, event, _]) = Numbers::of(fields.next());
            event != Some(RELEASE) && Press { code, shifted, base, modifiers }.is(key)
        }
        // 27 ; modifiers ; code
        b'~' if first.0[0] == Some(27) => {
            let Numbers([modifiers, ..]) = Numbers::of(fields.next());
            let Numbers([code, ..]) = Numbers::of(fields.next());
            Press { code, shifted: None, base: None, modifiers }.is(key)
        }
        b'_' => is_windows_press(key, parameters),
        _ => false,
    }
}

/// The same for `CSI virtual key;scan code;character;is down;state;repeats _`.
fn is_windows_press(key: u8, parameters: &[u8]) -> bool {
    let mut fields = [None; 5];
    for (number, field) in fields.iter_mut().zip(parameters.split(|byte| *byte == b';')) {
        *number = Numbers::of(Some(field)).0[0];
    }
    let [_, _, Some(character), Some(1), Some(state)] = fields else { return false };
    let needs_shift = matches!(key + b'@', b'@' | b'^' | b'_');
    let is_it = character == u32::from(key) || (key == 0 && character == u32::from(b' '));
    is_it
        && state & WINDOWS_CTRL != 0
        && state & WINDOWS_ALT == 0
        && (needs_shift || state & WINDOWS_SHIFT == 0)
}

/// The event of a key that is let go. A press is 1, or not said; one that is held down repeats with 2, and counts as in
/// a legacy encoding, which does not tell the two apart.
const RELEASE: u32 = 3;

/// A field's numbers, which colons separate. One that is missing or is not a number of 32 bits is `None`.
struct Numbers([Option<u32>; 3]);

impl Numbers {
    fn of(field: Option<&[u8]>) -> Self {
        let mut numbers = [None; 3];
        let texts = field.unwrap_or_default().split(|byte| *byte == b':');
        for (number, text) in numbers.iter_mut().zip(texts) {
            *number = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        }
        Self(numbers)
    }
}

/// A key press: Unicode code points, and modifiers as they are sent.
struct Press {
    /// Of the key without Shift; with modifyOtherKeys, with it.
    code: Option<u32>,
    /// With Shift, where the terminal says so.
    shifted: Option<u32>,
    /// Of the same key of a US keyboard, where that is another.
    base: Option<u32>,
    modifiers: Option<u32>,
}

impl Press {
    /// Whether it is ctrl and the character of `key`, and nothing else but locks.
    fn is(&self, key: u8) -> bool {
        let character = u32::from((key + b'@').to_ascii_lowercase());
        let is_it = |code: Option<u32>| {
            let code = code.map(|code| if is_capital(code) { code + 0x20 } else { code });
            // ctrl-@ is typed with the space bar.
            code == Some(character) || (key == 0 && code == Some(u32::from(b' ')))
        };
        match self.modifiers.unwrap_or(1).saturating_sub(1) & !LOCKS {
            CTRL => is_it(self.code) || is_it(self.base),
            // These three need Shift themselves, on a US keyboard together with these keys.
            modifiers if modifiers == CTRL | SHIFT => match (self.shifted, key + b'@') {
                (_, b'A'..=b'Z') => false,
                (Some(shifted), _) => shifted == character,
                (None, b'@') => self.is_any_of([b'@', b'2']),
                (None, b'^') => self.is_any_of([b'^', b'6']),
                (None, b'_') => self.is_any_of([b'_', b'-']),
                (None, _) => false,
            },
            _ => false,
        }
    }

    fn is_any_of(&self, characters: [u8; 2]) -> bool {
        characters.iter().any(|character| {
            let character = Some(u32::from(*character));
            self.code == character || self.base == character
        })
    }
}

fn is_capital(code: u32) -> bool {
    u8::try_from(code).is_ok_and(|code| code.is_ascii_uppercase())
}
