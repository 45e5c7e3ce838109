//! Text as a terminal sends it when it is pasted.
//!
//! Line ends are carriage returns, as Enter is. A program that asked for brackets (mode 2004) gets the text in them;
//! then nothing in the text can end them early, and have what follows taken for keys.

use super::Typing;

const BEGIN: &[u8] = b"\x1b[200~";
const END: &[u8] = b"\x1b[201~";

/// The end as it is with a C1 control.
const END_C1: &[u8] = b"\xc2\x9b201~";

/// What a person would write for it, which takes the place of ESC in such an end. Leaving it out might make another
/// end of what is around it.
const SHOWN_ESC: &[u8] = b"^[";

#[derive(Debug)]
pub(super) struct Paste {
    is_bracketed: bool,
    has_begun: bool,
    /// A carriage return came last: a line feed belongs to it.
    returned: bool,
    /// What may be the beginning of an end.
    held: Vec<u8>,
}

impl Paste {
    pub(super) fn new(is_bracketed: bool) -> Self {
        Self { is_bracketed, has_begun: false, returned: false, held: Vec::new() }
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.has_begun, true) && self.is_bracketed {
            out.extend(BEGIN);
        }
    }

    fn put(&mut self, byte: u8, out: &mut Vec<u8>) {
        match byte {
            b'\n' if self.returned => {}
            b'\n' => out.push(b'\r'),
            byte => out.push(byte),
        }
        self.returned = byte == b'\r';
    }
}

impl Typing for Paste {
    const IS_GATHERED: bool = true;

    fn convert(&mut self, input: &[u8], out: &mut Vec<u8>) {
        self.begin(out);
        let mut text = std::mem::take(&mut self.held);
        text.extend(input);
        let mut at = 0;
        while let Some(byte) = text.get(at) {
            let rest = &text[at..];
            if self.is_bracketed && rest.starts_with(END) {
                out.extend(SHOWN_ESC);
                at += 1;
            } else if self.is_bracketed && rest.starts_with(END_C1) {
                out.extend(SHOWN_ESC);
                out.push(b'[');
                at += 2;
            } else if self.is_bracketed && (END.starts_with(rest) || END_C1.starts_with(rest)) {
                self.held = rest.to_vec();
                return;
            } else {
                self.put(*byte, out);
                at += 1;
            }
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.begin(out);
        out.append(&mut self.held);
        if self.is_bracketed {
            out.extend(END);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pasted(text: &[u8], is_bracketed: bool, size: usize) -> String {
        let (mut paste, mut out) = (Paste::new(is_bracketed), Vec::new());
        text.chunks(size).for_each(|piece| paste.convert(piece, &mut out));
        paste.end(&mut out);
        String::from_utf8(out).unwrap().replace('\x1b', "ESC")
    }

    #[test]
    fn a_paste_has_brackets_and_no_end_within_however_it_comes() {
        for (text, expected) in [
            (&b"a\nb\r\nc\r"[..], "a\rb\rc\r"),
            (b"", ""),
            (b"x\x1b[201~rm -rf\n", "x^[[201~rm -rf\r"),
            (b"\x1b\x1b[201~[201~", "ESC^[[201~[201~"),
            (b"\x1b[20\x1b[201~1~", "ESC[20^[[201~1~"),
            ("\u{9b}201~ \u{9b}1m".as_bytes(), "^[[201~ \u{9b}1m"),
            (b"\x1b[1mbold\x1b[m \x1b[20", "ESC[1mboldESC[m ESC[20"),
        ] {
            for size in 1..=text.len().max(1) {
                assert_eq!(pasted(text, true, size), format!("ESC[200~{expected}ESC[201~"), "by {size}");
            }
        }
    }

    #[test]
    fn a_paste_without_brackets_is_the_text_with_carriage_returns() {
        assert_eq!(pasted(b"a\n\x1b[201~\r\nb", false, 3), "a\rESC[201~\rb");
        assert_eq!(pasted(b"", false, 1), "");
    }
}
