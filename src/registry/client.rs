//! What the registry holds for one client, and what it shows of it.

use std::fmt;

use super::member::Member;
use crate::{SessionId, sync::Sender};

/// The client map's value.
pub(super) struct ClientRecord<M> {
    /// The client's entry, of which the session that it watches has a clone.
    pub(super) member: Member<M>,
    pub(super) attached: Option<SessionId>,
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

impl<M> ClientRecord<M> {
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
