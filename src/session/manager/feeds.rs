//! Sessions that somebody else prints to: an embedder, or a client that provides them.

use std::sync::{Arc, atomic::Ordering};

use tracing::info;

use super::{Manager, NewSession, Runs};
use crate::{
    SessionId,
    message::{Provide, Provided, RequestError},
    session::{
        Session,
        command_line::shown_title,
        feed::{FeedSide, MAX_OFFSET, Prints, ProvidedNews, ProvidedSession},
        pump::Pump,
    },
};

impl Manager {
    /// Starts a session that prints what is queued, until the feed ends.
    pub(in crate::session) fn create_feed(
        self: &Arc<Self>,
        provide: &Provide,
    ) -> Result<(Arc<Session>, Arc<FeedSide>), RequestError> {
        let side = Arc::new(FeedSide::new(provide, self.history_bytes.load(Ordering::Relaxed), true));
        Ok((self.start_feed(provide, Arc::clone(&side))?, side))
    }

    /// Has a client provide a session: a new one, or one whose provider was lost.
    ///
    /// # Errors
    /// [`RequestError`]: the name is taken, or the id by a session that can't be provided; or the server is stopping.
    pub(crate) fn provide(
        self: &Arc<Self>,
        provide: &Provide,
    ) -> Result<(ProvidedSession, Provided, ProvidedNews), RequestError> {
        let session = match self.live(provide.id) {
            Some(session) => session,
            None => {
                let side =
                    Arc::new(FeedSide::new(provide, self.history_bytes.load(Ordering::Relaxed), false));
                self.start_feed(provide, side)?
            }
        };
        ProvidedSession::begin(&session, provide, self.settings.lost_time)
    }

    fn start_feed(
        self: &Arc<Self>,
        provide: &Provide,
        side: Arc<FeedSide>,
    ) -> Result<Arc<Session>, RequestError> {
        if provide.start > MAX_OFFSET {
            return Err(RequestError::Malformed(format!("no session begins at offset {}", provide.start)));
        }
        self.reserve(&provide.name)?;
        let new = NewSession::provided(provide);
        let session = self.run_feed(new, side, (&provide.command, provide.title.as_deref()));
        let Some(session) = session else {
            self.release(&provide.name);
            let why = "another connection has just begun to provide it";
            return Err(RequestError::NotProvided { name: provide.name.clone(), why: why.to_owned() });
        };
        info!(session = %session.id, name = %provide.name, "started");
        Ok(session)
    }

    /// Prints to a session what is queued, until the feed ends; not if there is one of the same id.
    pub(super) fn run_feed(
        self: &Arc<Self>,
        new: NewSession,
        side: Arc<FeedSide>,
        (command, title): (&str, Option<&str>),
    ) -> Option<Arc<Session>> {
        let prints = crate::sync::Arc::clone(&side.prints);
        let (command, title) = (shown_title(command), title.map(shown_title));
        let session = self.open(new, Runs::Feed { side, command, title });
        if !self.enter_unless_there(&session) {
            session.gone.cancel();
            return None;
        }
        let mut pump = Pump::new(Arc::clone(&session), Prints::new(prints), self.output(&session));
        let (manager, ended) = (Arc::clone(self), Arc::clone(&session));
        let mut undrained = Some(self.undrained.token());
        self.tasks.spawn(async move {
            let status = pump.run(manager.stopping.clone(), &mut undrained).await;
            manager.end(&ended, pump.into_printer(), status);
        });
        Some(session)
    }

    fn live(&self, id: SessionId) -> Option<Arc<Session>> {
        self.with(|book| book.live.get(&id).cloned())
    }
}
