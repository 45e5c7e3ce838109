//! Output as text: what a person would read in it, line by line.
//!
//! Colours, modes, titles and the like are left out. A line feed ends a line; so does whatever else moves the cursor to
//! another place, because what is printed there does not go on with what was printed before. A backspace takes a
//! character back, as a shell's line editing means it. The text is that of the stream: what it makes of a screen, a
//! [`ShownScreen`](super::ShownScreen) says.

use super::{
    control::{BS, CR, FF, HT, LF, VT},
    parser::{ControlSequence, Parser, Perform},
};

/// The most characters that one sequence stands for: a wide screen's.
const MAX_REPEATED: usize = 256;

/// Makes text of output, which may be cut anywhere.
#[derive(Debug, Default)]
pub(crate) struct OutputText {
    parser: Parser,
    sink: TextSink,
}

#[derive(Debug, Default)]
struct TextSink {
    text: String,
    /// A carriage return came, and nothing after it.
    returned: bool,
}

impl OutputText {
    /// Appends the text of `output` to `text`. A character of output may take characters at its end back.
    pub(crate) fn append(&mut self, output: &[u8], text: &mut String) {
        std::mem::swap(&mut self.sink.text, text);
        self.parser.advance(output, &mut self.sink);
        std::mem::swap(&mut self.sink.text, text);
    }
}

impl TextSink {
    /// What follows is elsewhere.
    fn elsewhere(&mut self) {
        self.returned = false;
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
    }

    fn settle(&mut self) {
        if self.returned {
            self.elsewhere();
        }
    }

    fn take_back(&mut self, count: usize) {
        self.settle();
        for _ in 0..count {
            if self.text.ends_with('\n') || self.text.pop().is_none() {
                return;
            }
        }
    }

    fn repeat(&mut self, character: char, count: u16) {
        self.settle();
        self.text.extend(std::iter::repeat_n(character, usize::from(count).min(MAX_REPEATED)));
    }
}

impl Perform for TextSink {
    fn print(&mut self, text: &str) {
        self.settle();
        self.text.push_str(text);
    }

    fn print_invalid(&mut self, _: &[u8]) {
        self.settle();
        self.text.push(char::REPLACEMENT_CHARACTER);
    }

    fn control(&mut self, byte: u8) {
        match byte {
            LF | VT | FF => {
                self.returned = false;
                self.text.push('\n');
            }
            CR => self.returned = true,
            BS => self.take_back(1),
            HT => self.repeat('\t', 1),
            _ => {}
        }
    }

    fn escape(&mut self, intermediates: &[u8], last: u8) {
        if let ([], b'8' | b'D' | b'E' | b'M' | b'c') = (intermediates, last) {
            self.elsewhere();
        }
    }

    fn control_sequence(&mut self, sequence: &ControlSequence) {
        let count = sequence.parameter(0, 1);
        match (sequence.private, sequence.intermediates(), sequence.last) {
            (0, [], b'C' | b'a') => self.repeat(' ', count),
            (0, [], b'I') => self.repeat('\t', count),
            (0, [], b'D') => self.take_back(usize::from(count)),
            (0, [], b'b') => {
                if let Some(last) = self.text.chars().next_back() {
                    self.repeat(last, count);
                }
            }
            (
                0,
                [],
                b'A'
                | b'B'
                | b'E'..=b'H'
                | b'L'
                | b'M'
                | b'S'
                | b'T'
                | b'Z'
                | b'`'
                | b'd'..=b'f'
                | b'r'
                | b'u',
            ) => {
                self.elsewhere();
            }
            _ => {}
        }
    }

    fn string(&mut self, _: u8, _: &[u8]) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_in_output_is_its_text_however_it_is_cut() {
        for (output, expected) in [
            (&b"plain\r\nnext\n"[..], "plain\nnext\n"),
            (b"\x1b[1;31mred\x1b[m \x1b]0;title\x07after\x1bPq#0\x1b\\end", "red afterend"),
            (b"10%\r20%\r\n", "10%\n20%\n"),
            (b"ab\x08 \x08c\r\n\x08x", "ac\nx"),
            (b"one\x1b[5;1Htwo\x1b[Kthree\x1b[2J\x1b[H", "one\ntwothree\n"),
            (b"a\x1b[3Cb\x1b[2Dc-\x1b[3b", "a  c----"),
            ("ü漢\u{9b}1mx".as_bytes(), "ü漢x"),
            (b"\xff\xc3", "\u{fffd}"),
            (b"\x1b[?2004h$ ", "$ "),
        ] {
            for size in 1..=output.len() {
                let (mut text, mut reader) = (String::new(), OutputText::default());
                output.chunks(size).for_each(|piece| reader.append(piece, &mut text));
                assert_eq!(text, expected, "{:?} by {size}", String::from_utf8_lossy(output));
            }
        }
    }

    #[test]
    fn a_short_sequence_never_stands_for_much_text() {
        let mut text = String::new();
        OutputText::default().append(b"x\x1b[65535b\x1b[65535C", &mut text);
        assert_eq!(text.len(), 1 + 2 * MAX_REPEATED);
    }
}
