//! What one place of a screen shows, in 16 bytes, and what few cells have beside that.

use std::collections::HashMap;

use unicode_width::UnicodeWidthChar;

/// A colour as a program chose it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Colour(u32);

const NAMED: u32 = 1 << 24;
const INDEXED: u32 = 2 << 24;
const RGB: u32 = 3 << 24;

/// A colour to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shade {
    Default,
    /// One of the 16 that have names, as in `CSI 31 m`.
    Named(u8),
    /// One of 256, as in `CSI 38;5;1 m`.
    Indexed(u8),
    Rgb(u8, u8, u8),
}

impl Colour {
    pub(super) const DEFAULT: Self = Self(0);

    pub(super) const fn named(index: u8) -> Self {
        Self(NAMED | index as u32)
    }

    pub(super) const fn indexed(index: u8) -> Self {
        Self(INDEXED | index as u32)
    }

    pub(super) const fn rgb(red: u8, green: u8, blue: u8) -> Self {
        Self(RGB | (red as u32) << 16 | (green as u32) << 8 | blue as u32)
    }

    /// As a number that [`of_code`](Self::of_code) takes.
    pub(super) const fn code(self) -> u32 {
        self.0
    }

    pub(super) const fn of_code(code: u32) -> Self {
        Self(code)
    }

    pub(super) const fn shade(self) -> Shade {
        let [kind, red, green, blue] = self.0.to_be_bytes();
        match kind {
            0 => Shade::Default,
            1 => Shade::Named(blue),
            2 => Shade::Indexed(blue),
            _ => Shade::Rgb(red, green, blue),
        }
    }
}

/// Attributes of a cell, a bit each, and the style of its underline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Attributes(u16);

impl Attributes {
    pub(crate) const BOLD: Self = Self(1);
    pub(crate) const DIM: Self = Self(1 << 1);
    pub(crate) const ITALIC: Self = Self(1 << 2);
    pub(crate) const BLINK: Self = Self(1 << 3);
    pub(crate) const FAST_BLINK: Self = Self(1 << 4);
    pub(crate) const INVERSE: Self = Self(1 << 5);
    pub(crate) const HIDDEN: Self = Self(1 << 6);
    pub(crate) const STRUCK: Self = Self(1 << 7);
    pub(crate) const OVERLINE: Self = Self(1 << 8);
    /// Not erased by selective erases (DECSCA, SPA).
    pub(super) const PROTECTED: Self = Self(1 << 9);
    /// The first half of a character that takes two cells.
    pub(super) const WIDE: Self = Self(1 << 10);
    /// The second half.
    pub(super) const TAIL: Self = Self(1 << 11);
    const UNDERLINE_SHIFT: u32 = 12;
    const UNDERLINE: u16 = 7 << Self::UNDERLINE_SHIFT;
    const HALVES: u16 = Self::WIDE.0 | Self::TAIL.0;

    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) const fn with(self, other: Self, set: bool) -> Self {
        if set { Self(self.0 | other.0) } else { Self(self.0 & !other.0) }
    }

    /// The style of `CSI 4:style m`; 0 for none.
    pub(super) const fn underline(self) -> u16 {
        (self.0 & Self::UNDERLINE) >> Self::UNDERLINE_SHIFT
    }

    pub(super) const fn with_underline(self, style: u16) -> Self {
        Self(self.0 & !Self::UNDERLINE | (style << Self::UNDERLINE_SHIFT) & Self::UNDERLINE)
    }

    /// As a number that [`of_code`](Self::of_code) takes.
    pub(super) const fn code(self) -> u16 {
        self.0
    }

    pub(super) const fn of_code(code: u16) -> Self {
        Self(code)
    }

    /// Which half of a character it is, as a number from 1 to 3.
    pub(super) fn half(self) -> Option<u32> {
        let half = (self.0 & Self::HALVES) >> Self::HALVES.trailing_zeros();
        (half != 0).then(|| half.into())
    }

    /// The half of this number, if it is one.
    pub(super) fn with_half(self, half: u32) -> Option<Self> {
        let half = u16::try_from(half).ok().filter(|half| (1..=3).contains(half))?;
        Some(Self(self.0 | half << Self::HALVES.trailing_zeros()))
    }

    /// What people see of them: all but which half of a character it is.
    pub(super) const fn look(self) -> Self {
        Self(self.0 & !Self::HALVES)
    }
}

/// What a cell shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Glyph(u32);

/// Set with up to three bytes that are no UTF-8, the first one lowest.
const RAW: u32 = 1 << 31;

impl Glyph {
    pub(super) const BLANK: Self = Self(0);

    pub(super) const fn character(character: char) -> Self {
        Self(character as u32)
    }

    pub(super) fn raw(bytes: &[u8]) -> Self {
        Self(bytes.iter().take(3).rev().fold(0, |all, byte| all << 8 | u32::from(*byte)) | RAW)
    }

    /// As a number that [`of_code`](Self::of_code) takes: that of a character is its code.
    pub(super) const fn code(self) -> u32 {
        self.0
    }

    pub(super) const fn of_code(code: u32) -> Self {
        Self(code)
    }

    /// The character, unless nothing was ever written there, or bytes that are none.
    pub(super) const fn as_char(self) -> Option<char> {
        if self.0 == 0 { None } else { char::from_u32(self.0) }
    }

    pub(super) const fn is_raw(self) -> bool {
        self.0 & RAW != 0
    }

    /// The bytes to write for it.
    pub(super) fn push_to(self, out: &mut Vec<u8>) {
        if self.is_raw() {
            let bytes = (self.0 & !RAW).to_le_bytes();
            out.extend(bytes.iter().take_while(|byte| **byte != 0));
        } else {
            let mut buffer = [0; 4];
            out.extend(self.as_char().unwrap_or(' ').encode_utf8(&mut buffer).as_bytes());
        }
    }
}

/// One place of a screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) glyph: Glyph,
    pub(super) foreground: Colour,
    pub(super) background: Colour,
    pub(super) attributes: Attributes,
    /// Its number in [`Extras`]; 0 for nothing.
    pub(super) extra: u16,
}

impl Cell {
    /// Whether it looks as if nothing had ever been there.
    pub(super) fn is_blank(&self) -> bool {
        // In one comparison: lines are looked through for it as they scroll away.
        let rest = u32::from(self.attributes.0) | u32::from(self.extra);
        self.glyph.0 | self.foreground.0 | self.background.0 | rest == 0
    }

    /// 0 if all but the glyph is as in `other`, and this one's glyph is blank.
    pub(super) fn difference(&self, other: &Self) -> u32 {
        let attributes = u32::from(self.attributes.0 ^ other.attributes.0);
        let rest = attributes | u32::from(self.extra ^ other.extra);
        self.glyph.0 | self.foreground.0 ^ other.foreground.0 | self.background.0 ^ other.background.0 | rest
    }

    /// Whether the two look alike but for what is written in them.
    pub(super) fn has_look_of(&self, other: &Self) -> bool {
        self.foreground == other.foreground
            && self.background == other.background
            && self.attributes.look() == other.attributes.look()
    }
}

/// What few cells have: combining characters, a colour of the underline, a link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Extra {
    pub(super) marks: String,
    pub(super) underline: Colour,
    /// `parameters;address`, as in OSC 8; empty for none.
    pub(super) link: String,
}

impl Extra {
    fn bytes(&self) -> usize {
        self.marks.len() + self.link.len()
    }
}

/// How many different ones a screen may have, and the bytes of all. Once they are reached, those no longer shown go.
const MAX_EXTRAS: usize = 16 * 1024;
const MAX_EXTRA_BYTES: usize = 1024 * 1024;

/// The extras of one terminal, each kept once.
#[derive(Clone, Debug, Default)]
pub(super) struct Extras {
    all: Vec<Extra>,
    numbers: HashMap<Extra, u16, ahash::RandomState>,
    free: Vec<u16>,
    bytes: usize,
}

static NOTHING: Extra = Extra { marks: String::new(), underline: Colour::DEFAULT, link: String::new() };

impl Extras {
    pub(super) fn get(&self, number: u16) -> &Extra {
        self.all.get(usize::from(number)).unwrap_or(&NOTHING)
    }

    /// Whether another one may need room that only [`retain`](Self::retain) makes.
    pub(super) fn is_full(&self) -> bool {
        self.all.len() - self.free.len() >= MAX_EXTRAS || self.bytes >= MAX_EXTRA_BYTES
    }

    /// The number of an extra; 0, so that it is lost, where there is no room.
    pub(super) fn number(&mut self, extra: Extra) -> u16 {
        if extra == NOTHING {
            return 0;
        }
        if let Some(number) = self.numbers.get(&extra) {
            return *number;
        }
        if self.is_full() {
            return 0;
        }
        if self.all.is_empty() {
            self.all.push(Extra::default());
        }
        self.bytes += extra.bytes();
        let number = if let Some(number) = self.free.pop() {
            self.all[usize::from(number)] = extra.clone();
            number
        } else {
            let Ok(number) = u16::try_from(self.all.len()) else { return 0 };
            self.all.push(extra.clone());
            number
        };
        self.numbers.insert(extra, number);
        number
    }

    /// Forgets those that are not `used`.
    pub(super) fn retain(&mut self, used: &[bool]) {
        self.free.clear();
        for (number, extra) in self.all.iter_mut().enumerate().skip(1) {
            if used.get(number).copied().unwrap_or(false) {
                continue;
            }
            if *extra != NOTHING {
                self.bytes -= extra.bytes();
                self.numbers.remove(extra);
                *extra = Extra::default();
            }
            self.free.extend(u16::try_from(number));
        }
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }
}

/// Cells that a character takes: 0 for one that combines with the character before it.
pub(super) fn width(character: char) -> usize {
    match character {
        // A soft hyphen is shown where it stands, in terminals.
        ' '..='~' | '\u{ad}' => 1,
        _ => character.width().unwrap_or(0),
    }
}

/// Whether terminals differ in how many cells they give to it, so that what follows is to be placed.
pub(super) fn is_disputed(cell: &Cell, marks: &str) -> bool {
    let by_age = |character: char| {
        matches!(character, '\u{a9}' | '\u{ad}' | '\u{ae}' | '\u{2190}'..='\u{24ff}' | '\u{25a0}'..='\u{2bff}' | '\u{3030}' | '\u{303d}'
            | '\u{3297}' | '\u{3299}' | '\u{4dc0}'..='\u{4dff}' | '\u{e000}'..='\u{f8ff}' | '\u{1f000}'..)
    };
    !marks.is_empty() || cell.glyph.is_raw() || cell.glyph.as_char().is_some_and(by_age)
}
