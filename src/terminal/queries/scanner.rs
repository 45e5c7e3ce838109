//! Finds in what a program prints its questions, and what stands for itself.

use smallvec::SmallVec;

use super::{
    BEL, CAN, ESC, MAX_KEPT, SUB,
    asides::{self, MAX_ASIDE},
    kinds::{self, QuestionKind},
};

/// How many bytes of a control sequence are kept. No question is half as long.
const MAX_CONTROL: usize = 64;

/// How many things one string may ask for.
const MAX_ASKED: usize = 64;

/// How much of a string says whether more of it is kept than of others.
const BEGINNING: usize = 16;

/// The parse state of what a program prints.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    within: ScanState,
    /// What was seen of the sequence so far, without what introduced it; one byte more than is kept says that it is
    /// longer.
    kept: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
enum ScanState {
    #[default]
    Text,
    Escape,
    Control,
    /// In a string, introduced by ESC and this.
    String(u8),
    /// After the ESC that ends a string, introduced by this.
    StringEnd(u8),
}

/// What was found, whole.
#[derive(Debug)]
pub(super) enum Scanned<'a> {
    /// What it asks for, one reply each, and its bytes; none of those where it was too long to keep.
    Question {
        kinds: &'a [QuestionKind],
        bytes: Vec<u8>,
    },
    Bell,
    /// A clipboard write or a notification.
    Aside(Vec<u8>),
}

impl Scanner {
    /// Calls `note` for each thing in `output` that is looked for, in order, with how much of `output` lies before its
    /// end.
    pub(super) fn scan(&mut self, output: &[u8], note: &mut impl FnMut(Scanned<'_>, usize)) {
        let mut rest = output;
        while !rest.is_empty() {
            let end = |rest: &[u8]| output.len() - rest.len();
            match self.within {
                ScanState::Text => {
                    let Some(found) = position(rest, |byte| byte == ESC || byte == BEL) else { return };
                    let is_bell = rest[found] == BEL;
                    rest = &rest[found + 1..];
                    if is_bell {
                        note(Scanned::Bell, end(rest));
                    } else {
                        self.within = ScanState::Escape;
                    }
                }
                ScanState::String(introducer) => {
                    // Images and clipboards come as strings; they are skipped as fast as text.
                    let found = position(rest, |byte| byte < b' ');
                    let (body, after) = rest.split_at(found.unwrap_or(rest.len()));
                    let (beginning, body) = body.split_at(body.len().min(BEGINNING));
                    self.keep(beginning, MAX_KEPT);
                    self.keep(
                        body,
                        if asides::may_be_one(introducer, &self.kept) { MAX_ASIDE } else { MAX_KEPT },
                    );
                    rest = after;
                    if let Some((control, after)) = after.split_first() {
                        rest = after;
                        self.within = match *control {
                            ESC => ScanState::StringEnd(introducer),
                            BEL if introducer == b']' => {
                                self.string(introducer, b"\x07", &mut |found| note(found, end(rest)));
                                ScanState::Text
                            }
                            CAN | SUB => ScanState::Text,
                            _ => ScanState::String(introducer),
                        };
                    }
                }
                ScanState::StringEnd(introducer) => {
                    let is_end = rest[0] == b'\\';
                    rest = if is_end { &rest[1..] } else { rest };
                    // Some terminals take any ESC for the end.
                    self.string(introducer, b"\x1b\\", &mut |found| note(found, end(rest)));
                    self.within = if is_end { ScanState::Text } else { ScanState::Escape };
                }
                ScanState::Escape => {
                    let byte = rest[0];
                    rest = &rest[1..];
                    self.within = self.escape(byte, &mut |found| note(found, end(rest)));
                }
                ScanState::Control => {
                    let byte = rest[0];
                    rest = &rest[1..];
                    self.control(byte, &mut |found| note(found, end(rest)));
                }
            }
        }
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn kept_len(&self) -> usize {
        self.kept.len()
    }

    fn escape(&mut self, byte: u8, note: &mut impl FnMut(Scanned<'_>)) -> ScanState {
        self.kept.clear();
        self.kept.shrink_to(MAX_KEPT);
        match byte {
            b'[' => ScanState::Control,
            // The contents of the last two mean nothing to anyone, but what looks like a question in them is none.
            b']' | b'P' | b'_' | b'X' | b'^' => ScanState::String(byte),
            CAN | SUB => ScanState::Text,
            // A terminal acts on a control character and goes on.
            ..b' ' => {
                if byte == BEL {
                    note(Scanned::Bell);
                }
                ScanState::Escape
            }
            byte => {
                if let Some(kind) = kinds::asked_by_escape(byte) {
                    note(Scanned::Question { kinds: &[kind], bytes: vec![ESC, byte] });
                }
                ScanState::Text
            }
        }
    }

    fn control(&mut self, byte: u8, note: &mut impl FnMut(Scanned<'_>)) {
        match byte {
            ESC => self.within = ScanState::Escape,
            CAN | SUB | 0x80.. => self.within = ScanState::Text,
            BEL => note(Scanned::Bell),
            ..b' ' | 0x7f => {}
            _ => {
                self.keep(&[byte], MAX_CONTROL);
                if byte >= b'@' {
                    self.within = ScanState::Text;
                    if self.kept.len() <= MAX_CONTROL
                        && let Some(kind) = kinds::asked_by_control(&self.kept)
                    {
                        note(Scanned::Question {
                            kinds: &[kind],
                            bytes: [b"\x1b[", &self.kept[..]].concat(),
                        });
                    }
                }
            }
        }
    }

    /// A string has ended.
    fn string(&mut self, introducer: u8, end: &[u8], note: &mut impl FnMut(Scanned<'_>)) {
        let whole = |body: &[u8]| [&[ESC, introducer], body, end].concat();
        if asides::is_one(introducer, &self.kept) {
            if self.kept.len() <= MAX_ASIDE {
                note(Scanned::Aside(whole(&self.kept)));
            }
            return;
        }
        // The part of a graphics command that makes it a question stands at its beginning; other long strings set
        // things.
        let is_whole = self.kept.len() <= MAX_KEPT;
        if !is_whole && introducer != b'_' {
            return;
        }
        let mut kinds = SmallVec::<[QuestionKind; 1]>::new();
        kinds::asked_by_string(introducer, &self.kept, |kind| {
            if kinds.len() < MAX_ASKED {
                kinds.push(kind);
            }
        });
        if !kinds.is_empty() {
            let bytes = if is_whole { whole(&self.kept) } else { Vec::new() };
            note(Scanned::Question { kinds: &kinds, bytes });
        }
    }

    fn keep(&mut self, bytes: &[u8], max: usize) {
        let room = (max + 1).saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// Where the first `wanted` byte is. Looks at blocks that the compiler turns into a few vector instructions each,
/// because all output comes through here.
fn position(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let (blocks, _) = bytes.as_chunks::<64>();
    let has_none = |block: &&[u8; 64]| block.iter().fold(0, |any, byte| any | u8::from(wanted(*byte))) == 0;
    let clean = blocks.iter().take_while(has_none).count() * 64;
    let found = bytes[clean..].iter().position(|byte| wanted(*byte))?;
    Some(clean + found)
}
