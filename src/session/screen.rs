//! The screen: a terminal model behind the broadcast, which knows what a terminal that saw everything shows now.
//!
//! It reads the session's log like any client, at an offset of its own, and never holds the pump up for less than half a
//! history. A redraw is what it shows at its offset; the log from there on is what follows, so the two together are
//! exact however far behind it stands. Before a redraw it is brought up to the newest byte, so that little follows.
//!
//! A model that panics is given up: the session goes on without it.

#[cfg(any(test, fuzzing))]
mod compare;
mod emulator;
#[cfg(all(any(test, fuzzing), feature = "cli"))]
pub(crate) mod fuzz;
mod redraw;
mod visible;

#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::Notify;

use self::emulator::Emulator;
pub(crate) use self::redraw::RESET;
use super::history::{History, Read};
use crate::{
    TerminalSize,
    sync::{Mutex, Rank},
};

/// How much a model is fed at a time, in bytes: some milliseconds at most, which others on this thread wait for.
const STEP: usize = 128 * 1024;

/// How long the model lets output gather. In a flood, what scrolls past within that time is never seen, and skipping it
/// costs a hundredth of showing it; whoever wants to see the screen has it brought up to the newest byte at once.
const PAUSE: Duration = Duration::from_millis(20);

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

/// What a terminal is to be shown.
#[derive(Clone, Debug)]
pub(crate) struct Drawn {
    pub(crate) bytes: Bytes,
    /// The offset of the first byte of output that these bytes do not show.
    pub(crate) at: u64,
}

/// A session's model and where it stands.
pub(super) struct Screen {
    model: tokio::sync::Mutex<Model>,
    /// Sizes the terminal was given, and the offsets from which they hold, until the model is there. A leaf lock.
    resizes: Mutex<VecDeque<(u64, TerminalSize)>>,
    /// There is more in the log.
    appended: Notify,
    /// There is so much more that the pump will wait soon.
    hurry: Notify,
}

pub(super) struct Model {
    /// `None` without a model, or once it failed.
    model: Option<Box<dyn ScreenModel>>,
    at: u64,
    failed: bool,
}

impl Screen {
    pub(super) fn new(model: Option<Box<dyn ScreenModel>>) -> Self {
        Self {
            model: tokio::sync::Mutex::new(Model { model, at: 0, failed: false }),
            resizes: Mutex::new(Rank::Leaf, VecDeque::new()),
            appended: Notify::new(),
            hurry: Notify::new(),
        }
    }

    /// The log has more.
    pub(super) fn appended(&self) {
        self.appended.notify_one();
    }

    /// Waits until the log has more.
    ///
    /// # Cancel safety
    /// Cancel safe: what nobody waited for is kept.
    pub(super) async fn wait(&self) {
        self.appended.notified().await;
    }

    /// Lets more gather, unless that is a lot already.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn pause(&self) {
        // An error says that the time is over.
        let _ = tokio::time::timeout(PAUSE, self.hurry.notified()).await;
    }

    /// The log has a lot more: the model is not to pause.
    pub(super) fn hurry(&self) {
        self.hurry.notify_one();
    }

    /// The terminal has this size from offset `at` on.
    pub(super) fn resized(&self, at: u64, size: TerminalSize) {
        self.resizes.with(|resizes| match resizes.back_mut() {
            // Nothing was printed in the size before, if it began here. So there is never more than one for each byte of
            // output, however often a client is resized.
            Some((from, latest)) if *from == at => *latest = size,
            _ => resizes.push_back((at, size)),
        });
        self.appended();
    }

    /// Where the model stands, and whether it panicked.
    pub(super) async fn position(&self) -> (u64, bool) {
        let model = self.model.lock().await;
        (model.at, model.failed)
    }

    /// Brings the model up to what the log holds now, step by step, and gives access to it.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn caught_up(
        &self,
        history: &History,
        stepped: impl Fn(),
    ) -> tokio::sync::MutexGuard<'_, Model> {
        let head = history.head();
        loop {
            let mut model = self.model.lock().await;
            let more = self.step(&mut model, history);
            stepped();
            if !more || model.at >= head {
                return model;
            }
            drop(model);
            tokio::task::yield_now().await;
        }
    }

    /// The size that holds at `at`, if that is another since the last call, and the offset from which the next one does.
    fn due_size(&self, at: u64) -> (Option<TerminalSize>, u64) {
        self.resizes.with(|resizes| {
            let mut due = None;
            while let Some((from, size)) = resizes.front().copied() {
                if from > at {
                    return (due, from);
                }
                due = Some(size);
                resizes.pop_front();
            }
            (due, u64::MAX)
        })
    }

    /// Feeds the model a step. Returns whether there may be more.
    fn step(&self, model: &mut Model, history: &History) -> bool {
        let (size, next) = self.due_size(model.at);
        if let Some(size) = size {
            model.with(|model| model.resize(size));
        }
        if model.model.is_none() {
            // Nothing is kept for it any more.
            self.resizes.with(VecDeque::clear);
            history.set_floor(u64::MAX);
            return false;
        }
        let room = usize::try_from(next - model.at).unwrap_or(STEP).min(STEP);
        let mut pieces = Vec::new();
        let more = match history.read(model.at, room, &mut pieces) {
            Read::Data => true,
            // The log keeps what the model needs.
            Read::AtHead | Read::Ended(_) | Read::Evicted { .. } => false,
        };
        for piece in pieces {
            model.with(|model| model.advance(&piece));
            model.at += piece.len() as u64;
        }
        history.set_floor(if model.model.is_some() { model.at } else { u64::MAX });
        more
    }
}

impl Model {
    pub(super) fn redraw(&mut self) -> Option<Drawn> {
        self.draw(|model| model.redraw())
    }

    pub(super) fn picture(&mut self, size: TerminalSize) -> Option<Drawn> {
        self.draw(|model| model.picture(size))
    }

    fn draw(&mut self, draw: impl FnOnce(&mut dyn ScreenModel) -> Vec<u8>) -> Option<Drawn> {
        let bytes = self.with(draw)?;
        Some(Drawn { bytes: bytes.into(), at: self.at })
    }

    /// Calls the model, and gives it up if it panics.
    fn with<T>(&mut self, call: impl FnOnce(&mut dyn ScreenModel) -> T) -> Option<T> {
        let model = self.model.as_deref_mut()?;
        // Nothing of a model that panicked is used again.
        let result = catch_unwind(AssertUnwindSafe(|| call(model)));
        if result.is_err() {
            self.failed = true;
            // Its drop might panic as well.
            let failed = self.model.take();
            let _ = catch_unwind(AssertUnwindSafe(|| drop(failed)));
        }
        result.ok()
    }
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen").finish_non_exhaustive()
    }
}
