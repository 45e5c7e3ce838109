//! One session: who watches it, and the shared roster a broadcast goes through.
//!
//! `members` answers who; the *roster* holds the same clients' senders at the same positions. A roster is immutable
//! while anyone else holds it: a broadcast clones one `Arc` under the lock, and a [`Publisher`](super::Publisher)
//! keeps its clone until the session's generation moves on. (nats-server caches a subject's subscribers this way.)
//!
//! The roster is a spine of small chunks, so that a change copies the spine and one or two chunks rather than every
//! sender, and nothing at all while it is unshared. Those who joined since the last broadcast are not in it yet: the
//! next one moves them in. Cloning a sender costs atomic operations on lines of its channel; so each client has a slot
//! for rosters made when it registers, and it is moved. Neither joining nor leaving looks at more than a chunk or two,
//! whatever the session's size.

use smallvec::SmallVec;

use super::{
    client::Registration,
    shard::{Key, Map},
    stats::Totals,
};
use crate::{
    ClientId, SessionId,
    sync::{Arc, AtomicU64, Ordering, Sender},
};

/// Members per chunk of a roster: a copy of one stays near 1.5 KiB, and ten thousand members make a spine of 157.
const CHUNK: usize = 64;

/// A member as a broadcast sees it.
pub(super) struct Slot<M> {
    pub(super) id: ClientId,
    pub(super) sender: Sender<M>,
    pub(super) registration: Arc<Registration>,
}

impl<M> Clone for Slot<M> {
    fn clone(&self) -> Self {
        Self { id: self.id, sender: self.sender.clone(), registration: Arc::clone(&self.registration) }
    }
}

/// Up to [`CHUNK`] slots. All chunks of a roster but the last are full.
struct Chunk<M>(Vec<Slot<M>>);

impl<M> Clone for Chunk<M> {
    fn clone(&self) -> Self {
        // A copy is made in order to change it, most often to add one.
        let mut slots = Vec::with_capacity((self.0.len() + 1).next_power_of_two().min(CHUNK));
        slots.extend_from_slice(&self.0);
        Self(slots)
    }
}

/// The senders of one session's members.
pub(super) struct Roster<M> {
    chunks: Vec<Arc<Chunk<M>>>,
}

impl<M> Roster<M> {
    /// The members, in pieces.
    pub(super) fn chunks(&self) -> impl Iterator<Item = &[Slot<M>]> {
        self.chunks.iter().map(|chunk| chunk.0.as_slice())
    }

    pub(super) fn last(&self) -> Option<&Slot<M>> {
        self.chunks.last()?.0.last()
    }

    fn extend(&mut self, slots: impl ExactSizeIterator<Item = Slot<M>>, retired: &mut Retired<M>) {
        let mut slots = slots;
        if let Some(last) = self.chunks.last_mut().filter(|last| last.0.len() < CHUNK) {
            let last = &mut unshare(last, |old| retired.chunks.push(old)).0;
            last.extend(slots.by_ref().take(CHUNK - last.len()));
        }
        while slots.len() > 0 {
            self.chunks.push(Arc::new(Chunk(slots.by_ref().take(CHUNK).collect())));
        }
    }

    fn pop(&mut self, retired: &mut Retired<M>) -> Option<Slot<M>> {
        let last = &mut unshare(self.chunks.last_mut()?, |old| retired.chunks.push(old)).0;
        let slot = last.pop();
        if last.is_empty() {
            self.chunks.pop();
        }
        slot
    }

    /// Puts `slot` in the place of the one at `position`, which must be there.
    fn replace(&mut self, position: usize, slot: Slot<M>, retired: &mut Retired<M>) -> Slot<M> {
        let chunk = unshare(&mut self.chunks[position / CHUNK], |old| retired.chunks.push(old));
        std::mem::replace(&mut chunk.0[position % CHUNK], slot)
    }
}

impl<M> Default for Roster<M> {
    fn default() -> Self {
        Self { chunks: Vec::new() }
    }
}

impl<M> Clone for Roster<M> {
    fn clone(&self) -> Self {
        Self { chunks: self.chunks.clone() }
    }
}

/// What a change of membership took out of the maps.
///
/// It may hold the last handle on a channel, and dropping that wakes the receiver: so it leaves the critical section
/// and drops after the unlock.
pub(super) struct Retired<M> {
    roster: Option<Arc<Roster<M>>>,
    /// Leaving a session changes two chunks at most: the last one, and the one with the place that is left.
    chunks: SmallVec<[Arc<Chunk<M>>; 2]>,
    /// Boxed, for it is rare, and whoever leaves sets one of these up.
    session: Option<Box<Session<M>>>,
}

impl<M> Default for Retired<M> {
    fn default() -> Self {
        Self { roster: None, chunks: SmallVec::new(), session: None }
    }
}

/// The session map's value.
pub(super) struct Session<M> {
    /// In the roster's order; each one's registration knows its position.
    members: SmallVec<[ClientId; 4]>,
    roster: Arc<Roster<M>>,
    /// The slots of the newest members, which the roster gets once somebody broadcasts: until then, joining and leaving
    /// again costs no more than a push and a pop.
    newest: Vec<Slot<M>>,
    generation: Arc<AtomicU64>,
    /// The delivery counts of the publishers that are alive.
    publishers: SmallVec<[Arc<Totals>; 1]>,
}

impl<M> Session<M> {
    fn new() -> Self {
        Self {
            members: SmallVec::new(),
            roster: Arc::default(),
            newest: Vec::new(),
            generation: Arc::new(AtomicU64::new(0)),
            publishers: SmallVec::new(),
        }
    }

    pub(super) fn members(&self) -> &[ClientId] {
        &self.members
    }

    /// The roster, unless members joined since it was last asked for.
    pub(super) fn roster_as_it_is(&self) -> Option<Arc<Roster<M>>> {
        self.newest.is_empty().then(|| Arc::clone(&self.roster))
    }

    /// The roster, brought up to date: that moves slots, and clones none but those of one chunk.
    pub(super) fn roster(&mut self, retired: &mut Retired<M>) -> Arc<Roster<M>> {
        if !self.newest.is_empty() {
            let roster = unshare(&mut self.roster, |old| retired.roster = Some(old));
            roster.extend(self.newest.drain(..), retired);
            self.newest.shrink_to(CHUNK);
        }
        Arc::clone(&self.roster)
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
        slot.registration.set_position(self.members.len());
        self.members.push(slot.id);
        self.newest.push(slot);
        self.changed();
    }

    /// Takes a member out, and returns its slot; the last one takes its place.
    fn leave(&mut self, registration: &Registration, retired: &mut Retired<M>) -> Option<Slot<M>> {
        let position = registration.position();
        let in_roster = self.members.len() - self.newest.len();
        self.members.swap_remove(position);
        self.changed();
        if let Some(place) = position.checked_sub(in_roster) {
            let slot = self.newest.swap_remove(place);
            if let Some(moved) = self.newest.get(place) {
                moved.registration.set_position(position);
            }
            return Some(slot);
        }
        let roster = unshare(&mut self.roster, |old| retired.roster = Some(old));
        let last = self.newest.pop().or_else(|| roster.pop(retired))?;
        if position == self.members.len() {
            return Some(last);
        }
        last.registration.set_position(position);
        Some(roster.replace(position, last, retired))
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

/// Takes a client out of `session`, which goes with the last of its members and publishers; returns the client's slot,
/// and how many members are left.
pub(super) fn leave<M>(
    sessions: &mut Map<SessionId, Session<M>>,
    session: Key<SessionId>,
    registration: &Registration,
    retired: &mut Retired<M>,
) -> (Option<Slot<M>>, usize) {
    let Some(entry) = sessions.get_mut(&session) else {
        debug_assert!(false, "a client is attached to a session that has no entry");
        return (None, 0);
    };
    let slot = entry.leave(registration, retired);
    debug_assert!(slot.as_ref().is_some_and(|slot| std::ptr::eq(&*slot.registration, registration)));
    let members = entry.members.len();
    if entry.is_unused() {
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

/// What is shared, for writing: in place while nobody else holds it, else a copy takes its place and the old one
/// retires.
fn unshare<T: Clone>(shared: &mut Arc<T>, retire: impl FnOnce(Arc<T>)) -> &mut T {
    // Handles are made under the session's lock, which our caller holds, and dropped anywhere. So if there is one,
    // there will be no second; and where there are more, there may be fewer by now.
    if Arc::strong_count(shared) > 1 {
        let copy = Arc::new(T::clone(shared));
        retire(std::mem::replace(shared, copy));
    }
    Arc::make_mut(shared)
}
