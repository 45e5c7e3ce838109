//! The client connection registry: who is connected, who watches which session, and broadcasts to those who do.
//!
//! Two sharded maps, one for each question: clients by id (who is this, what does it watch) and sessions by id (who
//! watches this). A broadcast therefore looks at one shard, however many there are. See [`ClientRegistry`] for what is
//! promised; `shard` is the only module that locks.

mod broadcast;
mod builder;
mod client;
mod delivery;
mod error;
#[cfg(test)]
mod models;
mod publisher;
mod roster;
mod session;
mod shard;
mod stats;

use std::fmt;

use tracing::debug;

pub use self::{
    builder::RegistryBuilder,
    client::{ClientEntry, ClientGuard},
    delivery::Delivery,
    error::{AttachError, DetachError, RegisterError, SendError, ShardCountError},
    publisher::Publisher,
    stats::RegistryStats,
};
use self::{
    client::{Client, Registration, Seat},
    roster::Slot,
    session::{Retired, Session},
    shard::{ShardCount, Shards},
};
use crate::{
    ClientId, ServerMessage, SessionId,
    sync::{Arc, AtomicU64, Ordering, Sender},
};

/// Knows which clients watch which session, and gets messages to them without waiting for any.
///
/// A handle: cloning it is cheap and all clones are one registry. It is generic over the message, so that it serves any
/// program with rooms or topics; each client is a [`tokio::sync::mpsc::Sender`] of the embedder's making, bounded by
/// the embedder's choice.
///
/// # Locking
/// Clients are hashed into cache-padded shards, each a mutex around a map, and sessions likewise. Operations lock the
/// client's shard, then the session's; only a re-attach takes two session shards, in ascending order. Critical sections
/// look up, insert, remove and clone handles. Messages are sent, receivers woken, channels freed and lines logged
/// outside every lock, and no caller's code runs inside one: a panic in it can't poison the registry.
///
/// # Consistency
/// "Later" means: happens after.
/// - After [`attach_to_session`](Self::attach_to_session) returns, every broadcast that starts later includes the
///   client. After [`detach_from_session`](Self::detach_from_session) or
///   [`unregister_client`](Self::unregister_client) returns, none does; one already under way may still reach it.
/// - A client is in exactly the session its entry says at every moment anyone can look: attaching elsewhere leaves the
///   old session and enters the new one as one step.
/// - A session's entry goes with its last member and publisher, and a client's entry with the next send that finds its
///   channel closed, if nobody unregistered it before.
/// - A full queue is not a dead client: it is skipped, counted (see [`ClientEntry::skipped`]) and stays. A closed
///   channel is unregistered by the broadcast that finds it, unless its id has been registered anew since.
/// - A receiver must not infer that it was unregistered from its channel's end: see [`Publisher`].
///
/// # Examples
/// ```
/// use fugue_server::{ClientRegistry, SessionId};
/// use tokio::sync::mpsc;
///
/// let registry = ClientRegistry::new();
/// let lobby = SessionId::random();
///
/// let (sender, mut queue) = mpsc::channel(16);
/// let alice = registry.next_client_id();
/// registry.register_client(alice, sender)?;
/// registry.attach_to_session(alice, lobby)?;
///
/// let delivery = registry.broadcast_to_session(lobby, "hello");
/// assert_eq!((delivery.sent, delivery.full, delivery.closed), (1, 0, 0));
/// assert_eq!(queue.try_recv()?, "hello");
///
/// drop(queue);
/// assert_eq!(registry.broadcast_to_session(lobby, "anyone?").closed, 1);
/// assert_eq!(registry.client_count(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ClientRegistry<M = ServerMessage> {
    inner: Arc<Inner<M>>,
}

struct Inner<M> {
    clients: Shards<ClientId, Client<M>>,
    sessions: Shards<SessionId, Session<M>>,
    next_client_id: AtomicU64,
}

/// What an attach found and made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attached {
    /// The session the client watched before; the same one again if nothing changed.
    pub previous: Option<SessionId>,
    /// Members of the session now, this client included.
    pub members: usize,
}

/// What a detach left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Detached {
    /// The session the client watched.
    pub session: SessionId,
    /// Members it has left. Of clients leaving at once, exactly one sees 0.
    pub members: usize,
}

/// What unregistering took out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Unregistered<M> {
    /// The client as it last stood.
    pub entry: ClientEntry<M>,
    /// What it left behind in the session it watched, if any.
    pub detached: Option<Detached>,
}

impl<M> ClientRegistry<M> {
    /// Makes an empty registry with the default number of shards.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().with_shards(ShardCount::for_this_machine())
    }

    /// Sets up a registry: how many shards, how many clients to expect.
    pub fn builder() -> RegistryBuilder<M> {
        RegistryBuilder::new()
    }

    /// How many shards each of the two maps has.
    #[must_use]
    pub fn shard_count(&self) -> usize {
        self.inner.clients.len()
    }

    // ---- clients ----

    /// An id that was not handed out before: 1, 2, 3, …
    #[must_use]
    pub fn next_client_id(&self) -> ClientId {
        // Relaxed: the read-modify-write alone makes ids unique, and they order nothing else.
        ClientId(self.inner.next_client_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Adds a client, attached to nothing.
    ///
    /// # Locking
    /// The client's shard.
    ///
    /// # Errors
    /// [`RegisterError::DuplicateId`] while another client is registered under `id`, [`RegisterError::Closed`] when the
    /// channel's receiver is already gone. Both hand the sender back.
    pub fn register_client(&self, id: ClientId, sender: Sender<M>) -> Result<(), RegisterError<M>> {
        self.register(id, sender, Arc::default())
    }

    /// Adds a client for as long as the returned guard lives, for connection handlers that may fail anywhere.
    ///
    /// # Errors
    /// As [`register_client`](Self::register_client).
    pub fn register_guarded(
        &self,
        id: ClientId,
        sender: Sender<M>,
    ) -> Result<ClientGuard<M>, RegisterError<M>> {
        let registration = Arc::default();
        self.register(id, sender, Arc::clone(&registration))?;
        Ok(ClientGuard::new(self.clone(), id, registration))
    }

    fn register(
        &self,
        id: ClientId,
        sender: Sender<M>,
        registration: Arc<Registration>,
    ) -> Result<(), RegisterError<M>> {
        use std::collections::hash_map::Entry;

        if sender.is_closed() {
            return Err(RegisterError::Closed { id, sender });
        }
        let slot = Slot { id, sender, registration };
        let client = Client { seat: Seat::Free(slot.clone()), slot };
        let key = self.inner.clients.key(id);
        let refused = self.inner.clients.with(&key, |clients| match clients.entry(key) {
            Entry::Occupied(_) => Some(client.slot.sender),
            Entry::Vacant(vacant) => {
                vacant.insert(client);
                None
            }
        });
        if let Some(sender) = refused {
            return Err(RegisterError::DuplicateId { id, sender });
        }
        debug!(client = %id, "registered");
        Ok(())
    }

    /// Removes a client, and from its session too, as one step. `None` if it was not registered.
    ///
    /// # Locking
    /// The client's shard, then its session's.
    pub fn unregister_client(&self, id: ClientId) -> Option<Unregistered<M>> {
        self.unregister_if(id, |_| true)
    }

    fn unregister_if(
        &self,
        id: ClientId,
        only_if: impl FnOnce(&Client<M>) -> bool,
    ) -> Option<Unregistered<M>> {
        use std::collections::hash_map::Entry;

        let mut retired = Retired::default();
        let key = self.inner.clients.key(id);
        let (client, seat, detached) = self.inner.clients.with(&key, |clients| {
            let Entry::Occupied(entry) = clients.entry(key) else { return None };
            if !only_if(entry.get()) {
                return None;
            }
            let client = entry.remove();
            let leave = |session| self.leave(session, &client.slot, &mut retired);
            let (seat, detached) = client.attached().map(leave).unzip();
            Some((client, seat, detached))
        })?;
        drop((seat, retired));
        debug!(client = %id, "unregistered");
        Some(Unregistered { entry: client.into_entry(), detached })
    }

    /// The client as it stands now, with a handle on its queue. `None` if it is not registered.
    ///
    /// # Locking
    /// The client's shard.
    #[must_use]
    pub fn get_client(&self, id: ClientId) -> Option<ClientEntry<M>> {
        let key = self.inner.clients.key(id);
        self.inner.clients.with(&key, |clients| clients.get(&key).map(Client::entry))
    }

    /// Registered clients.
    ///
    /// # Locking
    /// Every client shard in turn.
    #[must_use]
    pub fn client_count(&self) -> usize {
        let mut count = 0;
        self.inner.clients.each(|_, clients| count += clients.len());
        count
    }

    // ---- sessions ----

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
        let mut retired = None;
        let key = self.inner.clients.key(client);
        let attached = self.inner.clients.with(&key, |clients| {
            let entry = clients.get_mut(&key)?;
            let sessions = &self.inner.sessions;
            let to = sessions.key(session);
            let before = std::mem::replace(&mut entry.seat, Seat::In(session));
            let (previous, members) = match before {
                Seat::Free(slot) => (None, sessions.with(&to, |sessions| session::join(sessions, to, slot))),
                Seat::In(current) if current == session => (
                    Some(current),
                    sessions.with(&to, |sessions| sessions.get(&to).map_or(0, |s| s.members().len())),
                ),
                Seat::In(previous) => {
                    let from = sessions.key(previous);
                    let members = sessions.with_two(&from, &to, |mut sessions| {
                        let retired = retired.get_or_insert_default();
                        let (slot, _) = session::leave(sessions.first(), from, &entry.slot, retired);
                        session::join(sessions.second(), to, slot)
                    });
                    (Some(previous), members)
                }
            };
            Some(Attached { previous, members })
        });
        drop(retired);
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
            let session = entry.attached().filter(|session| only_if(*session));
            let session = session.ok_or(DetachError::NotAttached(client))?;
            let (slot, detached) = self.leave(session, &entry.slot, &mut retired);
            entry.seat = Seat::Free(slot);
            Ok(detached)
        });
        drop(retired);
        if let Ok(Detached { session, members }) = detached {
            debug!(%client, %session, members, "detached");
        }
        detached
    }

    /// Takes a client, of which this is another slot, out of the members of `session`, whose shard it locks; returns its
    /// slot there.
    fn leave(&self, session: SessionId, client: &Slot<M>, retired: &mut Retired<M>) -> (Slot<M>, Detached) {
        let key = self.inner.sessions.key(session);
        let (slot, members) =
            self.inner.sessions.with(&key, |sessions| session::leave(sessions, key, client, retired));
        (slot, Detached { session, members })
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

    /// Occupancy of every shard, and deliveries by outcome.
    ///
    /// # Locking
    /// Every shard of both maps in turn.
    #[must_use]
    pub fn stats(&self) -> RegistryStats {
        let mut stats = RegistryStats::default();
        self.inner.clients.each(|totals, clients| {
            stats.clients_per_shard.push(clients.len());
            stats.deliveries += totals.read();
        });
        self.inner.sessions.each(|totals, sessions| {
            stats.sessions_per_shard.push(sessions.len());
            stats.deliveries += totals.read();
            for publisher in sessions.values().flat_map(Session::publishers) {
                stats.publishers += 1;
                stats.deliveries += publisher.read();
            }
        });
        stats
    }

    /// The hot-path handle on one session: broadcasts without lookup or lock while membership stands still.
    ///
    /// # Locking
    /// The session's shard, here and when the publisher drops.
    #[must_use]
    pub fn publisher(&self, session: SessionId) -> Publisher<M> {
        Publisher::new(self.clone(), session)
    }
}

impl<M> Clone for ClientRegistry<M> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<M> Default for ClientRegistry<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M> fmt::Debug for ClientRegistry<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientRegistry").field("shards", &self.shard_count()).finish_non_exhaustive()
    }
}
