//! The person's terminal: its size, and its raw mode, after which it is as it was.

use std::io::{self, IsTerminal};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::terminal::TerminalSize;

/// Whether a person sits at both ends: standard input and output are terminals.
pub(super) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// The size of the terminal that standard output is, unless it is none or does not know.
pub(super) fn size() -> Option<TerminalSize> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    TerminalSize::new(size.ws_col, size.ws_row)
}

/// Raw mode: every key goes to the session, for as long as this lives.
///
/// Dropping it puts the terminal back, also when a panic unwinds.
#[derive(Debug)]
pub(super) struct RawMode {
    before: Termios,
}

impl RawMode {
    pub(super) fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let raw_mode = Self { before };
        raw_mode.apply()?;
        Ok(raw_mode)
    }

    /// Sets raw mode, again after a stop: a shell puts its own modes back meanwhile.
    pub(super) fn apply(&self) -> io::Result<()> {
        let mut raw = self.before.clone();
        raw.make_raw();
        // At once, without waiting for output to drain: it may be stopped.
        Ok(tcsetattr(io::stdin(), OptionalActions::Now, &raw)?)
    }

    /// Puts the terminal back, until raw mode is [applied](Self::apply) again.
    pub(super) fn suspend(&self) -> io::Result<()> {
        Ok(tcsetattr(io::stdin(), OptionalActions::Now, &self.before)?)
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // Nothing can be done if the terminal is gone.
        let _ = self.suspend();
    }
}

/// A key that detaches: a control character, written `ctrl-\` or `^\`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DetachKey(pub(super) u8);

impl std::str::FromStr for DetachKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let key = text.strip_prefix("ctrl-").or_else(|| text.strip_prefix('^')).map(str::as_bytes);
        match key {
            Some([key @ (b'@'..=b'_' | b'a'..=b'z')]) => Ok(Self(key.to_ascii_uppercase() - b'@')),
            _ => {
                Err(r"write it as ctrl- and a letter or one of @ [ \ ] ^ _, such as ctrl-\ or ctrl-a"
                    .to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detach_keys_are_control_characters() {
        assert_eq!(r"ctrl-\".parse(), Ok(DetachKey(0x1c)));
        assert_eq!("^]".parse(), Ok(DetachKey(0x1d)));
        assert_eq!("ctrl-a".parse(), "^A".parse::<DetachKey>());
        for wrong in ["", "a", "ctrl-", "ctrl-1", "ctrl-aa", "alt-a", "^ä"] {
            assert!(wrong.parse::<DetachKey>().is_err(), "{wrong:?}");
        }
    }
}
