//! Who watches what: attaching, detaching, and the lists of sessions and their clients.

use tracing::debug;

use super::{
    AttachError, ClientRegistry, DetachError,
    member::Member,
    session::{self, Retired, SessionRecord},
};
use crate::{ClientId, SessionId};

/// What an attach found and made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attached {
    /// The session the client watched before, and the members that has now. It is the same session again, with this
    /// client among its members, if nothing changed.
    pub previous: Option<Detached>,
    /// Members of the session now, this client included.
    pub members: usize,
}

/// What a client left behind in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Detached {
    /// The session the client watched.
    pub session: SessionId,
    /// Members it has left. Of clients leaving at once, exactly one sees 0.
    pub members: usize,
}

impl<M> ClientRegistry<M> {
    /// Attaches `client` to `session`, so that every broadcast that starts later reaches it.
    ///
    /// A client watches one session: attaching elsewhere detaches first, as one step. Attaching to the session it
    /// already watches changes nothing. The session comes into being with its first member.
    ///
    /// # Locking
    /// The client's shard, then the session's; for a re-attach both sessions' shards, in ascending order.
    ///
    /// # Errors
    /// [`AttachError::UnknownClient`] once the client has been unregistered.
    pub fn attach_to_session(&self, client: ClientId, session: SessionId) -> Result<Attached, AttachError> {
        // Of the session that is left, and of the one that is joined.
        let (mut retired, mut joined) = (Retired::default(), Retired::default());
        let key = self.inner.clients.key(client);
        let attached = self.inner.clients.with(&key, |clients| {
            let client = clients.get_mut(&key)?;
            let sessions = &self.inner.sessions;
            let to = sessions.key(session);
            let (previous, members) = match client.attached.replace(session) {
                None => {
                    let join =
                        |sessions: &mut _| session::join(sessions, to, client.member.clone(), &mut joined);
                    (None, sessions.with(&to, join))
                }
                Some(current) if current == session => {
                    let count = |session: &SessionRecord<M>| session.members().len();
                    let members = sessions.with(&to, |sessions| sessions.get(&to).map_or(0, count));
                    (Some(Detached { session, members }), members)
                }
                Some(previous) => {
                    let from = sessions.key(previous);
                    let (left, members) = sessions.with_two(&from, &to, |mut sessions| {
                        let left = session::leave(sessions.first(), from, &client.member, &mut retired);
                        let member = client.member.clone();
                        (left, session::join(sessions.second(), to, member, &mut joined))
                    });
                    (Some(Detached { session: previous, members: left }), members)
                }
            };
            Some(Attached { previous, members })
        });
        drop((retired, joined));
        let attached = attached.ok_or(AttachError::UnknownClient(client))?;
        debug!(%client, %session, members = attached.members, "attached");
        Ok(attached)
    }

    /// Detaches `client` from the session it watches, so that no broadcast that starts later reaches it.
    ///
    /// # Locking
    /// The client's shard, then its session's.
    ///
    /// # Errors
    /// [`DetachError::UnknownClient`] once the client has been unregistered, [`DetachError::NotAttached`] when it
    /// watches nothing.
    pub fn detach_from_session(&self, client: ClientId) -> Result<Detached, DetachError> {
        self.detach_if(client, |_| true)
    }

    fn detach_if(
        &self,
        client: ClientId,
        only_if: impl FnOnce(SessionId) -> bool,
    ) -> Result<Detached, DetachError> {
        let mut retired = Retired::default();
        let key = self.inner.clients.key(client);
        let detached = self.inner.clients.with(&key, |clients| {
            let entry = clients.get_mut(&key).ok_or(DetachError::UnknownClient(client))?;
            let session = entry.attached.take_if(|session| only_if(*session));
            let session = session.ok_or(DetachError::NotAttached(client))?;
            Ok(self.leave(session, &entry.member, &mut retired))
        });
        drop(retired);
        if let Ok(Detached { session, members }) = detached {
            debug!(%client, %session, members, "detached");
        }
        detached
    }

    /// Removes `client` from `session` under the session's shard lock.
    pub(super) fn leave(&self, session: SessionId, client: &Member<M>, retired: &mut Retired<M>) -> Detached {
        let key = self.inner.sessions.key(session);
        let members =
            self.inner.sessions.with(&key, |sessions| session::leave(sessions, key, client, retired));
        Detached { session, members }
    }

    /// Detaches every client that watches `session`, and returns them. They stay registered.
    ///
    /// Each client is detached as one step; the whole is not one. A client that attaches while this runs may or may
    /// not be among them, so an embedder that ends a session stops attaching to it first.
    ///
    /// # Locking
    /// The session's shard for the list; then for each member its shard and the session's.
    pub fn close_session(&self, session: SessionId) -> Vec<ClientId> {
        let mut members = self.session_clients(session);
        // From the last to the first: so each leaves from the end of the roster, and no other has to take its place.
        members.reverse();
        members.retain(|client| self.detach_if(*client, |attached| attached == session).is_ok());
        members
    }

    /// The clients that watch `session`, in no particular order.
    ///
    /// # Locking
    /// The session's shard.
    #[must_use]
    pub fn session_clients(&self, session: SessionId) -> Vec<ClientId> {
        let key = self.inner.sessions.key(session);
        self.inner
            .sessions
            .with(&key, |sessions| sessions.get(&key).map_or_else(Vec::new, |s| s.members().to_vec()))
    }

    /// How many clients watch `session`.
    ///
    /// # Locking
    /// The session's shard.
    #[must_use]
    pub fn session_client_count(&self, session: SessionId) -> usize {
        let key = self.inner.sessions.key(session);
        self.inner
            .sessions
            .with(&key, |sessions| sessions.get(&key).map_or(0, |session| session.members().len()))
    }

    /// Sessions that have a member or a publisher.
    ///
    /// # Locking
    /// Every session shard in turn.
    #[must_use]
    pub fn session_count(&self) -> usize {
        let mut count = 0;
        self.inner.sessions.each(|_, sessions| count += sessions.len());
        count
    }

    /// The sessions that have a member or a publisher, in no particular order.
    ///
    /// # Locking
    /// Every session shard in turn.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionId> {
        let mut all = Vec::new();
        self.inner.sessions.each(|_, sessions| all.extend(sessions.keys().map(|key| key.id)));
        all
    }
}
