//! Starting sessions without a program, from beside the server that they are on.

use super::{Feed, Manager};
use crate::{
    SessionName, TerminalSize,
    message::{Pace, Provide, RequestError},
};

/// Starts [`Feed`]s on a server, from beside it: see [`Server::feeds`](crate::Server::feeds).
#[derive(Clone, Debug)]
pub struct Feeds {
    manager: std::sync::Arc<Manager>,
}

impl Feeds {
    pub(crate) fn new(manager: std::sync::Arc<Manager>) -> Self {
        Self { manager }
    }

    /// Starts a session under a free name, to be printed to through the [`Feed`].
    ///
    /// # Errors
    /// [`RequestError::NameTaken`]; [`RequestError::ShuttingDown`] once the server has been told to stop.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(&self, name: SessionName, size: TerminalSize, pace: Pace) -> Result<Feed, RequestError> {
        self.provide(&Provide { pace, ..Provide::new(name, size) })
    }

    /// The same, of a session that begins as this says: with an id and an offset that the embedder chooses, and typed
    /// into and sized if it [takes requests](crate::message::Takes), which [`Feed::next`] brings.
    ///
    /// # Errors
    /// As [`start`](Self::start); [`RequestError::NotProvided`] if there is a live session of this id.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn provide(&self, provide: &Provide) -> Result<Feed, RequestError> {
        let (session, side) = self.manager.create_feed(provide)?;
        Ok(Feed::new(&session, side))
    }
}
