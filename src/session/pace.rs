//! How far the pump may read ahead of its readers.
//!
//! The pump reads on while the head is less than a window past the *hold*. Whose cursor that is, the session's pace
//! says. Usually it is the furthest reader's, so that at every moment some client is within a window of the newest byte
//! and a slow one never holds back a faster one. A lossless reader bounds it too. A reader that makes no progress does
//! not. With nobody attached nothing holds the pump: it never waits for a client that isn't there.

use crate::{
    message::Pace,
    sync::{Arc, AtomicBool, AtomicU64, AtomicUsize, Notify, Ordering},
};

/// How far the head may be past the hold, in bytes, where the history allows it.
///
/// The PTY gives about 40 MiB/s, so this is some 25 ms of a flood: enough to keep every stage busy, little enough for
/// an interrupt to be seen at once.
const WINDOW: u64 = 1024 * 1024;

/// The window for a history of `limit` bytes: at most a quarter of it, so that a reader within the window is
/// never near the end that is evicted.
pub(super) fn window(limit: usize) -> u64 {
    WINDOW.min(limit as u64 / 4)
}

/// The hold that a pump without room waits for: where a quarter of its window is free again. A wake-up for every write
/// of every client would cost a flood more than it gains.
pub(super) fn wake_at(head: u64, window: u64) -> u64 {
    head.saturating_sub(window - (window / 4).max(1).min(window))
}

/// The offset that the pump must not leave further behind than a window; `None` where nobody holds it.
pub(super) fn hold(readers: &[Arc<ReaderCursor>], pace: Pace) -> Option<u64> {
    let fastest = || readers.iter().map(|place| place.cursor()).max();
    let slowest = |lossless: bool| {
        let holding = readers.iter().filter(|place| place.is_holding() && (place.lossless || !lossless));
        holding.map(|place| place.cursor()).min()
    };
    let every = match pace {
        Pace::Fastest => fastest(),
        Pace::Slowest => slowest(false).or_else(fastest),
        Pace::Free => None,
    };
    every.into_iter().chain(slowest(true)).min()
}

/// Readers that want every byte, and may hold the program back for that.
pub(super) fn lossless(readers: &[Arc<ReaderCursor>]) -> usize {
    readers.iter().filter(|place| place.lossless && place.is_holding()).count()
}

/// Where one reader stands.
///
/// Accesses are `Relaxed` throughout: a cursor publishes no data, and the pump looks again whenever it was notified of
/// a change; the notification orders the two. What else a cursor's change is ordered with, `History::advance` says.
#[derive(Debug)]
pub(super) struct ReaderCursor {
    cursor: AtomicU64,
    /// Where in the log's list this stands; changed under the log's lock only. Leaving must not search ten thousand.
    index: AtomicUsize,
    lossless: bool,
    holding: AtomicBool,
}

impl ReaderCursor {
    pub(super) fn new(cursor: u64, index: usize, lossless: bool) -> Self {
        Self {
            cursor: AtomicU64::new(cursor),
            index: AtomicUsize::new(index),
            lossless,
            holding: AtomicBool::new(true),
        }
    }

    /// Returns where the reader was.
    pub(super) fn advance(&self, cursor: u64) -> u64 {
        let before = self.cursor();
        // The reader alone moves it.
        self.cursor.store(cursor, Ordering::Relaxed);
        before
    }

    /// Returns whether that was a change.
    pub(super) fn set_holding(&self, holding: bool) -> bool {
        self.holding.swap(holding, Ordering::Relaxed) != holding
    }

    pub(super) fn index(&self) -> usize {
        self.index.load(Ordering::Relaxed)
    }

    pub(super) fn set_index(&self, index: usize) {
        self.index.store(index, Ordering::Relaxed);
    }

    fn cursor(&self) -> u64 {
        self.cursor.load(Ordering::Relaxed)
    }

    /// Whether this reader makes the progress that entitles it to hold the program back.
    fn is_holding(&self) -> bool {
        self.holding.load(Ordering::Relaxed)
    }
}

/// Wakes the pump when it may have room again: cursor progress, attach, detach, the screen's model.
#[derive(Debug, Default)]
pub(super) struct PumpWaker {
    changed: Notify,
}

impl PumpWaker {
    pub(super) fn wake(&self) {
        // The permit is kept if the pump is not waiting yet, so a change between its look and its sleep is not lost.
        self.changed.notify_one();
    }

    /// # Cancel safety
    /// Cancel safe: a change that nobody waited for is kept.
    pub(super) async fn wait(&self) {
        self.changed.notified().await;
    }
}
