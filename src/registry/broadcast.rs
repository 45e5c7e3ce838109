//! Sending: to one client, to a session, to everyone. Nothing here waits, and nothing is sent under a lock.

use super::{
    ClientRegistry, Delivery, SendError,
    delivery::{self, Burst, Closed, One, Payload},
    roster::{Roster, Slot},
    session::{Retired, Session},
    shard::Key,
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
            .with_and_totals(&key, |clients| clients.get(&key).map(|client| client.slot.clone()));
        let Some(slot) = found else {
            return Err(SendError::UnknownClient(message));
        };
        let (delivery, result) = match slot.sender.try_send(message) {
            Ok(()) => (Delivery { sent: 1, ..Delivery::default() }, Ok(())),
            // A full queue whose receiver is gone is refused as closed: tokio looks at that first.
            Err(TrySendError::Full(message)) => {
                slot.registration.add_skipped(1);
                (Delivery { full: 1, ..Delivery::default() }, Err(SendError::Full(message)))
            }
            Err(TrySendError::Closed(message)) => {
                self.unregister_closed(&[&slot]);
                (Delivery { closed: 1, ..Delivery::default() }, Err(SendError::Closed(message)))
            }
        };
        totals.add(delivery);
        result
    }

    /// Unregisters clients whose channels were found closed, unless their ids have been registered anew since.
    #[cold]
    pub(super) fn unregister_closed(&self, closed: &[&Slot<M>]) {
        for slot in closed {
            self.unregister_if(slot.id, |client| client.slot.sender.same_channel(&slot.sender));
        }
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
    /// order use one [`Publisher`](crate::Publisher), or [`broadcast_burst`](Self::broadcast_burst).
    pub fn broadcast_to_session(&self, session: SessionId, message: M) -> Delivery {
        self.broadcast(session, One::new(message), None, |_, _| {})
    }

    /// As [`broadcast_to_session`](Self::broadcast_to_session), to every client but `except`: most often the one the
    /// message came from.
    pub fn broadcast_to_session_except(&self, session: SessionId, except: ClientId, message: M) -> Delivery {
        self.broadcast(session, One::new(message), Some(except), |_, _| {})
    }

    /// As [`broadcast_to_session`](Self::broadcast_to_session), and tells `observe` what became of each client's
    /// message, so that a caller can apply a policy of its own. `observe` runs outside every lock.
    pub fn broadcast_to_session_observed(
        &self,
        session: SessionId,
        message: M,
        observe: impl FnMut(ClientId, Delivery),
    ) -> Delivery {
        self.broadcast(session, One::new(message), None, observe)
    }

    /// Offers `messages`, in order, to every client that watches `session`: to each as many from the front as it has
    /// room for, with one reservation, so that nobody else takes of that room. They arrive in order; messages that
    /// another thread sends meanwhile may come between them. A burst of none does nothing.
    ///
    /// # Locking
    /// The session's shard, to clone one handle. Allocates nothing.
    pub fn broadcast_burst(&self, session: SessionId, messages: &[M]) -> Delivery {
        self.broadcast_burst_observed(session, messages, |_, _| {})
    }

    /// As [`broadcast_burst`](Self::broadcast_burst), and tells `observe` what became of each client's messages.
    pub fn broadcast_burst_observed(
        &self,
        session: SessionId,
        messages: &[M],
        observe: impl FnMut(ClientId, Delivery),
    ) -> Delivery {
        if messages.is_empty() {
            return Delivery::default();
        }
        self.broadcast(session, Burst(messages), None, observe)
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
            .with_and_totals(&key, |sessions| sessions.get(&key).map(Session::roster_as_it_is));
        let roster = match roster {
            None => return Delivery::default(),
            Some(roster) => roster.unwrap_or_else(|| self.roster(&key)),
        };
        let (delivery, closed) = roster.deliver(payload, except, observe);
        totals.add(delivery);
        if !closed.is_empty() {
            self.unregister_closed(&closed);
        }
        delivery
    }

    /// The roster of `session`, with those in it who joined since the last broadcast.
    #[cold]
    fn roster(&self, session: &Key<SessionId>) -> Arc<Roster<M>> {
        let mut retired = Retired::default();
        let roster = self
            .inner
            .sessions
            .with(session, |sessions| sessions.get_mut(session).map(|session| session.roster(&mut retired)));
        drop(retired);
        // All its members may have left since we looked.
        roster.unwrap_or_default()
    }

    /// Offers `message` to every registered client, attached or not, without waiting.
    ///
    /// Clients that come or go while this runs may or may not be included.
    ///
    /// # Locking
    /// Every client shard in turn, to clone its senders: unlike a session's roster they are not kept ready, so this
    /// costs an allocation and a few atomic operations for each client. Meant for the rare message to all.
    pub fn broadcast_to_all(&self, message: M) -> Delivery {
        let mut total = Delivery::default();
        let mut payload = One::new(message);
        for shard in 0..self.inner.clients.len() {
            let slots: Vec<Slot<M>> = self
                .inner
                .clients
                .at(shard, |clients| clients.values().map(|client| client.slot.clone()).collect());
            let mut closed = Closed::new();
            for slot in &slots {
                let delivery = delivery::offer(slot, &mut payload, false);
                if delivery.closed != 0 {
                    closed.push(slot);
                }
                self.inner.clients.totals(&self.inner.clients.key(slot.id)).add(delivery);
                total += delivery;
            }
            self.unregister_closed(&closed);
        }
        total
    }
}
