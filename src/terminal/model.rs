//! What a session asks of the model of its terminal.

use std::sync::Arc;

use super::{Emulator, TerminalSize};

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

    /// As [`redraw`](Self::redraw), with up to `lines` of what scrolled off the top in the terminal's own scrollback. Gives
    /// none while the other screen is shown.
    fn redraw_with_history(&mut self, lines: usize) -> Vec<u8> {
        let _ = lines;
        self.redraw()
    }

    /// The bytes that show this, or the part of it around the cursor, on a terminal of another size, whatever that
    /// showed before.
    fn picture(&mut self, size: TerminalSize) -> Vec<u8>;

    /// The reply to a question that the program printed just now: `question` is the whole sequence, from its ESC to its
    /// end. Empty where it is known to have none; `None` leaves it to a terminal that shows the session.
    fn answer(&mut self, question: &[u8]) -> Option<Vec<u8>> {
        let _ = question;
        None
    }

    /// Whether a mode is set: a DEC private one, or one of ANSI's.
    fn mode(&self, private: bool, number: u16) -> bool {
        let _ = (private, number);
        false
    }
}

/// Makes each session's model.
pub(crate) type MakeModel = Arc<dyn Fn(TerminalSize) -> Box<dyn ScreenModel> + Send + Sync>;

/// Makes the model that comes with this crate.
pub(crate) fn emulator() -> MakeModel {
    Arc::new(|size| Box::new(Emulator::new(size)))
}
