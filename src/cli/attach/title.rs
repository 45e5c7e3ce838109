//! The session's name in the terminal's title, before whatever title its program sets.

const ESC: u8 = 0x1b;

/// What may be open when the name is put into the output is ended first. Nothing open, it does nothing.
const END_OF_STRING: &[u8] = b"\x1b\\";

/// Puts a session's name before the titles in its output.
#[derive(Debug, Default)]
pub(super) struct TitleNames {
    name: String,
    /// The terminal does not show the name yet.
    is_due: bool,
    within: WithinOutput,
}

/// Where the output is, as far as a title may begin there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum WithinOutput {
    #[default]
    Elsewhere,
    Escape,
    /// At the number of an operating system command (OSC).
    Command,
    /// After the number of one that sets the title.
    Title,
}

impl TitleNames {
    /// Another session is shown from now on.
    pub(super) fn set(&mut self, name: &str) {
        name.clone_into(&mut self.name);
        self.again();
    }

    /// The terminal was left, and no longer shows the name.
    pub(super) fn again(&mut self) {
        self.is_due = true;
        self.within = WithinOutput::Elsewhere;
    }

    /// The output with the name in it. `None` if it stays as it is.
    pub(super) fn named(&mut self, output: &[u8]) -> Option<Vec<u8>> {
        let is_due = std::mem::take(&mut self.is_due);
        if !is_due && self.within == WithinOutput::Elsewhere && !output.contains(&ESC) {
            return None;
        }
        let mut named = Vec::with_capacity(output.len() + 100);
        if is_due {
            named.extend_from_slice(END_OF_STRING);
            named.extend_from_slice(format!("\x1b]2;{}\x07", self.name).as_bytes());
        }
        for byte in output {
            named.push(*byte);
            self.within = match (self.within, byte) {
                (_, &ESC) => WithinOutput::Escape,
                (WithinOutput::Escape, b']') => WithinOutput::Command,
                // 0 sets the icon's name as well.
                (WithinOutput::Command, b'0' | b'2') => WithinOutput::Title,
                (WithinOutput::Title, b';') => {
                    named.extend_from_slice(format!("{}: ", self.name).as_bytes());
                    WithinOutput::Elsewhere
                }
                _ => WithinOutput::Elsewhere,
            };
        }
        Some(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_before_each_title_however_the_output_is_cut() {
        let output = b"a\x1b]2;one\x07b\x1b]0;two\x1b\\\x1b]1;icon\x07\x1b]22;x\x07\x1b[2;1H\x1b\x1b]2;\x07";
        let expected = "\x1b\\\x1b]2;work\x07a\x1b]2;work: one\x07b\x1b]0;work: two\x1b\\\x1b]1;icon\x07\x1b]22;x\x07\
                        \x1b[2;1H\x1b\x1b]2;work: \x07";
        for cut in 0..output.len() {
            let mut names = TitleNames::default();
            names.set("work");
            let (before, after) = output.split_at(cut);
            let all: Vec<_> =
                [before, after].map(|part| names.named(part).unwrap_or_else(|| part.to_vec())).concat();
            assert_eq!(String::from_utf8_lossy(&all), expected, "cut at {cut}");
        }
        let mut names = TitleNames::default();
        assert_eq!(names.named(b"text"), None);
    }
}
