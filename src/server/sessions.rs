//! A server's sessions, for the program that embeds it.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::{
    message::{Create, ExitStatus, RequestError, SessionInfo, Target},
    session::Manager,
};

/// A server's sessions, from beside it and without a connection: see [`Server::sessions`](super::Server::sessions).
///
/// A handle: cloning it is cheap. What sessions print is for clients to see, or for the embedder through a
/// [`Client`](crate::Client) of its own.
#[derive(Clone, Debug)]
pub struct Sessions {
    manager: Arc<Manager>,
}

impl Sessions {
    pub(super) fn new(manager: Arc<Manager>) -> Self {
        Self { manager }
    }

    /// Live sessions, the oldest first, then those that ended last, as [`Reply::Sessions`](crate::message::Reply) has
    /// them.
    #[must_use]
    pub fn list(&self) -> Vec<SessionInfo> {
        self.manager.list()
    }

    /// Starts a session.
    ///
    /// # Cancel safety
    /// Dropping the future lets the session begin, or fail, all the same.
    ///
    /// # Errors
    /// [`RequestError`]: the name is taken, the program can't be started, or the server is shutting down;
    /// [`RequestError::Malformed`] where a client is to attach, because there is none.
    pub async fn create(&self, create: Create) -> Result<SessionInfo, RequestError> {
        if create.attach.is_some() {
            return Err(RequestError::Malformed("only a client can attach to what it creates".to_owned()));
        }
        // Nobody is waited for, so what it prints is read at once.
        let (_, start) = oneshot::channel();
        Ok(self.manager.create(create, start).await?.info(0))
    }

    /// Hangs up a session's program, kills it if it won't go, and waits until it is gone: as a client's `Kill` does.
    ///
    /// # Cancel safety
    /// Dropping the future lets the program be hung up all the same.
    ///
    /// # Errors
    /// [`RequestError`]: there is no such session, it has ended already, or its program can't be ended.
    pub async fn kill(&self, session: &Target) -> Result<ExitStatus, RequestError> {
        let session = self.manager.find(session)?;
        let asked = session.ask_to_end();
        session.seen_out(asked).await
    }

    /// Waits until a session has ended, and returns how.
    ///
    /// # Cancel safety
    /// Cancel safe.
    ///
    /// # Errors
    /// [`RequestError::UnknownSession`]. A session that has ended before is no error while it is remembered.
    pub async fn ended(&self, session: &Target) -> Result<ExitStatus, RequestError> {
        match self.manager.find(session) {
            Ok(session) => Ok(session.gone().await),
            Err(RequestError::SessionEnded { status, .. }) => Ok(status),
            Err(refused) => Err(refused),
        }
    }
}
