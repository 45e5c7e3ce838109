//! One session: who watches it, and the slots that a broadcast to them goes through.
//!
//! `members` answers who; the [slots](Slots) hold the same clients' senders at the same positions. A broadcast clones
//! one `Arc` under the lock, and a [`Publisher`](super::Publisher) keeps its clone until the session's generation moves
//! on. (nats-server caches a subject's subscribers this way.)
//!
//! Cloning a sender costs atomic operations on lines of its channel; so each client has a slot for sessions made when
//! it registers, and it is moved.

use smallvec::SmallVec;

use super::{
    roster::{RetiredSlots, Roster, Slots},
    shard::{Key, Map},
    slot::{Registration, Slot},
    stats::Totals,
};
use crate::{
    ClientId, SessionId,
    sync::{Arc, AtomicU64, Ordering},
};

/// What a change of membership took out of the maps.
///
/// It may hold the last handle on a channel, and dropping that wakes the receiver: so it leaves the critical section
/// and drops after the unlock.
pub(super) struct Retired<M> {
    slots: RetiredSlots<M>,
    /// Boxed, for it is rare, and whoever leaves sets one of these up.
    session: Option<Box<Session<M>>>,
}

impl<M> Default for Retired<M> {
    fn default() -> Self {
        Self { slots: RetiredSlots::default(), session: None }
    }
}

/// The session map's value.
pub(super) struct Session<M> {
    /// Each one's registration knows its position.
    members: SmallVec<[ClientId; 4]>,
    slots: Slots<M>,
    generation: Arc<AtomicU64>,
    /// The delivery counts of the publishers that are alive.
    publishers: SmallVec<[Arc<Totals>; 1]>,
}

impl<M> Session<M> {
    fn new() -> Self {
        Self {
            members: SmallVec::new(),
            slots: Slots::new(),
            generation: Arc::new(AtomicU64::new(0)),
            publishers: SmallVec::new(),
        }
    }

    pub(super) fn members(&self) -> &[ClientId] {
        &self.members
    }

    /// What a broadcast goes through, unless members joined since the last one.
    pub(super) fn roster_as_it_is(&self) -> Option<Arc<Roster<M>>> {
        self.slots.roster_as_it_is()
    }

    /// What a broadcast goes through, with whoever joined since the last one.
    pub(super) fn roster(&mut self, retired: &mut Retired<M>) -> Arc<Roster<M>> {
        self.slots.roster(&mut retired.slots)
    }

    pub(super) fn generation(&self) -> &Arc<AtomicU64> {
        &self.generation
    }

    pub(super) fn publishers(&self) -> &[Arc<Totals>] {
        &self.publishers
    }

    pub(super) fn add_publisher(&mut self, totals: Arc<Totals>) {
        self.publishers.push(totals);
    }

    fn is_unused(&self) -> bool {
        self.members.is_empty() && self.publishers.is_empty()
    }

    /// Adds a client that is not a member yet.
    fn join(&mut self, slot: Slot<M>) {
        let position = self.members.len();
        self.members.push(slot.id);
        self.slots.push(position, slot);
        self.changed();
    }

    /// Takes a member out, and returns its slot; the last one takes its place.
    fn leave(&mut self, registration: &Registration, retired: &mut Retired<M>) -> Option<Slot<M>> {
        let position = registration.position();
        self.members.swap_remove(position);
        self.changed();
        self.slots.swap_remove(position, &mut retired.slots)
    }

    /// Tells publishers that their cached roster is out of date.
    fn changed(&self) {
        // Relaxed: it changes under the session's lock only.
        let generation = self.generation.load(Ordering::Relaxed);
        // Release: a publisher that sees the new generation also sees what its holder did before it attached.
        self.generation.store(generation + 1, Ordering::Release);
    }
}

/// Adds a client to `session`, which comes into being with its first member, and says how many members there are.
pub(super) fn join<M>(
    sessions: &mut Map<SessionId, Session<M>>,
    session: Key<SessionId>,
    slot: Slot<M>,
) -> usize {
    let entry = entry(sessions, session);
    entry.join(slot);
    entry.members.len()
}

/// Takes a client, of which this is another slot, out of `session`, which goes with the last of its members and
/// publishers; returns the client's slot there, and how many members are left.
pub(super) fn leave<M>(
    sessions: &mut Map<SessionId, Session<M>>,
    session: Key<SessionId>,
    client: &Slot<M>,
    retired: &mut Retired<M>,
) -> (Slot<M>, usize) {
    let left = sessions.get_mut(&session).and_then(|entry| {
        let slot = entry.leave(&client.registration, &mut *retired)?;
        Some((slot, entry.members.len(), entry.is_unused()))
    });
    let Some((slot, members, is_unused)) = left else {
        debug_assert!(false, "{} is attached to a session that does not have it", client.id);
        return (client.clone(), 0);
    };
    debug_assert!(Arc::ptr_eq(&slot.registration, &client.registration));
    if is_unused {
        remove(sessions, session, retired);
    }
    (slot, members)
}

/// Finds or makes the entry of `session`.
pub(super) fn entry<M>(
    sessions: &mut Map<SessionId, Session<M>>,
    session: Key<SessionId>,
) -> &mut Session<M> {
    sessions.entry(session).or_insert_with(Session::new)
}

/// Takes a publisher out of `session`, which goes with the last of its members and publishers.
pub(super) fn remove_publisher<M>(
    sessions: &mut Map<SessionId, Session<M>>,
    session: Key<SessionId>,
    totals: &Arc<Totals>,
    retired: &mut Retired<M>,
) {
    let Some(entry) = sessions.get_mut(&session) else { return };
    entry.publishers.retain(|other| !Arc::ptr_eq(other, totals));
    if entry.is_unused() {
        remove(sessions, session, retired);
    }
}

fn remove<M>(sessions: &mut Map<SessionId, Session<M>>, session: Key<SessionId>, retired: &mut Retired<M>) {
    retired.session = sessions.remove(&session).map(Box::new);
}
