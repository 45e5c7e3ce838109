//! What the registry holds for one client, what it shows of it, and the guard that takes it out again.

use std::fmt;

use super::{ClientRegistry, stats::Skipped};
use crate::{
    ClientId, SessionId,
    sync::{Arc, Sender},
};

/// The client map's value.
pub(super) struct Client<M> {
    pub(super) sender: Sender<M>,
    pub(super) attached: Option<SessionId>,
    /// Shared with the rosters the client is in. Its address also tells one registration from a later one under the
    /// same id.
    pub(super) skipped: Arc<Skipped>,
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
    /// Messages the client was skipped because its queue was full.
    pub skipped: u64,
}

impl<M> Client<M> {
    pub(super) fn entry(&self) -> ClientEntry<M> {
        ClientEntry {
            sender: self.sender.clone(),
            attached_session: self.attached,
            skipped: self.skipped.read(),
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
/// its own registration only: if the client was unregistered and its id registered anew, the newer one stays.
#[must_use = "dropping the guard unregisters the client"]
pub struct ClientGuard<M> {
    registry: ClientRegistry<M>,
    id: ClientId,
    registration: Arc<Skipped>,
}

impl<M> ClientGuard<M> {
    pub(super) fn new(registry: ClientRegistry<M>, id: ClientId, registration: Arc<Skipped>) -> Self {
        Self { registry, id, registration }
    }

    /// The client this guard stands for.
    #[must_use]
    pub fn id(&self) -> ClientId {
        self.id
    }
}

impl<M> Drop for ClientGuard<M> {
    fn drop(&mut self) {
        self.registry.unregister_if(self.id, |client| Arc::ptr_eq(&client.skipped, &self.registration));
    }
}

impl<M> fmt::Debug for ClientGuard<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientGuard").field("id", &self.id).finish_non_exhaustive()
    }
}
