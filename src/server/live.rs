//! The settings that may change while a server serves. What begins after a change has the new ones: a session its
//! history and scrollback, a connection its queue. All `Relaxed`: each stands alone.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::terminal::{MakeModel, emulator};

#[derive(Debug)]
pub(super) struct LiveSettings {
    queue_depth: AtomicUsize,
    scrollback: Arc<AtomicUsize>,
}

impl LiveSettings {
    pub(super) fn new(queue_depth: usize, scrollback: usize) -> Self {
        Self {
            queue_depth: AtomicUsize::new(queue_depth),
            scrollback: Arc::new(AtomicUsize::new(scrollback)),
        }
    }

    /// Messages that the queue of a new connection holds.
    pub(super) fn queue_depth(&self) -> usize {
        self.queue_depth.load(Ordering::Relaxed)
    }

    #[cfg(feature = "cli")]
    pub(super) fn change(&self, queue_depth: usize, scrollback: usize) {
        self.queue_depth.store(queue_depth, Ordering::Relaxed);
        self.scrollback.store(scrollback, Ordering::Relaxed);
    }

    /// Makes models that keep as many lines as are set when each is made.
    pub(super) fn make_model(&self) -> MakeModel {
        let scrollback = Arc::clone(&self.scrollback);
        Arc::new(move |size| emulator(scrollback.load(Ordering::Relaxed))(size))
    }
}
