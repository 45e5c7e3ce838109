//! The hot path: one session's broadcasts without a lookup and without a lock.

use std::fmt;

use super::{
    ClientRegistry, Delivery,
    delivery::{Burst, One, Payload},
    roster::Roster,
    session::{self, Retired},
    shard::Key,
    stats::Totals,
};
use crate::{
    ClientId, SessionId,
    sync::{Arc, AtomicU64, Ordering},
};

/// A handle for broadcasting to one session, from [`ClientRegistry::publisher`].
///
/// It keeps the session's roster and checks with one atomic load that membership has not changed since; only when it
/// has does it take the session's lock, once, to fetch the new one. While it lives the session has an entry, members
/// or not.
///
/// # Consistency
/// As for [`ClientRegistry::broadcast_to_session`]: once an attach has returned, every broadcast that starts later
/// reaches the client; once a detach or unregister has returned, none does. Messages of one publisher reach each
/// client in the order they were broadcast. Two publishers of one session have no common order.
///
/// # Channels of clients that left
/// The roster it keeps holds the senders of clients that have left since its last broadcast. Their channels are freed
/// when it broadcasts again, is [refreshed](Self::refresh), or is dropped. While it idles, a task that receives until
/// its channel ends goes on waiting. So the owner of an idle publisher refreshes it now and then, which costs one load
/// while nothing has changed; or the receiving side is told by other means, and closes its queue itself:
/// ```
/// use fugue_server::{ClientRegistry, SessionId};
/// use tokio::sync::{mpsc, oneshot};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = ClientRegistry::new();
/// let mut publisher = registry.publisher(SessionId::named("ticker"));
///
/// let (sender, mut queue) = mpsc::channel(8);
/// let (kick, mut kicked) = oneshot::channel::<()>();
/// let guard = registry.register_guarded(registry.next_client_id(), sender)?;
/// registry.attach_to_session(guard.id(), publisher.session())?;
/// assert_eq!(publisher.broadcast("one").sent, 1);
///
/// // Elsewhere somebody ends the client: it leaves the registry, and its task is told.
/// drop(guard);
/// drop(kick);
///
/// // The task. Without the first branch it would wait for the publisher's next broadcast, perhaps forever.
/// let mut received = Vec::new();
/// loop {
///     tokio::select! {
///         _ = &mut kicked, if !queue.is_closed() => queue.close(), // takes no more, and ends after what is in it
///         message = queue.recv() => match message {
///             Some(message) => received.push(message),
///             None => break,
///         },
///     }
/// }
/// assert_eq!(received, ["one"]);
/// # Ok(())
/// # }
/// ```
///
/// # Examples
/// ```
/// use fugue_server::{ClientRegistry, SessionId};
/// use tokio::sync::mpsc;
///
/// let registry = ClientRegistry::new();
/// let (sender, mut queue) = mpsc::channel(8);
/// let client = registry.next_client_id();
/// registry.register_client(client, sender)?;
///
/// let mut publisher = registry.publisher(SessionId::from(1_u64));
/// registry.attach_to_session(client, publisher.session())?;
/// assert_eq!(publisher.broadcast_burst(&["tick", "tock"]).sent, 2);
/// assert_eq!(queue.try_recv()?, "tick");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Publisher<M> {
    registry: ClientRegistry<M>,
    session: Key<SessionId>,
    roster: Arc<Roster<M>>,
    /// The session's generation, and the one that `roster` was read at.
    generation: Arc<AtomicU64>,
    seen: u64,
    /// This publisher's counts. It is their only writer; `stats` reads them through the session's entry.
    totals: Arc<Totals>,
}

impl<M> Publisher<M> {
    pub(super) fn new(registry: ClientRegistry<M>, session: SessionId) -> Self {
        let totals = Arc::new(Totals::default());
        let session = registry.inner.sessions.key(session);
        let (roster, generation, seen) = registry.inner.sessions.with(&session, |sessions| {
            let entry = session::entry(sessions, session);
            entry.add_publisher(Arc::clone(&totals));
            let generation = Arc::clone(entry.generation());
            // Relaxed: generations change under this lock only.
            let seen = generation.load(Ordering::Relaxed);
            (Arc::clone(entry.roster()), generation, seen)
        });
        Self { registry, session, roster, generation, seen, totals }
    }

    /// The session this publishes to.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session.id
    }

    /// Brings the roster up to date now, as the next broadcast would, and frees the channels of clients that left.
    ///
    /// # Locking
    /// None while membership stands still, else the session's shard once.
    pub fn refresh(&mut self) {
        // Acquire: pairs with the Release of the change, so that what its maker did before is seen by a client that
        // receives from this broadcast.
        if self.generation.load(Ordering::Acquire) == self.seen {
            return;
        }
        let current = self.registry.inner.sessions.with(&self.session, |sessions| {
            // Relaxed: generations change under this lock only.
            sessions
                .get(&self.session)
                .map(|entry| (Arc::clone(entry.roster()), entry.generation().load(Ordering::Relaxed)))
        });
        // The old roster may hold a channel's last sender; it drops here, outside the lock.
        if let Some((roster, seen)) = current {
            (self.roster, self.seen) = (roster, seen);
        }
    }
}

impl<M: Clone> Publisher<M> {
    /// Offers `message` to every member without waiting.
    ///
    /// # Locking
    /// None while membership stands still, else the session's shard once. Allocates nothing.
    pub fn broadcast(&mut self, message: M) -> Delivery {
        self.deliver(One::new(message), None, |_, _| {})
    }

    /// Offers `messages` to every member, in order, as many from the front as each has room for.
    ///
    /// # Locking
    /// As [`broadcast`](Self::broadcast).
    pub fn broadcast_burst(&mut self, messages: &[M]) -> Delivery {
        if messages.is_empty() {
            return Delivery::default();
        }
        self.deliver(Burst(messages), None, |_, _| {})
    }

    pub(super) fn deliver(
        &mut self,
        payload: impl Payload<M>,
        except: Option<ClientId>,
        observe: impl FnMut(ClientId, Delivery),
    ) -> Delivery {
        self.refresh();
        let (delivery, closed) = self.roster.deliver(payload, except, observe);
        self.totals.add_as_only_writer(delivery);
        if !closed.is_empty() {
            self.registry.unregister_closed(&closed);
        }
        delivery
    }
}

impl<M> Drop for Publisher<M> {
    fn drop(&mut self) {
        let mut retired = Retired::default();
        self.registry.inner.sessions.with(&self.session, |sessions| {
            session::remove_publisher(sessions, self.session, &self.totals, &mut retired);
            // Under the lock, so that `stats` counts these once: here, or in the shard.
            self.registry.inner.sessions.totals(&self.session).add(self.totals.read());
        });
        drop(retired);
    }
}

impl<M> fmt::Debug for Publisher<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("session", &self.session.id).finish_non_exhaustive()
    }
}
