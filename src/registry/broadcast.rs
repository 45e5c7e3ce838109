//! Sending: to one client, to a session, to everyone. Nothing here waits, and nothing is sent under a lock.

use std::fmt;

use super::{
    ClientRegistry, Delivery, Publisher, SendError,
    delivery::{self, Burst, Closed, One, Payload},
    member::Member,
};
use crate::{
    ClientId, SessionId,
    sync::{Arc, TrySendError},
};

impl<M> ClientRegistry<M> {
    /// Offers `message` to one client without waiting.
    ///
    /// # Locking
    /// The client's shard, to clone its sender.
    ///
    /// # Errors
    /// [`SendError`] hands the message back: the client is unknown, its queue is full (it stays registered, and the
    /// skip is counted), or its channel is closed (it has been unregistered).
    pub fn send_to_client(&self, id: ClientId, message: M) -> Result<(), SendError<M>> {
        let key = self.inner.clients.key(id);
        let (found, totals) = self
            .inner
            .clients
            .with_and_totals(&key, |clients| clients.get(&key).map(|client| client.member.clone()));
        let Some(member) = found else {
            return Err(SendError::UnknownClient(message));
        };
        let (delivery, result) = match member.sender.try_send(message) {
            Ok(()) => (Delivery { sent: 1, ..Delivery::default() }, Ok(())),
            // A full queue whose receiver is gone is refused as closed: tokio looks at that first.
            Err(TrySendError::Full(message)) => {
                member.shared.add_skipped(1);
                (Delivery { full: 1, ..Delivery::default() }, Err(SendError::Full(message)))
            }
            Err(TrySendError::Closed(message)) => {
                (Delivery { closed: 1, ..Delivery::default() }, Err(SendError::Closed(message)))
            }
        };
        totals.add(delivery);
        if delivery.closed != 0 {
            self.unregister_closed(&[&member]);
        }
        result
    }

    /// Unregisters clients whose channels were found closed, unless their ids have been registered again since.
    #[cold]
    pub(super) fn unregister_closed(&self, closed: &[&Member<M>]) {
        for member in closed {
            self.unregister_if(member.id, |client| client.member.sender.same_channel(&member.sender));
        }
    }
}

impl<M> ClientRegistry<M> {
    /// A broadcast to the clients that watch `session`, with a choice: a client to leave out, an observer, one message
    /// or a burst. [`broadcast_to_session`](Self::broadcast_to_session) and its like are short forms of it.
    pub fn to(&self, session: SessionId) -> Broadcast<'_, M, impl FnMut(ClientId, Delivery) + use<M>> {
        unobserved(To::Session(self, session))
    }

    /// As [`to`](Self::to), to every registered client: see [`broadcast_to_all`](Self::broadcast_to_all).
    pub fn to_all(&self) -> Broadcast<'_, M, impl FnMut(ClientId, Delivery) + use<M>> {
        unobserved(To::All(self))
    }
}

impl<M: Clone> ClientRegistry<M> {
    /// Offers `message` to every client that watches `session`, without waiting. A session nobody watches is no error:
    /// the delivery is empty.
    ///
    /// # Locking
    /// The session's shard, to clone one handle. Allocates nothing.
    ///
    /// # Consistency
    /// See [`ClientRegistry`]. Broadcasts from several threads to one session have no common order; for messages in
    /// order use one [`Publisher`], or [`broadcast_burst`](Self::broadcast_burst).
    pub fn broadcast_to_session(&self, session: SessionId, message: M) -> Delivery {
        self.broadcast(session, One::new(message), None, |_, _| {})
    }

    /// As [`broadcast_to_session`](Self::broadcast_to_session), to every client but `except`: most often the one the
    /// message came from.
    pub fn broadcast_to_session_except(&self, session: SessionId, except: ClientId, message: M) -> Delivery {
        self.broadcast(session, One::new(message), Some(except), |_, _| {})
    }

    /// Offers `messages`, in order, to every client that watches `session`: to each as many from the front as it has
    /// room for, with one reservation, so that nobody else takes of that room. They arrive in order; messages that
    /// another thread sends meanwhile may come between them. A burst of none does nothing.
    ///
    /// # Locking
    /// The session's shard, to clone one handle. Allocates nothing.
    pub fn broadcast_burst(&self, session: SessionId, messages: &[M]) -> Delivery {
        if messages.is_empty() {
            return Delivery::default();
        }
        self.broadcast(session, Burst(messages), None, |_, _| {})
    }

    /// Offers `message` to every registered client, attached or not, without waiting.
    ///
    /// Clients that come or go while this runs may or may not be included.
    ///
    /// # Locking
    /// Every client shard in turn, to clone its senders: unlike a session's roster they are not kept ready, so this
    /// costs an allocation and a few atomic operations for each client. Meant for the rare message to all.
    pub fn broadcast_to_all(&self, message: M) -> Delivery {
        self.broadcast_everywhere(One::new(message), None, |_, _| {})
    }

    fn broadcast(
        &self,
        session: SessionId,
        payload: impl Payload<M>,
        except: Option<ClientId>,
        observe: impl FnMut(ClientId, Delivery),
    ) -> Delivery {
        let key = self.inner.sessions.key(session);
        let (roster, totals) = self
            .inner
            .sessions
            .with_and_totals(&key, |sessions| sessions.get(&key).map(|session| Arc::clone(session.roster())));
        let Some(roster) = roster else { return Delivery::default() };
        let (delivery, closed) = roster.deliver(payload, except, observe);
        totals.add(delivery);
        if !closed.is_empty() {
            self.unregister_closed(&closed);
        }
        delivery
    }

    fn broadcast_everywhere(
        &self,
        mut payload: impl Payload<M>,
        except: Option<ClientId>,
        mut observe: impl FnMut(ClientId, Delivery),
    ) -> Delivery {
        let mut total = Delivery::default();
        for shard in 0..self.inner.clients.len() {
            let entries: Vec<Member<M>> = self.inner.clients.at(shard, |clients| {
                let entries = clients.values().map(|client| &client.member);
                entries.filter(|member| except != Some(member.id)).cloned().collect()
            });
            let mut closed = Closed::new();
            for member in &entries {
                let delivery = delivery::offer(member, &mut payload, false);
                if delivery.closed != 0 {
                    closed.push(member);
                }
                self.inner.clients.totals(&self.inner.clients.key(member.id)).add(delivery);
                total += delivery;
                observe(member.id, delivery);
            }
            self.unregister_closed(&closed);
        }
        total
    }
}

/// A broadcast with a choice: from [`ClientRegistry::to`], [`ClientRegistry::to_all`], [`Publisher::except`] or
/// [`Publisher::observe`].
///
/// # Examples
/// ```
/// use fugue_server::{ClientRegistry, SessionId};
/// use tokio::sync::mpsc;
///
/// let registry = ClientRegistry::new();
/// let room = SessionId::named("lobby");
/// let mut join = |depth| {
///     let (sender, queue) = mpsc::channel(depth);
///     let client = registry.next_client_id();
///     registry.register_client(client, sender).expect("an id of its own");
///     registry.attach_to_session(client, room).expect("a registered client");
///     (client, queue)
/// };
/// let ((ann, _anns), (_bob, _bobs), (slow, _slows)) = (join(8), join(8), join(1));
///
/// // What Ann says reaches all others, and those that miss some of it are noted.
/// let mut missed = Vec::new();
/// let delivery = registry
///     .to(room)
///     .except(ann)
///     .observe(|client, delivery| {
///         if !delivery.is_complete() {
///             missed.push(client);
///         }
///     })
///     .burst(&["hello", "there"]);
/// assert_eq!((delivery.sent, delivery.full), (3, 1));
/// assert_eq!(missed, [slow]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a broadcast does nothing until `send` or `burst`"]
pub struct Broadcast<'a, M, F> {
    to: To<'a, M>,
    except: Option<ClientId>,
    observe: F,
}

/// The clients that a broadcast is for.
pub(super) enum To<'a, M> {
    Session(&'a ClientRegistry<M>, SessionId),
    Members(&'a mut Publisher<M>),
    All(&'a ClientRegistry<M>),
}

fn unobserved<M>(to: To<'_, M>) -> Broadcast<'_, M, impl FnMut(ClientId, Delivery) + use<M>> {
    Broadcast { to, except: None, observe: |_, _| {} }
}

impl<M: Clone> Publisher<M> {
    /// A broadcast to every member but `client`: most often the one that the message came from.
    pub fn except(&mut self, client: ClientId) -> Broadcast<'_, M, impl FnMut(ClientId, Delivery) + use<M>> {
        unobserved(To::Members(self)).except(client)
    }

    /// A broadcast to every member, of which `observe` is told what became of each member's messages.
    pub fn observe<F: FnMut(ClientId, Delivery)>(&mut self, observe: F) -> Broadcast<'_, M, F> {
        unobserved(To::Members(self)).observe(observe)
    }
}

impl<'a, M, F> Broadcast<'a, M, F> {
    /// Leaves `client` out: most often the one that the message came from.
    pub fn except(mut self, client: ClientId) -> Self {
        self.except = Some(client);
        self
    }

    /// Tells `observe` what became of each client's messages, so that a caller can apply a policy of its own. It runs
    /// outside every lock, and takes the place of an earlier one.
    pub fn observe<G: FnMut(ClientId, Delivery)>(self, observe: G) -> Broadcast<'a, M, G> {
        Broadcast { to: self.to, except: self.except, observe }
    }
}

impl<M: Clone, F: FnMut(ClientId, Delivery)> Broadcast<'_, M, F> {
    /// Offers `message` to each client without waiting.
    pub fn send(self, message: M) -> Delivery {
        self.offer(One::new(message))
    }

    /// Offers `messages` to each client, in order, as many from the front as it has room for. A burst of none does
    /// nothing.
    pub fn burst(self, messages: &[M]) -> Delivery {
        if messages.is_empty() {
            return Delivery::default();
        }
        self.offer(Burst(messages))
    }

    fn offer(self, payload: impl Payload<M>) -> Delivery {
        let Self { to, except, observe } = self;
        match to {
            To::Session(registry, session) => registry.broadcast(session, payload, except, observe),
            To::Members(publisher) => publisher.deliver(payload, except, observe),
            To::All(registry) => registry.broadcast_everywhere(payload, except, observe),
        }
    }
}

impl<M, F> fmt::Debug for Broadcast<'_, M, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broadcast").field("except", &self.except).finish_non_exhaustive()
    }
}
