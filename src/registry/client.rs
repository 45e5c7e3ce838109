//! What the registry holds for one client, and what it shows of it.

use std::fmt;

use super::slot::Slot;
use crate::{SessionId, sync::Sender};

/// The client map's value.
pub(super) struct Client<M> {
    /// For messages to this client alone.
    pub(super) slot: Slot<M>,
    pub(super) seat: Seat<M>,
}

/// Where the client's slot for sessions is. It moves there and back, so that neither joining nor leaving touches the
/// channel.
pub(super) enum Seat<M> {
    /// Here: the client is attached to nothing.
    Free(Slot<M>),
    /// With the session that the client watches.
    In(SessionId),
}

/// A client as it stood when [`get_client`](crate::ClientRegistry::get_client) or
/// [`unregister_client`](crate::ClientRegistry::unregister_client) looked at it.
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
    pub(super) fn attached(&self) -> Option<SessionId> {
        match self.seat {
            Seat::Free(_) => None,
            Seat::In(session) => Some(session),
        }
    }

    pub(super) fn into_entry(self) -> ClientEntry<M> {
        let (attached_session, skipped) = (self.attached(), self.slot.registration.skipped());
        ClientEntry { sender: self.slot.sender, attached_session, skipped }
    }

    pub(super) fn entry(&self) -> ClientEntry<M> {
        ClientEntry {
            sender: self.slot.sender.clone(),
            attached_session: self.attached(),
            skipped: self.slot.registration.skipped(),
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
