//! What happens to sessions, told to those clients that asked.
//!
//! Each listener has the newest events of one bounded queue. One that is too slow for them is told how many it lost,
//! and nobody waits for it.

use tokio::sync::broadcast;
pub(crate) use tokio::sync::broadcast::error::RecvError;

use crate::{
    SessionId, SessionName,
    message::{Happened, SessionEvent},
};

/// Events that are kept for listeners that have yet to take them, some hundred bytes each.
const KEPT: usize = 256;

/// Where events enter. A handle: its clones are the same.
#[derive(Clone, Debug)]
pub(super) struct SessionEvents(Option<broadcast::Sender<SessionEvent>>);

/// What one listener takes events from.
pub(crate) type EventQueue = broadcast::Receiver<SessionEvent>;

impl SessionEvents {
    pub(super) fn new() -> Self {
        Self(Some(broadcast::Sender::new(KEPT)))
    }

    /// For models of sessions: nobody listens.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// Takes part from the next event on.
    pub(super) fn listen(&self) -> EventQueue {
        match &self.0 {
            Some(events) => events.subscribe(),
            None => broadcast::Sender::new(1).subscribe(),
        }
    }

    /// Tells the listeners. Not under a lock: it wakes them.
    pub(super) fn tell(&self, session: SessionId, name: impl FnOnce() -> SessionName, what: Happened) {
        let Some(events) = self.0.as_ref().filter(|events| events.receiver_count() > 0) else { return };
        // An error says that nobody listens any more.
        let _ = events.send(SessionEvent { session, name: name(), what });
    }
}
