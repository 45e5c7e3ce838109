//! All of a terminal's state beside its screens: modes, keyboards, colours, titles and the like.
//!
//! Each part has its field here, how sequences change it, what restores it in a terminal that is as normal, and what
//! undoes it. A model keeps one for its session; a client keeps one for the person's terminal, to leave that as it was.

use std::collections::BTreeMap;

use super::{
    modes::{self, MODES, ModeKind, ModeSet, Number},
    parser::ControlSequence,
};

/// Titles, colours and the like that are longer are taken for none, in bytes.
const MAX_TEXT: usize = 4096;
const MAX_SHORT_TEXT: usize = 128;

/// How deep stacks grow before they lose their oldest entry; kitty and xterm have similar bounds.
const MAX_DEPTH: usize = 16;

/// Colours by name (OSC 21) that are kept.
const MAX_NAMED: usize = 64;

/// A screen's keyboard in kitty's protocol (<https://sw.kovidgoyal.net/kitty/keyboard-protocol/>).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Keyboard {
    pub(super) flags: u16,
    /// What was pushed, the newest last.
    pub(super) stack: Vec<u16>,
}

impl Keyboard {
    fn push(&mut self, flags: u16) {
        push_bounded(&mut self.stack, self.flags);
        self.flags = flags;
    }

    fn pop(&mut self, count: u16) {
        for _ in 0..usize::from(count.max(1)).min(MAX_DEPTH + 1) {
            self.flags = self.stack.pop().unwrap_or(0);
        }
    }

    fn set(&mut self, flags: u16, how: u16) {
        self.flags = match how {
            2 => self.flags | flags,
            3 => self.flags & !flags,
            _ => flags,
        };
    }

    /// What was set before anything was pushed.
    fn base(&self) -> u16 {
        self.stack.first().copied().unwrap_or(self.flags)
    }

    /// Onto a screen whose keyboard is as normal.
    pub(super) fn restore(&self, out: &mut Vec<u8>) {
        if self.base() != 0 {
            put!(out, "\x1b[={};1u", self.base());
        }
        for flags in self.stack.iter().skip(1).chain((!self.stack.is_empty()).then_some(&self.flags)) {
            put!(out, "\x1b[>{flags}u");
        }
    }

    #[cfg(feature = "cli")]
    fn undo(&self, out: &mut Vec<u8>) {
        if !self.stack.is_empty() {
            put!(out, "\x1b[<{}u", self.stack.len());
        }
        if self.base() != 0 {
            put!(out, "\x1b[=0;1u");
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Titles {
    pub(super) icon: Option<String>,
    pub(super) window: Option<String>,
}

/// Numbers of the colours that OSC 10 to 19 set.
const DYNAMIC: std::ops::RangeInclusive<u16> = 10..=19;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) modes: ModeSet,
    /// Modes that were saved (XTSAVE), each with what it was.
    pub(super) saved_modes: BTreeMap<usize, bool>,
    /// Of the first screen and the other one.
    pub(super) keyboards: [Keyboard; 2],
    /// What XTMODKEYS chose for each resource, 4 being modifyOtherKeys; `Some(None)` where it was reset.
    pub(super) key_modifiers: [Option<Option<u16>>; 8],
    /// What XTFMTKEYS chose.
    pub(super) key_formats: [Option<Option<u16>>; 8],
    /// What DECSCUSR chose.
    pub(super) cursor_style: Option<u16>,
    pub(super) titles: Titles,
    pub(super) title_stack: Vec<Titles>,
    /// Colours by what their OSC names them, such as `4;1` or `11`: `Some` as they were set, `None` where they were
    /// reset.
    pub(super) colours: BTreeMap<ColourName, Option<String>>,
    /// The working directory (OSC 7), the pointer's shape (OSC 22), progress (OSC 9;4): as they were set.
    pub(super) directory: Option<String>,
    pub(super) pointer: Option<String>,
    pub(super) pointer_stack: Vec<String>,
    pub(super) progress: Option<String>,
    /// When the pointer is hidden (XTSMPOINTER).
    pub(super) pointer_mode: Option<u16>,
    /// How titles are written (XTSMTITLE), a bit for each.
    pub(super) title_modes: u8,
    /// Replies come with C1 controls (S8C1T).
    pub(super) eight_bit_replies: bool,
    /// The keypad's mode was set by its number, and not by the older ESC =.
    pub(super) keypad_by_number: bool,
    /// What rectangles of attributes extend over (DECSACE).
    pub(super) attribute_extent: u16,
}

/// A colour of a terminal's, by what sets it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ColourName {
    /// OSC 4.
    Palette(u16),
    /// OSC 5: of bold, underlined, blinking and the like.
    Special(u16),
    /// OSC 10 to 19: foreground, background, cursor and the like.
    Dynamic(u16),
    /// OSC 21, kitty's.
    Named(String),
}

impl Settings {
    /// Which screen is shown: 1 for the other one.
    pub(super) fn screen(&self) -> usize {
        usize::from(self.modes.shows_other_screen())
    }

    /// Takes note of a control sequence. Those that set modes are noted by [`set_mode`](Self::set_mode).
    pub(super) fn control_sequence(&mut self, sequence: &ControlSequence) {
        // Most are none of these.
        if sequence.private == 0 && sequence.intermediates().is_empty() && sequence.last != b't' {
            return;
        }
        let first = sequence.parameter(0, 0);
        match (sequence.private, sequence.intermediates(), sequence.last) {
            (b'?', [], b's') => {
                for row in private_rows(sequence) {
                    self.saved_modes.insert(row, self.modes.is_set(row));
                }
            }
            (b'>', [], b'u') => self.keyboard().push(first),
            (b'<', [], b'u') => self.keyboard().pop(first),
            (b'=', [], b'u') => self.keyboard().set(first, sequence.parameter(1, 1)),
            (b'>', [], b'm') => change_keys(&mut self.key_modifiers, sequence, true),
            (b'>', [], b'f') => change_keys(&mut self.key_formats, sequence, true),
            (b'>', [], b'n') => change_keys(&mut self.key_modifiers, sequence, false),
            (0, [b' '], b'q') => self.cursor_style = Some(first),
            (0, [], b't') if first == 22 => self.push_titles(sequence.parameter(1, 0)),
            (0, [], b't') if first == 23 => self.pop_titles(sequence.parameter(1, 0)),
            (b'>', [], b'p') => self.pointer_mode = Some(first),
            (b'>', [], b't' | b'T') => {
                for number in sequence.numbers().filter(|number| *number < 4) {
                    let bit = 1 << number;
                    self.title_modes =
                        if sequence.last == b't' { self.title_modes | bit } else { self.title_modes & !bit };
                }
            }
            (0, [b'*'], b'x') => self.attribute_extent = first.min(2),
            (0, [b'!'], b'p') => self.soft_reset(),
            _ => {}
        }
    }

    fn keyboard(&mut self) -> &mut Keyboard {
        let screen = self.screen();
        &mut self.keyboards[screen]
    }

    /// Sets or resets a mode. `None` for one that is not in the table.
    pub(super) fn set_mode(&mut self, number: Number, set: bool) -> Option<usize> {
        let row = modes::index_of(number)?;
        self.change_mode(row, set);
        Some(row)
    }

    pub(super) fn change_mode(&mut self, row: usize, set: bool) {
        self.keypad_by_number |= row == modes::KEYPAD;
        self.modes.change(row, set);
    }

    pub(super) fn escape(&mut self, intermediates: &[u8], last: u8) {
        match (intermediates, last) {
            ([], b'=' | b'>') => {
                self.modes.change(modes::KEYPAD, last == b'=');
                self.keypad_by_number = false;
            }
            ([b' '], b'F') => self.eight_bit_replies = false,
            ([b' '], b'G') => self.eight_bit_replies = true,
            ([], b'c') => self.hard_reset(),
            _ => {}
        }
    }

    pub(super) fn soft_reset(&mut self) {
        self.modes.soft_reset();
        self.cursor_style = self.cursor_style.map(|_| 0);
        self.reset_colours(|name| !matches!(name, ColourName::Named(_)));
    }

    /// All is as normal; what others may have missed of that is known to have been changed.
    fn hard_reset(&mut self) {
        self.modes.hard_reset();
        let before = std::mem::take(self);
        self.modes = before.modes;
        self.colours = before.colours;
        self.reset_colours(|_| true);
        self.cursor_style = before.cursor_style.map(|_| 0);
        self.key_modifiers = before.key_modifiers.map(|chosen| chosen.map(|_| None));
        self.key_formats = before.key_formats.map(|chosen| chosen.map(|_| None));
        self.pointer_mode = before.pointer_mode.map(|_| 1);
        self.pointer = before.pointer.map(|_| String::new());
        self.progress = before.progress.map(|_| "0".to_owned());
        self.directory = before.directory;
        // Titles are the window's, which a reset leaves alone.
        (self.titles, self.title_stack) = (before.titles, before.title_stack);
    }

    fn reset_colours(&mut self, which: impl Fn(&ColourName) -> bool) {
        for (_, colour) in self.colours.iter_mut().filter(|(name, _)| which(name)) {
            *colour = None;
        }
    }

    fn push_titles(&mut self, which: u16) {
        let Titles { icon, window } = self.titles.clone();
        let titles = Titles { icon: icon.filter(|_| which != 2), window: window.filter(|_| which != 1) };
        push_bounded(&mut self.title_stack, titles);
    }

    fn pop_titles(&mut self, which: u16) {
        let Some(Titles { icon, window }) = self.title_stack.pop() else { return };
        if which != 2 && icon.is_some() {
            self.titles.icon = icon;
        }
        if which != 1 && window.is_some() {
            self.titles.window = window;
        }
    }

    /// Takes note of an operating system command.
    pub(super) fn command(&mut self, command: &[u8]) {
        let command = String::from_utf8_lossy(command);
        let (number, value) = command.split_once(';').unwrap_or((&command, ""));
        let Ok(number) = number.parse::<u16>() else { return };
        let title = || (value.len() <= MAX_TEXT).then(|| harmless(value));
        match number {
            0..=2 => {
                if let Some(title) = title() {
                    if number != 2 {
                        self.titles.icon = Some(title.clone());
                    }
                    if number != 1 {
                        self.titles.window = Some(title);
                    }
                }
            }
            4 | 5 => self.indexed_colours(number, value),
            7 => self.directory = title(),
            9 => {
                if let Some(progress) =
                    value.strip_prefix("4;").filter(|progress| progress.len() <= MAX_SHORT_TEXT)
                {
                    self.progress = Some(harmless(progress));
                }
            }
            10..=19 => {
                for (name, colour) in (number..=19).zip(value.split(';')) {
                    self.set_colour(ColourName::Dynamic(name), colour);
                }
            }
            21 => self.named_colours(value),
            22 => self.pointer_shape(value),
            104 | 105 => {
                let name = |index| if number == 104 { palette(index) } else { ColourName::Special(index) };
                let indexes: Vec<u16> = value.split(';').filter_map(|index| index.parse().ok()).collect();
                let is_meant = |other: &ColourName| match other {
                    ColourName::Palette(_) => number == 104,
                    ColourName::Special(_) => number == 105,
                    _ => false,
                };
                if indexes.is_empty() {
                    self.reset_colours(is_meant);
                } else {
                    self.reset_colours(|other| indexes.iter().any(|index| name(*index) == *other));
                }
            }
            110..=119 => self.reset_colours(|name| *name == ColourName::Dynamic(number - 100)),
            _ => {}
        }
    }

    fn indexed_colours(&mut self, number: u16, value: &str) {
        let mut parts = value.split(';');
        while let (Some(index), Some(colour)) = (parts.next(), parts.next()) {
            if let Ok(index) = index.parse::<u16>() {
                let name = if number == 4 { palette(index) } else { ColourName::Special(index) };
                self.set_colour(name, colour);
            }
        }
    }

    fn named_colours(&mut self, value: &str) {
        for part in value.split(';') {
            let (name, colour) =
                part.split_once('=').map_or((part, None), |(name, colour)| (name, Some(colour)));
            let name = ColourName::Named(harmless(name));
            match colour {
                Some(colour) => self.set_colour(name, colour),
                None => self.reset_colours(|other| *other == name),
            }
        }
    }

    fn set_colour(&mut self, name: ColourName, colour: &str) {
        let is_kept = match &name {
            ColourName::Palette(index) => *index < 256,
            ColourName::Special(index) => *index < 8,
            ColourName::Dynamic(number) => DYNAMIC.contains(number),
            ColourName::Named(name) => {
                let is_named = |name: &&ColourName| matches!(name, ColourName::Named(_));
                name.len() <= MAX_SHORT_TEXT && self.colours.keys().filter(is_named).count() < MAX_NAMED
            }
        };
        let is_question = colour.starts_with('?');
        if is_kept && !colour.is_empty() && !is_question && colour.len() <= MAX_SHORT_TEXT {
            self.colours.insert(name, Some(harmless(colour)));
        }
    }

    /// OSC 22, with kitty's stack of shapes.
    fn pointer_shape(&mut self, value: &str) {
        if value.len() > MAX_SHORT_TEXT {
            return;
        }
        let current = self.pointer.clone().unwrap_or_default();
        match value.as_bytes().first() {
            Some(b'?') => {}
            Some(b'>') => {
                for shape in value[1..].split(',') {
                    push_bounded(&mut self.pointer_stack, self.pointer.clone().unwrap_or_default());
                    self.pointer = Some(harmless(shape));
                }
            }
            Some(b'<') => self.pointer = Some(self.pointer_stack.pop().unwrap_or_default()),
            _ => self.pointer = Some(harmless(value.strip_prefix('=').unwrap_or(value))),
        }
        if self.pointer.as_deref() == Some("") && current.is_empty() && self.pointer_stack.is_empty() {
            self.pointer = None;
        }
    }

    /// Makes a terminal normal, whatever was done to it: what is the same in all of them, and what this was told of.
    pub(super) fn reset(&self, out: &mut Vec<u8>) {
        self.put_modes(out, |row| {
            let mode = &MODES[row];
            let in_place = matches!(mode.kind, ModeKind::Screen | ModeKind::Action);
            let is_due = mode.normal.is_certain() || self.modes.is_touched(row);
            (is_due && !in_place).then_some(mode.normal.is_set())
        });
        // The oldest form of the keypad's mode, which all terminals know.
        put!(out, "\x1b>\x1b[>4m\x1b[>4f");
        if self.cursor_style.is_none() {
            // The terminal's own style, whatever it is.
            put!(out, "\x1b[0 q");
        }
        self.undo_beside_modes(out);
    }

    /// Brings a terminal that is as normal into this state, but for what belongs to one screen or has a place in a
    /// redraw.
    pub(super) fn restore(&self, out: &mut Vec<u8>) {
        self.put_modes(out, |row| {
            let is_plain = !matches!(MODES[row].kind, ModeKind::Screen | ModeKind::Places | ModeKind::Action);
            let is_apart = row == modes::KEYPAD || MODES[row].number == Number::Private(2026);
            (is_plain && !is_apart && !self.modes.is_normal(row)).then(|| self.modes.is_set(row))
        });
        if self.modes.is_set(modes::KEYPAD) {
            put!(out, "{}", if self.keypad_by_number { "\x1b[?66h" } else { "\x1b=" });
        }
        for (keys, last) in [(&self.key_modifiers, 'm'), (&self.key_formats, 'f')] {
            for (resource, value) in keys.iter().enumerate() {
                match value {
                    Some(Some(u16::MAX)) => put!(out, "\x1b[>{resource}n"),
                    Some(Some(value)) => put!(out, "\x1b[>{resource};{value}{last}"),
                    _ => {}
                }
            }
        }
        if let Some(style) = self.cursor_style.filter(|style| *style != 0) {
            put!(out, "\x1b[{style} q");
        }
        if let Some(mode) = self.pointer_mode.filter(|mode| *mode != 1) {
            put!(out, "\x1b[>{mode}p");
        }
        for bit in 0..4 {
            if self.title_modes & 1 << bit != 0 {
                put!(out, "\x1b[>{bit}t");
            }
        }
        if self.eight_bit_replies {
            put!(out, "\x1b G");
        }
        if self.attribute_extent != 0 {
            put!(out, "\x1b[{}*x", self.attribute_extent);
        }
        for (name, colour) in &self.colours {
            if let Some(colour) = colour {
                set_colour(out, name, colour);
            }
        }
        let mut shown = Titles::default();
        for titles in &self.title_stack {
            put_titles(out, titles);
            shown.icon = titles.icon.clone().or(shown.icon);
            shown.window = titles.window.clone().or(shown.window);
            // What of the two is pushed, where it was one of them only.
            let which = match titles {
                Titles { icon: None, .. } if shown.icon.is_some() => 2,
                Titles { window: None, .. } if shown.window.is_some() => 1,
                _ => 0,
            };
            put!(out, "\x1b[22;{which}t");
        }
        put_titles(out, &self.titles);
        if let Some(directory) = &self.directory {
            put!(out, "\x1b]7;{directory}\x1b\\");
        }
        let shapes = self.pointer_stack.iter().map(String::as_str).chain(self.pointer.as_deref());
        for (depth, shape) in shapes.enumerate().filter(|(depth, shape)| *depth > 0 || !shape.is_empty()) {
            // What was beneath is set, and all others are pushed onto it.
            put!(out, "\x1b]22;{}{shape}\x1b\\", if depth == 0 { "" } else { ">" });
        }
        if let Some(progress) = self.progress.as_deref().filter(|progress| !progress.starts_with('0')) {
            put!(out, "\x1b]9;4;{progress}\x1b\\");
        }
    }

    /// Puts a terminal back that was normal before this was done to it. It leaves the other screen first.
    #[cfg(feature = "cli")]
    pub(super) fn undo(&self, out: &mut Vec<u8>) {
        let [first, other] = &self.keyboards;
        if self.screen() == 1 {
            other.undo(out);
        } else if *other != Keyboard::default() {
            // That screen is to be shown for it.
            put!(out, "\x1b[?1049h");
            other.undo(out);
            put!(out, "\x1b[?1049l");
        }
        self.put_modes(out, |row| {
            (MODES[row].kind == ModeKind::Screen && self.modes.is_set(row)).then_some(false)
        });
        first.undo(out);
        self.put_modes(out, |row| {
            let is_due = match MODES[row].kind {
                ModeKind::Screen | ModeKind::Action => false,
                // In some terminals setting another one did not end it.
                ModeKind::MouseEvents | ModeKind::MouseEncoding => self.modes.is_touched(row),
                ModeKind::Plain | ModeKind::Places => !self.modes.is_normal(row),
            };
            is_due.then_some(MODES[row].normal.is_set())
        });
        if self.modes.is_set(modes::KEYPAD) {
            put!(out, "\x1b>");
        }
        self.undo_beside_modes(out);
        for _ in &self.title_stack {
            put!(out, "\x1b[23;0t");
        }
    }

    /// What is undone in the same way whatever it is now.
    fn undo_beside_modes(&self, out: &mut Vec<u8>) {
        for (keys, last) in [(&self.key_modifiers, 'm'), (&self.key_formats, 'f')] {
            for (resource, _) in keys.iter().enumerate().filter(|(_, value)| value.is_some()) {
                put!(out, "\x1b[>{resource}{last}");
            }
        }
        if self.cursor_style.is_some() {
            put!(out, "\x1b[0 q");
        }
        if self.pointer_mode.is_some() {
            put!(out, "\x1b[>1p");
        }
        for bit in 0..4 {
            if self.title_modes & 1 << bit != 0 {
                put!(out, "\x1b[>{bit}T");
            }
        }
        if self.eight_bit_replies {
            put!(out, "\x1b F");
        }
        if self.attribute_extent != 0 {
            put!(out, "\x1b[0*x");
        }
        for name in self.colours.keys() {
            reset_colour(out, name);
        }
        if self.directory.is_some() {
            put!(out, "\x1b]7;\x1b\\");
        }
        for _ in &self.pointer_stack {
            put!(out, "\x1b]22;<\x1b\\");
        }
        if self.pointer.is_some() {
            put!(out, "\x1b]22;\x1b\\");
        }
        if self.progress.is_some() {
            put!(out, "\x1b]9;4;0\x1b\\");
        }
    }

    /// Sets or resets each mode that `which` says to, those of a kind in one sequence.
    #[allow(clippy::unused_self, reason = "reads as what it is about")]
    fn put_modes(&self, out: &mut Vec<u8>, which: impl Fn(usize) -> Option<bool>) {
        for (set, last) in [(false, 'l'), (true, 'h')] {
            for private in [false, true] {
                let mut separator = if private { "\x1b[?" } else { "\x1b[" };
                for (row, mode) in MODES.iter().enumerate() {
                    let number = match mode.number {
                        Number::Ansi(number) if !private => number,
                        Number::Private(number) if private => number,
                        _ => continue,
                    };
                    if which(row) == Some(set) {
                        put!(out, "{separator}{number}");
                        separator = ";";
                    }
                }
                if separator == ";" {
                    put!(out, "{last}");
                }
            }
        }
    }
}

/// The rows of the private modes that a sequence names.
pub(super) fn private_rows(sequence: &ControlSequence) -> Vec<usize> {
    sequence.numbers().filter_map(|number| modes::index_of(Number::Private(number))).collect()
}

/// XTMODKEYS and XTFMTKEYS: `CSI > resource ; value m`. Without a value, or with nothing at all, they are reset. The
/// form that ends in `n` disables, which no value does.
fn change_keys(keys: &mut [Option<Option<u16>>; 8], sequence: &ControlSequence, enables: bool) {
    let mut numbers = sequence.numbers();
    let resource = usize::from(numbers.next().unwrap_or(0));
    let value = numbers.next();
    let is_bare = sequence.parameters().count() == 1 && resource == 0;
    if is_bare && enables {
        for key in keys.iter_mut().filter(|key| key.is_some()) {
            *key = Some(None);
        }
    } else if let Some(key) = keys.get_mut(resource) {
        *key = Some(if enables { value.filter(|value| *value != 0) } else { Some(u16::MAX) });
    }
}

fn palette(index: u16) -> ColourName {
    if index < 256 { ColourName::Palette(index) } else { ColourName::Special(index - 256) }
}

fn set_colour(out: &mut Vec<u8>, name: &ColourName, colour: &str) {
    match name {
        ColourName::Palette(index) => put!(out, "\x1b]4;{index};{colour}\x1b\\"),
        ColourName::Special(index) => put!(out, "\x1b]5;{index};{colour}\x1b\\"),
        ColourName::Dynamic(number) => put!(out, "\x1b]{number};{colour}\x1b\\"),
        ColourName::Named(name) => put!(out, "\x1b]21;{name}={colour}\x1b\\"),
    }
}

fn reset_colour(out: &mut Vec<u8>, name: &ColourName) {
    match name {
        ColourName::Palette(index) => put!(out, "\x1b]104;{index}\x1b\\"),
        ColourName::Special(index) => put!(out, "\x1b]105;{index}\x1b\\"),
        ColourName::Dynamic(number) => put!(out, "\x1b]{}\x1b\\", number + 100),
        ColourName::Named(name) => put!(out, "\x1b]21;{name}\x1b\\"),
    }
}

fn put_titles(out: &mut Vec<u8>, Titles { icon, window }: &Titles) {
    match (icon, window) {
        (Some(icon), Some(window)) if icon == window => put!(out, "\x1b]0;{icon}\x1b\\"),
        _ => {
            if let Some(icon) = icon {
                put!(out, "\x1b]1;{icon}\x1b\\");
            }
            if let Some(window) = window {
                put!(out, "\x1b]2;{window}\x1b\\");
            }
        }
    }
}

/// Text that goes into a string of ours: without what could end that.
fn harmless(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).collect()
}

fn push_bounded<T>(stack: &mut Vec<T>, value: T) {
    if stack.len() == MAX_DEPTH {
        stack.remove(0);
    }
    stack.push(value);
}
