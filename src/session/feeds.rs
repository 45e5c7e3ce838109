//! Starting sessions without a program, from beside the server that they are on.

use super::{Feed, Manager, feed::PrintQueue};
use crate::{
    SessionName, TerminalSize,
    message::{Pace, RequestError},
    sync::Arc,
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
        let prints = Arc::new(PrintQueue::default());
        let session = self.manager.create_feed(&name, size, pace, Arc::clone(&prints))?;
        Ok(Feed::new(&session, prints))
    }
}
