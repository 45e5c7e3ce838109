//! Finds the queries in what a program prints.

use super::{
    BEL, CAN, ESC, MAX_KEPT, SUB,
    sequences::{self, Kind},
};

/// How many bytes of a control sequence are kept. No query is half as long.
const MAX_CONTROL: usize = 64;

/// The parse state of what a program prints.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    within: Within,
    /// What was seen of the sequence so far, without what introduced it; one byte more than is kept says that it is
    /// longer.
    kept: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Within {
    #[default]
    Text,
    Escape,
    Control,
    /// In a string, introduced by ESC and this.
    String(u8),
}

impl Scanner {
    /// Calls `note` for each query in `output`, in order.
    pub(super) fn scan(&mut self, output: &[u8], note: &mut impl FnMut(Kind)) {
        let mut rest = output;
        while !rest.is_empty() {
            match self.within {
                Within::Text => {
                    let Some(escape) = position(rest, |byte| byte == ESC) else { return };
                    rest = &rest[escape + 1..];
                    self.within = Within::Escape;
                }
                Within::String(introducer) => {
                    // Images and clipboards come as strings; they are skipped as fast as text.
                    let end = position(rest, |byte| byte < b' ');
                    let (body, after) = rest.split_at(end.unwrap_or(rest.len()));
                    self.keep(body, MAX_KEPT);
                    rest = after;
                    if let Some((control, after)) = after.split_first() {
                        rest = after;
                        self.control_in_string(*control, introducer, note);
                    }
                }
                Within::Escape => {
                    self.within = self.escape(rest[0], note);
                    rest = &rest[1..];
                }
                Within::Control => {
                    self.control(rest[0], note);
                    rest = &rest[1..];
                }
            }
        }
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn kept_len(&self) -> usize {
        self.kept.len()
    }

    fn escape(&mut self, byte: u8, note: &mut impl FnMut(Kind)) -> Within {
        self.kept.clear();
        match byte {
            b'[' => Within::Control,
            // The contents of the last two mean nothing to anyone, but what looks like a query in them is none.
            b']' | b'P' | b'_' | b'X' | b'^' => Within::String(byte),
            CAN | SUB => Within::Text,
            // A terminal acts on a control character and goes on.
            ..b' ' => Within::Escape,
            b'Z' => {
                // The oldest way to ask; the reply is today's.
                note(Kind::PrimaryAttributes);
                Within::Text
            }
            _ => Within::Text,
        }
    }

    fn control(&mut self, byte: u8, note: &mut impl FnMut(Kind)) {
        match byte {
            ESC => self.within = Within::Escape,
            CAN | SUB | 0x80.. => self.within = Within::Text,
            ..b' ' | 0x7f => {}
            _ => {
                self.keep(&[byte], MAX_CONTROL);
                if byte >= b'@' {
                    self.within = Within::Text;
                    if self.kept.len() <= MAX_CONTROL {
                        sequences::control_query(&self.kept).into_iter().for_each(note);
                    }
                }
            }
        }
    }

    fn control_in_string(&mut self, control: u8, introducer: u8, note: &mut impl FnMut(Kind)) {
        let ends = match control {
            // Some terminals take any ESC for the end, and all of them the one of ESC \. What is noted without being
            // answered does little harm.
            ESC => {
                self.within = Within::Escape;
                true
            }
            BEL if introducer == b']' => {
                self.within = Within::Text;
                true
            }
            CAN | SUB => {
                self.within = Within::Text;
                false
            }
            _ => false,
        };
        // The part of a graphics command that makes it a query stands at its beginning; other long strings set things.
        if ends && (self.kept.len() <= MAX_KEPT || introducer == b'_') {
            sequences::string_queries(introducer, &self.kept, note);
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
