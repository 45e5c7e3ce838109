//! The client connection registry: which clients are connected, which watch which session, and broadcasts to
//! those.
//!
//! Two sharded maps, one for each question: clients by id (who is this, what does it watch) and sessions by id (who
//! watches this). A broadcast therefore looks at one shard, however many there are. See [`ClientRegistry`] for what is
//! promised; `shard` is the only module that locks.

mod broadcast;
mod builder;
mod client;
mod delivery;
mod departures;
mod error;
mod member;
mod membership;
#[cfg(test)]
mod models;
mod publisher;
mod registration;
mod roster;
mod session;
mod shard;
mod stats;

use std::fmt;

pub use self::{
    broadcast::Broadcast,
    builder::RegistryBuilder,
    client::ClientEntry,
    delivery::Delivery,
    departures::Departure,
    error::{AttachError, DetachError, RegisterError, SendError, ShardCountError},
    membership::{Attached, Detached},
    publisher::Publisher,
    registration::{ClientGuard, Unregistered},
    stats::RegistryStats,
};
use self::{
    client::ClientRecord,
    departures::Departures,
    session::SessionRecord,
    shard::{ShardCount, Shards},
};
use crate::{
    ClientId, ServerMessage, SessionId,
    sync::{Arc, AtomicU64},
};

/// Knows which clients watch which session, and gets messages to them without waiting for any.
///
/// A handle: cloning it is cheap and all clones are one registry. It is generic over the message, so that it serves any
/// program with rooms or topics; each client is a [`tokio::sync::mpsc::Sender`] of the embedder's making, bounded by
/// the embedder's choice.
///
/// A client watches **one session at a time**. A connection that is to be in two rooms at once registers an id for
/// each: see [below](#two-rooms-at-once). What else an embedder knows of a client, such as its name, it keeps in a map
/// of its own, whose entries [`on_departure`](RegistryBuilder::on_departure) takes out.
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
///   channel is unregistered by the broadcast that finds it, unless its id has been registered again since.
/// - Each client that leaves, however, is told of once: see [`RegistryBuilder::on_departure`].
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
///
/// # Two rooms at once
/// One connection, one queue, and an id for each room. An id costs 200 to 300 bytes beside the queue. Each is a client
/// of its own: it is skipped, excepted and told of apart, and a message to all comes once for each.
/// ```
/// use fugue_server::{ClientRegistry, SessionId};
/// use tokio::sync::mpsc;
///
/// let registry = ClientRegistry::new();
/// let rooms = ["lobby", "kitchen"].map(SessionId::named);
///
/// let (sender, mut queue) = mpsc::channel(16);
/// let [in_lobby, in_kitchen] = rooms.map(|_| registry.next_client_id());
/// for (id, room) in [in_lobby, in_kitchen].into_iter().zip(rooms) {
///     registry.register_client(id, sender.clone())?;
///     registry.attach_to_session(id, room)?;
/// }
/// drop(sender); // the registry's are enough, and the queue ends with them
///
/// assert_eq!(registry.broadcast_to_session(rooms[0], "in the lobby").sent, 1);
/// assert_eq!(registry.to(rooms[1]).except(in_kitchen).send("by itself, in the kitchen").sent, 0);
/// assert_eq!(queue.try_recv()?, "in the lobby");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ClientRegistry<M = ServerMessage> {
    inner: Arc<Inner<M>>,
}

struct Inner<M> {
    clients: Shards<ClientId, ClientRecord<M>>,
    sessions: Shards<SessionId, SessionRecord<M>>,
    next_client_id: AtomicU64,
    departures: Option<Departures<M>>,
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
            for publisher in sessions.values().flat_map(SessionRecord::publishers) {
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
