//! The state machine that takes a terminal's output apart, after Paul Williams' diagram of DEC's parsers
//! (<https://vt100.net/emu/dec_ansi_parser>), with what came since: UTF-8, C1 controls as UTF-8, subparameters.
//!
//! A library does the same, but does not say what it is in the middle of. A redraw has to: the output that follows it
//! may begin inside a sequence or a character, and is understood only after the beginning of that. Bytes that are not
//! UTF-8 are also told as they are, so that they can be shown to others as they were to those who were there.

use super::control::{BEL, CAN, DEL, ESC, SUB};

/// Parameters of a control sequence that are kept, subparameters included; those beyond are ignored, as by most
/// terminals.
const MAX_PARAMETERS: usize = 32;

/// Bytes of a control sequence that are kept to be repeated.
const MAX_SEQUENCE: usize = 256;

/// Bytes of a string that are kept: more than any title, link or colour. The rest is dropped.
pub(super) const MAX_STRING: usize = 8 * 1024;

/// What a parser finds, in order.
pub(super) trait Perform {
    /// Printable text, which is whole characters; C1 controls and DEL are not in it.
    fn print(&mut self, text: &str);
    /// Bytes that are no UTF-8: the beginning of a character that does not go on, or a byte that can't begin one.
    fn print_invalid(&mut self, bytes: &[u8]);
    /// A C0 control character that is none of the parser's own.
    fn control(&mut self, byte: u8);
    /// An escape sequence: its intermediate bytes and its last.
    fn escape(&mut self, intermediates: &[u8], last: u8);
    fn control_sequence(&mut self, sequence: &ControlSequence);
    /// A string, up to its terminator: what introduced it as in `ESC ]`, and what is kept of it.
    fn string(&mut self, introducer: u8, contents: &[u8]);
}

/// `CSI private parameters intermediates last`.
#[derive(Clone, Debug, Default)]
pub(super) struct ControlSequence {
    /// `<`, `=`, `>` or `?`; else 0.
    pub(super) private: u8,
    /// At most two.
    intermediates: [u8; 2],
    intermediate_count: usize,
    pub(super) last: u8,
    values: [u16; MAX_PARAMETERS],
    /// A bit for each value that goes on the parameter before it, after a colon.
    subparameters: u32,
    count: usize,
    /// A part was out of its place, or there were too many intermediates: the sequence means nothing.
    malformed: bool,
}

impl ControlSequence {
    pub(super) fn intermediates(&self) -> &[u8] {
        &self.intermediates[..self.intermediate_count]
    }

    /// The parameter at `index`, or `default` where it is missing or 0.
    pub(super) fn parameter(&self, index: usize, default: u16) -> u16 {
        match self.parameters().nth(index) {
            None | Some([] | [0, ..]) => default,
            Some([value, ..]) => *value,
        }
    }

    /// Each parameter with its subparameters. There is one at least.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &[u16]> {
        let count = self.count.max(1);
        let mut at = 0;
        std::iter::from_fn(move || {
            if at == count {
                return None;
            }
            let from = at;
            at += 1;
            while at < count && self.subparameters & (1 << at) != 0 {
                at += 1;
            }
            Some(&self.values[from..at])
        })
    }

    /// The first value of each parameter.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u16> {
        self.parameters().map(|values| values[0])
    }

    /// Begins another in its place.
    fn clear(&mut self) {
        (self.private, self.intermediate_count, self.count) = (0, 0, 0);
        (self.subparameters, self.malformed) = (0, false);
        // Those after it are cleared as they are counted.
        self.values[0] = 0;
    }

    fn take(&mut self, byte: u8) {
        match byte {
            b'0'..=b'9' if self.intermediate_count == 0 => {
                self.count = self.count.max(1);
                if let Some(value) = self.values.get_mut(self.count - 1) {
                    *value = value.saturating_mul(10).saturating_add(u16::from(byte - b'0'));
                }
            }
            b';' | b':' if self.intermediate_count == 0 => {
                self.count = (self.count.max(1) + 1).min(MAX_PARAMETERS + 1);
                if let Some(value) = self.values.get_mut(self.count - 1) {
                    *value = 0;
                }
                if byte == b':' && self.count <= MAX_PARAMETERS {
                    self.subparameters |= 1 << (self.count - 1);
                }
            }
            b'<'..=b'?' if self.count == 0 && self.private == 0 && self.intermediate_count == 0 => {
                self.private = byte;
            }
            b' '..=b'/' if self.intermediate_count < 2 => {
                self.intermediates[self.intermediate_count] = byte;
                self.intermediate_count += 1;
            }
            _ => self.malformed = true,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ParserState {
    #[default]
    Ground,
    Escape,
    ControlSequence,
    /// Of this introducer.
    String(u8),
}

/// Where the output stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Parser {
    state: ParserState,
    /// The bytes of what is not complete, from its ESC or the first byte of a character on; of a string, those that
    /// introduce it.
    pending: Vec<u8>,
    sequence: ControlSequence,
    contents: Vec<u8>,
    /// More of the string came than is kept.
    is_cut: bool,
}

impl Parser {
    /// Takes output apart, which may be cut anywhere.
    pub(super) fn advance(&mut self, output: &[u8], to: &mut impl Perform) {
        let mut rest = output;
        while !rest.is_empty() {
            let taken = match self.state {
                ParserState::Ground => self.ground(rest, to),
                ParserState::String(introducer) => self.string(rest, introducer, to),
                ParserState::Escape => self.escape(rest[0], to),
                ParserState::ControlSequence => self.control_sequence(rest[0], to),
            };
            rest = &rest[taken..];
        }
    }

    /// Whether a sequence, a string or a character has begun and not ended.
    #[cfg(feature = "cli")]
    pub(super) fn is_amid(&self) -> bool {
        self.state != ParserState::Ground || !self.pending.is_empty()
    }

    /// What a terminal has to be sent so that it understands what comes next. Of a string that is too long to be kept
    /// whole, or that is a picture or the like, the beginning of another that no terminal knows: its end is not to be
    /// shown as text.
    pub(super) fn pending(&self) -> Vec<u8> {
        let mut pending = self.pending.clone();
        match self.state {
            ParserState::String(b']') if !self.is_cut => pending.extend(&self.contents),
            ParserState::String(introducer) => pending.extend(match introducer {
                b']' => &b"8888;"[..],
                b'P' => b"8888~",
                _ => b"-",
            }),
            _ => {}
        }
        pending
    }

    fn ground(&mut self, output: &[u8], to: &mut impl Perform) -> usize {
        if !self.pending.is_empty() {
            return self.rest_of_character(output, to);
        }
        let text = memchr_control(output);
        if text == 0 {
            match output[0] {
                ESC => return self.whole_sequence(output, to),
                CAN | SUB | DEL => {}
                byte => to.control(byte),
            }
            return 1;
        }
        self.text(&output[..text], text == output.len(), to);
        text
    }

    /// What begins with ESC. The most frequent, a control sequence that is whole and has nothing strange in it, is
    /// taken in one go; of others, the ESC.
    fn whole_sequence(&mut self, output: &[u8], to: &mut impl Perform) -> usize {
        let end = |bytes: &[u8]| bytes.iter().position(|byte| !matches!(byte, b' '..=b'?'));
        if let Some(sequence) = output.strip_prefix(b"\x1b[")
            && let Some(length) = end(&sequence[..sequence.len().min(MAX_SEQUENCE)])
            && let last @ b'@'..=b'~' = sequence[length]
        {
            self.sequence.clear();
            sequence[..length].iter().for_each(|byte| self.sequence.take(*byte));
            self.end_sequence(last, to);
            return length + 3;
        }
        self.begin();
        1
    }

    /// Text without C0 controls; `is_last` where more of its last character may come.
    fn text(&mut self, text: &[u8], is_last: bool, to: &mut impl Perform) {
        let mut at = 0;
        for chunk in text.utf8_chunks() {
            self.characters(chunk.valid(), to);
            at += chunk.valid().len() + chunk.invalid().len();
            if chunk.invalid().is_empty() {
                continue;
            }
            if is_last && at == text.len() && may_go_on(chunk.invalid()) {
                self.pending.extend(chunk.invalid());
            } else {
                to.print_invalid(chunk.invalid());
            }
        }
    }

    /// Whole characters, C1 controls among them.
    fn characters(&mut self, mut text: &str, to: &mut impl Perform) {
        // What the C1 controls begin with in UTF-8 begins few other characters.
        while let Some(at) = find_c1(text) {
            if at > 0 {
                to.print(&text[..at]);
            }
            // Each is an escape sequence in one character: ESC and a byte 0x40 less.
            let last = text.as_bytes()[at + 1] - 0x40;
            text = &text[at + 2..];
            self.begin();
            self.escape(last, to);
            if self.state != ParserState::Ground {
                // What follows belongs to what was begun.
                self.advance(text.as_bytes(), to);
                return;
            }
        }
        if !text.is_empty() {
            to.print(text);
        }
    }

    fn rest_of_character(&mut self, output: &[u8], to: &mut impl Perform) -> usize {
        let mut taken = 0;
        while let Some(byte @ 0x80..0xc0) = output.get(taken).copied()
            && may_go_on(&self.pending)
        {
            self.pending.push(byte);
            taken += 1;
            if let Ok(character) = std::str::from_utf8(&self.pending) {
                let mut copy = [0; 4];
                let length = character.len().min(4);
                copy[..length].copy_from_slice(character.as_bytes());
                self.pending.clear();
                self.characters(std::str::from_utf8(&copy[..length]).unwrap_or_default(), to);
                return taken;
            }
            if !may_go_on(&self.pending) {
                // This byte does not go on with it after all, and stands for itself.
                self.pending.pop();
                taken -= 1;
                break;
            }
        }
        if taken < output.len() {
            let pending = std::mem::take(&mut self.pending);
            to.print_invalid(&pending);
        }
        taken
    }

    fn begin(&mut self) {
        self.state = ParserState::Escape;
        self.pending.clear();
        self.pending.push(ESC);
    }

    fn end(&mut self) {
        self.state = ParserState::Ground;
        self.pending.clear();
    }

    fn remember(&mut self, byte: u8) {
        if self.pending.len() < MAX_SEQUENCE {
            self.pending.push(byte);
        }
    }

    fn escape(&mut self, byte: u8, to: &mut impl Perform) -> usize {
        match byte {
            ESC => self.begin(),
            CAN | SUB => self.end(),
            ..b' ' => to.control(byte),
            b' '..=b'/' => self.remember(byte),
            b'[' if self.pending.len() == 1 => {
                self.remember(byte);
                self.state = ParserState::ControlSequence;
                self.sequence.clear();
            }
            b']' | b'P' | b'_' | b'^' | b'X' if self.pending.len() == 1 => {
                self.remember(byte);
                self.state = ParserState::String(byte);
                self.contents.clear();
                self.is_cut = false;
            }
            b'0'..=b'~' => {
                let pending = std::mem::take(&mut self.pending);
                self.end();
                // Longer than any that means something.
                if pending.len() <= 3 {
                    to.escape(&pending[1..], byte);
                }
                // Its room is used again.
                self.pending = pending;
                self.pending.clear();
            }
            DEL => {}
            0x80.. => {
                self.end();
                return 0;
            }
        }
        1
    }

    fn control_sequence(&mut self, byte: u8, to: &mut impl Perform) -> usize {
        match byte {
            ESC => self.begin(),
            CAN | SUB => self.end(),
            ..b' ' => to.control(byte),
            b' '..=b'?' => {
                self.remember(byte);
                self.sequence.take(byte);
            }
            b'@'..=b'~' => {
                self.end();
                self.end_sequence(byte, to);
            }
            DEL => {}
            0x80.. => {
                self.end();
                return 0;
            }
        }
        1
    }

    fn end_sequence(&mut self, last: u8, to: &mut impl Perform) {
        self.sequence.last = last;
        self.sequence.count = self.sequence.count.min(MAX_PARAMETERS);
        if !self.sequence.malformed {
            to.control_sequence(&self.sequence);
        }
    }

    fn string(&mut self, output: &[u8], introducer: u8, to: &mut impl Perform) -> usize {
        let end =
            output.iter().position(|byte| matches!(*byte, BEL | CAN | SUB | ESC)).unwrap_or(output.len());
        let room = MAX_STRING - self.contents.len();
        self.contents.extend(&output[..end.min(room)]);
        self.is_cut |= end > room;
        let Some(byte) = output.get(end) else { return end };
        match *byte {
            // Of other strings it is a part, which nobody reads.
            BEL if introducer != b']' => {}
            BEL => self.end_string(introducer, to),
            ESC => {
                // The whole terminator is ESC \, of which the rest means nothing by itself. Any ESC ends the string.
                self.end_string(introducer, to);
                self.begin();
            }
            _ => self.end(),
        }
        end + 1
    }

    fn end_string(&mut self, introducer: u8, to: &mut impl Perform) {
        self.end();
        if !self.is_cut {
            to.string(introducer, &self.contents);
        }
        // An idle session is not to keep the room of its longest string.
        self.contents.shrink_to(64);
    }
}

/// The length of what `output` begins with before its first C0 control or DEL.
fn memchr_control(output: &[u8]) -> usize {
    let (blocks, _) = output.as_chunks::<32>();
    // Without branches, so that the compiler turns a block into a few vector instructions.
    let is_control = |byte: u8| byte < b' ' || byte == DEL;
    let has_none =
        |block: &&[u8; 32]| block.iter().fold(0, |any, byte| any | u8::from(is_control(*byte))) == 0;
    let clean = blocks.iter().take_while(has_none).count() * 32;
    clean + output[clean..].iter().position(|byte| is_control(*byte)).unwrap_or(output.len() - clean)
}

/// Where the first C1 control is.
fn find_c1(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    memchr::memchr_iter(0xc2, bytes).find(|at| bytes[at + 1] < 0xa0)
}

/// Whether these bytes begin a character that lacks its rest.
fn may_go_on(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
}
