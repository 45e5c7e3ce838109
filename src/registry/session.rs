//! One session: who watches it, and the shared roster a broadcast goes through.
//!
//! `members` answers who; the *roster* holds the same clients' senders at the same positions. A roster is immutable
//! while anyone else holds it: a broadcast clones one `Arc` under the lock, and a [`Publisher`](super::Publisher)
//! keeps its clone until the session's generation moves on. (nats-server caches a subject's subscribers this way.)
//!
//! The roster is a spine of small chunks, so that a change copies the spine and one or two chunks rather than every
//! sender, and nothing at all while it is unshared. Cloning a sender costs atomic operations on the receiver's own
//! lines; this pays them when membership changes and never per broadcast. Neither joining nor leaving looks at more
//! than a chunk or two, whatever the session's size.

use smallvec::SmallVec;

use super::{
    shard::Map,
    stats::{Skipped, Totals},
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
    pub(super) skipped: Arc<Skipped>,
}

impl<M> Clone for Slot<M> {
    fn clone(&self) -> Self {
        Self { id: self.id, sender: self.sender.clone(), skipped: Arc::clone(&self.skipped) }
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
}

impl<M> Clone for Roster<M> {
    fn clone(&self) -> Self {
        Self { chunks: self.chunks.clone() }
    }
}

/// What a change of membership took out of the maps.
///
/// It may hold the last handle on a channel, and dropping that wakes the receiver: so it leaves the critical section
/// and drops after the unlock. A re-attach takes the most: two rosters, two chunks of the session it leaves and one of
/// the session it enters.
pub(super) struct Retired<M> {
    rosters: SmallVec<[Arc<Roster<M>>; 2]>,
    chunks: SmallVec<[Arc<Chunk<M>>; 3]>,
    slot: Option<Slot<M>>,
    session: Option<Session<M>>,
}

impl<M> Default for Retired<M> {
    fn default() -> Self {
        Self { rosters: SmallVec::new(), chunks: SmallVec::new(), slot: None, session: None }
    }
}

/// The session map's value.
pub(super) struct Session<M> {
    members: SmallVec<[ClientId; 4]>,
    /// Where each member stands, kept once `members` has spilled: leaving must not search ten thousand.
    positions: Option<Map<ClientId, usize>>,
    roster: Arc<Roster<M>>,
    generation: Arc<AtomicU64>,
    /// The delivery counts of the publishers that are alive.
    publishers: SmallVec<[Arc<Totals>; 1]>,
}

impl<M> Session<M> {
    fn new() -> Self {
        Self {
            members: SmallVec::new(),
            positions: None,
            roster: Arc::new(Roster { chunks: Vec::new() }),
            generation: Arc::new(AtomicU64::new(0)),
            publishers: SmallVec::new(),
        }
    }

    pub(super) fn members(&self) -> &[ClientId] {
        &self.members
    }

    pub(super) fn roster(&self) -> Arc<Roster<M>> {
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

    /// Adds a client that is not a member yet.
    fn join(&mut self, slot: Slot<M>, retired: &mut Retired<M>) {
        let position = self.members.len();
        self.members.push(slot.id);
        if let Some(positions) = &mut self.positions {
            positions.insert(slot.id, position);
        } else if self.members.spilled() {
            self.positions = Some(self.members.iter().enumerate().map(|(at, id)| (*id, at)).collect());
        }

        let chunks = &mut unshare_roster(&mut self.roster, retired).chunks;
        match chunks.get_mut(position / CHUNK) {
            Some(chunk) => unshare_chunk(chunk, retired).0.push(slot),
            None => chunks.push(Arc::new(Chunk(vec![slot]))),
        }
        self.changed();
    }

    /// Takes a member out; the last one takes its place.
    fn leave(&mut self, client: ClientId, retired: &mut Retired<M>) {
        let position = match &mut self.positions {
            Some(positions) => positions.remove(&client),
            None => self.members.iter().position(|member| *member == client),
        };
        let Some(position) = position else {
            debug_assert!(false, "{client} left a session it is not a member of");
            return;
        };
        self.members.swap_remove(position);
        if let (Some(positions), Some(moved)) = (&mut self.positions, self.members.get(position)) {
            positions.insert(*moved, position);
        }

        let chunks = &mut unshare_roster(&mut self.roster, retired).chunks;
        let last = chunks.last_mut().and_then(|chunk| unshare_chunk(chunk, retired).0.pop());
        if chunks.last().is_some_and(|chunk| chunk.0.is_empty()) {
            chunks.pop();
        }
        retired.slot = match chunks.get_mut(position / CHUNK) {
            Some(chunk) if position < self.members.len() => {
                let slot = &mut unshare_chunk(chunk, retired).0[position % CHUNK];
                last.map(|last| std::mem::replace(slot, last))
            }
            _ => last,
        };
        self.changed();
    }

    /// Tells publishers that their cached roster is out of date.
    fn changed(&self) {
        // Release: a publisher that sees the new generation also sees what its holder did before it attached.
        self.generation.fetch_add(1, Ordering::Release);
    }
}

/// Adds a client to `session`, which comes into being with its first member, and says how many members there are.
pub(super) fn join<M>(
    sessions: &mut Map<SessionId, Session<M>>,
    session: SessionId,
    slot: Slot<M>,
    retired: &mut Retired<M>,
) -> usize {
    let entry = entry(sessions, session);
    entry.join(slot, retired);
    entry.members.len()
}

/// Takes a client out of `session`, which goes with the last of its members and publishers, and says how many members
/// are left.
pub(super) fn leave<M>(
    sessions: &mut Map<SessionId, Session<M>>,
    session: SessionId,
    client: ClientId,
    retired: &mut Retired<M>,
) -> usize {
    let Some(entry) = sessions.get_mut(&session) else {
        debug_assert!(false, "{client} is attached to a session that has no entry");
        return 0;
    };
    entry.leave(client, retired);
    let members = entry.members.len();
    remove_if_unused(sessions, session, retired);
    members
}

/// Finds or makes the entry of `session`.
pub(super) fn entry<M>(sessions: &mut Map<SessionId, Session<M>>, session: SessionId) -> &mut Session<M> {
    sessions.entry(session).or_insert_with(Session::new)
}

/// Takes a publisher out of `session`, which goes with the last of its members and publishers.
pub(super) fn remove_publisher<M>(
    sessions: &mut Map<SessionId, Session<M>>,
    session: SessionId,
    totals: &Arc<Totals>,
    retired: &mut Retired<M>,
) {
    if let Some(entry) = sessions.get_mut(&session) {
        entry.publishers.retain(|other| !Arc::ptr_eq(other, totals));
    }
    remove_if_unused(sessions, session, retired);
}

fn remove_if_unused<M>(
    sessions: &mut Map<SessionId, Session<M>>,
    session: SessionId,
    retired: &mut Retired<M>,
) {
    if sessions.get(&session).is_some_and(|entry| entry.members.is_empty() && entry.publishers.is_empty()) {
        retired.session = sessions.remove(&session);
    }
}

/// The roster for writing: in place while nobody else holds it, else a copy takes its place and the old one retires.
fn unshare_roster<'a, M>(roster: &'a mut Arc<Roster<M>>, retired: &mut Retired<M>) -> &'a mut Roster<M> {
    if Arc::get_mut(roster).is_none() {
        let copy = Arc::new(Roster::clone(roster));
        retired.rosters.push(std::mem::replace(roster, copy));
    }
    Arc::make_mut(roster)
}

/// A chunk for writing, as [`unshare_roster`].
fn unshare_chunk<'a, M>(chunk: &'a mut Arc<Chunk<M>>, retired: &mut Retired<M>) -> &'a mut Chunk<M> {
    if Arc::get_mut(chunk).is_none() {
        let copy = Arc::new(Chunk::clone(chunk));
        retired.chunks.push(std::mem::replace(chunk, copy));
    }
    Arc::make_mut(chunk)
}
