//! The person's terminal: its size, and its raw mode, after which it is as it was.

use std::{
    fs::File,
    io::{self, IsTerminal},
    os::fd::OwnedFd,
};

use rustix::{
    io::fcntl_dupfd_cloexec,
    stdio,
    termios::{LocalModes, OptionalActions, Termios, Winsize, tcgetattr, tcgetwinsize, tcsetattr},
};

use crate::{
    message::{PixelSize, TerminalSettings},
    terminal::TerminalSize,
};

/// Whether a person sits at both ends: standard input and output are terminals.
pub(super) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// The size of the terminal that standard output is, unless it is none or does not know. One that is too large for a
/// session has the largest size that there is.
pub(super) fn size() -> Option<TerminalSize> {
    window().map(|(size, _)| size)
}

/// The same, and how many pixels that many cells have, where the terminal knows that.
pub(super) fn window() -> Option<(TerminalSize, Option<PixelSize>)> {
    let Winsize { ws_col, ws_row, ws_xpixel, ws_ypixel } = tcgetwinsize(io::stdout()).ok()?;
    let size = TerminalSize::clamped(ws_col, ws_row)?;
    // Of a terminal that is too large, those of the cells that count.
    let part = |pixels: u16, all: u16, some: u16| if all == some { pixels } else { pixels / all * some };
    let pixels = PixelSize::new(part(ws_xpixel, ws_col, size.cols()), part(ws_ypixel, ws_row, size.rows()));
    Some((size, pixels))
}

/// The settings of the terminal that this runs in, as its person has set them; none are known where there is none.
pub(super) fn settings() -> TerminalSettings {
    let standard = [tcgetattr(io::stdin()), tcgetattr(io::stdout()), tcgetattr(io::stderr())];
    let terminal = standard.into_iter().find_map(Result::ok);
    terminal.map_or(TerminalSettings::UNKNOWN, |terminal| TerminalSettings::of(&terminal))
}

/// Puts standard output aside, and nothing in its place. A server refuses a client that would print a session into that
/// session's own terminal, and can't know that this one prints none of what it reads.
pub(super) fn hide_stdout() -> io::Result<Option<File>> {
    // Where it is closed there is nothing to hide.
    let Ok(stdout) = fcntl_dupfd_cloexec(io::stdout(), 3) else { return Ok(None) };
    let nothing: OwnedFd = File::options().write(true).open("/dev/null")?.into();
    stdio::dup2_stdout(nothing)?;
    Ok(Some(stdout.into()))
}

/// Raw mode: every key goes to the session, for as long as this lives.
///
/// Dropping it puts the terminal back, also when a panic unwinds.
#[derive(Debug)]
pub(super) struct RawMode {
    before: Termios,
    keeps_signals: bool,
}

impl RawMode {
    pub(super) fn enter() -> io::Result<Self> {
        Self::enter_as(false)
    }

    /// Raw mode in which ctrl-C, ctrl-Z and the like still send their signals.
    pub(super) fn enter_with_signals() -> io::Result<Self> {
        Self::enter_as(true)
    }

    fn enter_as(keeps_signals: bool) -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let raw_mode = Self { before, keeps_signals };
        raw_mode.apply()?;
        Ok(raw_mode)
    }

    /// Sets raw mode, again after a stop: a shell puts its own modes back meanwhile.
    pub(super) fn apply(&self) -> io::Result<()> {
        let mut raw = self.before.clone();
        raw.make_raw();
        if self.keeps_signals {
            raw.local_modes |= self.before.local_modes & LocalModes::ISIG;
        }
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

/// A key that the client acts on: a control character, written `ctrl-\` or `^\`; or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientKey(pub(super) Option<u8>);

impl std::str::FromStr for ClientKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let key = text.strip_prefix("ctrl-").or_else(|| text.strip_prefix('^')).map(str::as_bytes);
        match key {
            Some([key @ (b'@'..=b'_' | b'a'..=b'z')]) => Ok(Self(Some(key.to_ascii_uppercase() - b'@'))),
            _ => Err(
                r"write it as ctrl- and a letter or one of @ [ \ ] ^ _, such as ctrl-\ or ctrl-a; or none"
                    .to_owned(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_client_are_control_characters() {
        assert_eq!(r"ctrl-\".parse(), Ok(ClientKey(Some(0x1c))));
        assert_eq!("^]".parse(), Ok(ClientKey(Some(0x1d))));
        assert_eq!("none".parse(), Ok(ClientKey(None)));
        assert_eq!("ctrl-a".parse(), "^A".parse::<ClientKey>());
        for wrong in ["", "a", "ctrl-", "ctrl-1", "ctrl-aa", "alt-a", "^ä"] {
            assert!(wrong.parse::<ClientKey>().is_err(), "{wrong:?}");
        }
    }
}
