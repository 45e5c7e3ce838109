//! A client as its own entry, its session and broadcasts hold it.

use crate::{
    ClientId,
    sync::{self, Arc, AtomicU64, AtomicUsize, Ordering, Sender},
};

/// A client's entry in a roster, and in the client map for messages to it alone.
pub(super) struct Member<M> {
    pub(super) id: ClientId,
    pub(super) sender: Sender<M>,
    pub(super) shared: Arc<ClientShared>,
}

impl<M> Clone for Member<M> {
    fn clone(&self) -> Self {
        Self { id: self.id, sender: self.sender.clone(), shared: Arc::clone(&self.shared) }
    }
}

/// What the client's map entry shares with the rosters the client is in. Its address also tells one registration from
/// a later one under the same id.
///
/// No two clients' counts are on one cache line, for broadcasts of several sessions may count at once: with the counts
/// of its `Arc` it is as large as a line. It is not aligned to one, which allocators do slowly.
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

    pub(super) fn skipped(&self) -> u64 {
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
