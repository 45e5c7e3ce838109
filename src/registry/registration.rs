//! Clients come and go: registering, unregistering, looking at one.

use std::fmt;

use tracing::debug;

use super::{
    ClientEntry, ClientRegistry, Departure, Detached, RegisterError,
    client::ClientRecord,
    member::{ClientShared, Member},
    session::Retired,
};
use crate::{
    ClientId,
    sync::{Arc, Ordering, Sender},
};

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
        let shared = Arc::default();
        self.register(id, sender, Arc::clone(&shared))?;
        Ok(ClientGuard { registry: self.clone(), id, shared })
    }

    fn register(
        &self,
        id: ClientId,
        sender: Sender<M>,
        shared: Arc<ClientShared>,
    ) -> Result<(), RegisterError<M>> {
        use std::collections::hash_map::Entry;

        if sender.is_closed() {
            return Err(RegisterError::Closed { id, sender });
        }
        let member = Member { id, sender, shared };
        let client = ClientRecord { member, attached: None };
        let key = self.inner.clients.key(id);
        let refused = self.inner.clients.with(&key, |clients| match clients.entry(key) {
            Entry::Occupied(_) => Some(client),
            Entry::Vacant(vacant) => {
                vacant.insert(client);
                None
            }
        });
        if let Some(client) = refused {
            return Err(RegisterError::DuplicateId { id, sender: client.member.sender });
        }
        debug!(client = %id, "registered");
        Ok(())
    }

    /// Removes a client, and from its session too, as one step. `None` if it was not registered.
    ///
    /// `None` may also mean that a broadcast found its channel closed first: where every client that leaves must be
    /// heard of, set [`on_departure`](crate::RegistryBuilder::on_departure).
    ///
    /// # Locking
    /// The client's shard, then its session's.
    pub fn unregister_client(&self, id: ClientId) -> Option<Unregistered<M>> {
        self.unregister_if(id, |_| true)
    }

    /// Removes every client, one after another, and says how many. A client that registers while this runs may or may
    /// not be among them.
    ///
    /// # Locking
    /// Every client shard in turn for the list; then for each client its shard and its session's.
    pub fn unregister_all(&self) -> usize {
        self.clients().into_iter().filter(|client| self.unregister_client(*client).is_some()).count()
    }

    pub(super) fn unregister_if(
        &self,
        id: ClientId,
        only_if: impl FnOnce(&ClientRecord<M>) -> bool,
    ) -> Option<Unregistered<M>> {
        use std::collections::hash_map::Entry;

        let mut retired = Retired::default();
        let key = self.inner.clients.key(id);
        let (client, detached) = self.inner.clients.with(&key, |clients| {
            let Entry::Occupied(entry) = clients.entry(key) else { return None };
            if !only_if(entry.get()) {
                return None;
            }
            let client = entry.remove();
            let detached = client.attached.map(|session| self.leave(session, &client.member, &mut retired));
            Some((client, detached))
        })?;
        drop(retired);
        debug!(client = %id, "unregistered");
        if let Some(departures) = &self.inner.departures {
            departures.tell(self, Departure { client: id, detached });
        }
        Some(Unregistered { entry: client.into_entry(), detached })
    }

    /// The client as it stands now, with a handle on its queue. `None` if it is not registered.
    ///
    /// # Locking
    /// The client's shard.
    #[must_use]
    pub fn get_client(&self, id: ClientId) -> Option<ClientEntry<M>> {
        let key = self.inner.clients.key(id);
        self.inner.clients.with(&key, |clients| clients.get(&key).map(ClientRecord::entry))
    }

    /// How many messages the client was skipped because its queue was full; counting starts again at 0. `None` if it is
    /// not registered.
    ///
    /// # Locking
    /// The client's shard.
    pub fn take_skipped(&self, id: ClientId) -> Option<u64> {
        let key = self.inner.clients.key(id);
        let take = |client: &ClientRecord<M>| client.member.shared.take_skipped();
        self.inner.clients.with(&key, |clients| clients.get(&key).map(take))
    }

    /// The ids of registered clients, in no particular order. A client that comes or goes while this looks may or may
    /// not be among them.
    ///
    /// # Locking
    /// Every client shard in turn.
    #[must_use]
    pub fn clients(&self) -> Vec<ClientId> {
        let mut all = Vec::new();
        self.inner.clients.each(|_, clients| all.extend(clients.keys().map(|key| key.id)));
        all
    }

    /// How many clients are registered.
    ///
    /// # Locking
    /// Every client shard in turn.
    #[must_use]
    pub fn client_count(&self) -> usize {
        let mut count = 0;
        self.inner.clients.each(|_, clients| count += clients.len());
        count
    }
}

/// A registration that ends with its scope, from [`ClientRegistry::register_guarded`].
///
/// Dropping the guard unregisters the client, however the scope was left: by return, by `?`, by a panic. It takes out
/// its own registration only: if the client was unregistered and its id registered again, the newer one stays.
///
/// A broadcast that finds the client's channel closed may take it out before the guard does. To hear of every client
/// that leaves, set [`on_departure`](crate::RegistryBuilder::on_departure).
#[must_use = "dropping the guard unregisters the client"]
pub struct ClientGuard<M> {
    registry: ClientRegistry<M>,
    id: ClientId,
    shared: Arc<ClientShared>,
}

impl<M> ClientGuard<M> {
    /// The client this guard stands for.
    #[must_use]
    pub fn id(&self) -> ClientId {
        self.id
    }

    /// Unregisters the client now, and returns what that took out. `None` if the registration has ended already.
    ///
    /// # Locking
    /// The client's shard, then its session's.
    pub fn unregister(self) -> Option<Unregistered<M>> {
        // The drop that follows finds nothing.
        self.take_out()
    }

    fn take_out(&self) -> Option<Unregistered<M>> {
        let is_ours = |client: &ClientRecord<M>| Arc::ptr_eq(&client.member.shared, &self.shared);
        self.registry.unregister_if(self.id, is_ours)
    }
}

impl<M> Drop for ClientGuard<M> {
    fn drop(&mut self) {
        self.take_out();
    }
}

impl<M> fmt::Debug for ClientGuard<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientGuard").field("id", &self.id).finish_non_exhaustive()
    }
}
