//! What a session asks of the model of its terminal.

use std::sync::Arc;

use super::TerminalSize;

/// A terminal, as the bytes it was given have left it.
///
/// [`ServerBuilder::screen_model`](crate::ServerBuilder::screen_model) takes one of your own. A panic in any of
/// these is caught; the session goes on without a model, and says so in its statistics.
pub trait ScreenModel: Send {
    /// Shows more of the program's output. Characters and sequences may be cut anywhere.
    fn advance(&mut self, output: &[u8]);

    /// The terminal has another size from here on.
    fn resize(&mut self, size: TerminalSize);

    /// The bytes that bring a terminal of the same size, whatever it showed, into the state of this one: text, cursor,
    /// both screens, margins, modes, character sets, title.
    fn redraw(&mut self) -> Vec<u8>;

    /// As [`redraw`](Self::redraw), with up to `lines` of what scrolled off the top in the terminal's own scrollback.
    /// Gives none while the other screen is shown.
    fn redraw_with_history(&mut self, lines: usize) -> Vec<u8> {
        let _ = lines;
        self.redraw()
    }

    /// How many lines scrolled off the top so far, those included that are no longer kept. After a resize it may be any
    /// number. It says which of them a client that missed output lacks; 0 always, if none are kept.
    fn scrolled(&self) -> u64 {
        0
    }

    /// Nothing was printed for a while. Gives back memory that it can do without until it is called again, for
    /// anything.
    fn rest(&mut self) {}

    /// The bytes that show this, or the part of it around the cursor, on a terminal of another size, whatever that
    /// showed before.
    fn picture(&mut self, size: TerminalSize) -> Picture;

    /// What this terminal answers to `question`, the last thing that it was given: a whole sequence, from its ESC to
    /// its end, of at most 4 KiB. Nothing, if it leaves that unanswered; `None`, if it does not know and one of those
    /// that watch is to be asked.
    ///
    /// Each question is put once, where the terminal stands right after it. A sequence that sets private mode 2048 is
    /// one, which asks for a report of the size.
    fn answer(&mut self, question: &[u8]) -> Option<Vec<u8>> {
        let _ = question;
        None
    }

    /// The title of its window, as the program set it; not empty. A list of sessions shows it.
    fn title(&self) -> Option<&str> {
        None
    }

    /// Whether a mode is set: one of DEC's private modes, or one of ANSI's. One that it does not know is not.
    fn mode(&self, private: bool, number: u16) -> bool {
        let _ = (private, number);
        false
    }
}

/// What shows a part of a terminal on another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// What the other terminal is sent.
    pub bytes: Vec<u8>,
    /// The terminal's row and column that the other one shows first, from 0: a click there is one here.
    pub top: u16,
    /// See `top`.
    pub left: u16,
}

/// Makes each session's model.
pub(crate) type MakeModel = Arc<dyn Fn(TerminalSize) -> Box<dyn ScreenModel> + Send + Sync>;
