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

    /// The bytes that show this, or the part of it around the cursor, on a terminal of another size, whatever that
    /// showed before.
    fn picture(&mut self, size: TerminalSize) -> Vec<u8>;
}

/// Makes each session's model.
pub(crate) type MakeModel = Arc<dyn Fn(TerminalSize) -> Box<dyn ScreenModel> + Send + Sync>;

/// Makes the model that comes with this crate.
pub(crate) fn emulator() -> MakeModel {
    Arc::new(|size| Box::new(Emulator::new(size)))
}
