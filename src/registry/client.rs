//! What the registry holds for one client, and what it shows of it.

use std::fmt;

use super::{ClientRegistry, Unregistered, roster::Member};
use crate::{
    ClientId, SessionId,
    sync::{self, Arc, AtomicU64, AtomicUsize, Ordering, Sender},
};

/// The client map's value.
pub(super) struct Client<M> {
    /// The client's entry, of which the session that it watches has a clone.
    pub(super) member: Member<M>,
    pub(super) attached: Option<SessionId>,
}

/// What the client's map entry shares with the rosters the client is in. Its address also tells one registration from
/// a later one under the same id.
///
/// No two clients' counts are on one cache line, for broadcasts of several sessions may count at once: with the counts of
/// its `Arc` it is as large as a line. It is not aligned to one, which allocators do slowly.
#[derive(Debug, Default)]
pub(super) struct ClientShared {
    skipped: AtomicU64,
    position: AtomicUsize,
    _padding: [u64; 4],
}

impl ClientShared {
    /// Counts messages that the client was skipped because its queue was full.
    pub(super) fn add_skipped(&self, messages: u64) {
        // Relaxed, here and below: a count that orders nothing.
        self.skipped.fetch_add(messages, Ordering::Relaxed);
    }

    /// What was counted, which starts again at 0.
    pub(super) fn take_skipped(&self) -> u64 {
        self.skipped.swap(0, Ordering::Relaxed)
    }

    fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// Where the client stands among its session's members: kept here, so that leaving need not search ten thousand.
    pub(super) fn position(&self) -> usize {
        // Relaxed, here and below: read and written under the session's lock only.
        self.position.load(Ordering::Relaxed)
    }

    pub(super) fn set_position(&self, position: usize) {
        self.position.store(position, Ordering::Relaxed);
    }
}

impl Drop for ClientShared {
    fn drop(&mut self) {
        // The last handle on it: the client's senders go now, too, and what they free or wake is nothing for a lock.
        sync::assert_no_lock_is_held("a client was freed");
    }
}

/// A client as it stood when [`ClientRegistry::get_client`] or [`ClientRegistry::unregister_client`] looked at it.
///
/// The sender is a handle of its own: holding it keeps the channel open after the client was unregistered.
#[non_exhaustive]
pub struct ClientEntry<M> {
    /// A handle on the client's queue.
    pub sender: Sender<M>,
    /// The session the client watches.
    pub attached_session: Option<SessionId>,
    /// Messages the client was skipped because its queue was full, since it registered or since the last
    /// [`take_skipped`](crate::ClientRegistry::take_skipped).
    pub skipped: u64,
}

impl<M> Client<M> {
    pub(super) fn into_entry(self) -> ClientEntry<M> {
        let (attached_session, skipped) = (self.attached, self.member.shared.skipped());
        ClientEntry { sender: self.member.sender, attached_session, skipped }
    }

    pub(super) fn entry(&self) -> ClientEntry<M> {
        ClientEntry {
            sender: self.member.sender.clone(),
            attached_session: self.attached,
            skipped: self.member.shared.skipped(),
        }
    }
}

impl<M> Clone for ClientEntry<M> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), ..*self }
    }
}

impl<M> fmt::Debug for ClientEntry<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientEntry")
            .field("attached_session", &self.attached_session)
            .field("skipped", &self.skipped)
            .finish_non_exhaustive()
    }
}

/// A registration that ends with its scope, from [`ClientRegistry::register_guarded`].
///
/// Dropping the guard unregisters the client, however the scope was left: by return, by `?`, by a panic. It takes out
/// its own registration only: if the client was unregistered and its id registered again, the newer one stays.
///
/// A broadcast that finds the client's channel closed may take it out before the guard does. To hear of every client that leaves,
/// set [`on_departure`](crate::RegistryBuilder::on_departure).
#[must_use = "dropping the guard unregisters the client"]
pub struct ClientGuard<M> {
    registry: ClientRegistry<M>,
    id: ClientId,
    shared: Arc<ClientShared>,
}

impl<M> ClientGuard<M> {
    pub(super) fn new(registry: ClientRegistry<M>, id: ClientId, shared: Arc<ClientShared>) -> Self {
        Self { registry, id, shared }
    }

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
        let is_ours = |client: &Client<M>| Arc::ptr_eq(&client.member.shared, &self.shared);
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
