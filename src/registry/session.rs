//! One session: who watches it, and the roster that a broadcast to them walks.
//!
//! `members` has their ids, and the [roster](Roster) their senders at the same positions. A broadcast clones one `Arc`
//! under the lock, and a [`Publisher`](super::Publisher) keeps its clone until the session's generation moves on.
//! (nats-server caches a subject's subscribers this way.)

use smallvec::SmallVec;

use super::{
    member::{ClientShared, Member},
    roster::{Replaced, Roster},
    shard::{Key, Map},
    stats::Totals,
};
use crate::{
    ClientId, SessionId,
    sync::{Arc, AtomicU64, Ordering},
};

/// What a change of membership took out of the maps.
///
/// It may hold the last handle on a channel, and dropping that wakes the receiver. So it leaves the critical section
/// and drops after the unlock.
pub(super) struct Retired<M> {
    replaced: Replaced<M>,
    member: Option<Member<M>>,
    /// Boxed, because it is rare, and every leave sets one of these up.
    session: Option<Box<SessionRecord<M>>>,
}

impl<M> Default for Retired<M> {
    fn default() -> Self {
        Self { replaced: Replaced::default(), member: None, session: None }
    }
}

/// The session map's value.
pub(super) struct SessionRecord<M> {
    /// What clients share with their members knows the position of each.
    members: SmallVec<[ClientId; 4]>,
    roster: Arc<Roster<M>>,
    generation: Arc<AtomicU64>,
    /// The delivery counts of the publishers that are alive.
    publishers: SmallVec<[Arc<Totals>; 1]>,
}

impl<M> SessionRecord<M> {
    fn new() -> Self {
        Self {
            members: SmallVec::new(),
            roster: Arc::default(),
            generation: Arc::new(AtomicU64::new(0)),
            publishers: SmallVec::new(),
        }
    }

    pub(super) fn members(&self) -> &[ClientId] {
        &self.members
    }

    /// What a broadcast walks.
    pub(super) fn roster(&self) -> &Arc<Roster<M>> {
        &self.roster
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
    fn join(&mut self, member: Member<M>, retired: &mut Retired<M>) {
        member.shared.set_position(self.members.len());
        self.members.push(member.id);
        Roster::push(&mut self.roster, member, &mut retired.replaced);
        self.changed();
    }

    /// Takes a member out. The last member takes its place.
    fn leave(&mut self, client: &ClientShared, retired: &mut Retired<M>) -> Option<Member<M>> {
        let position = client.position();
        self.members.swap_remove(position);
        self.changed();
        Roster::swap_remove(&mut self.roster, position, &mut retired.replaced)
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
    sessions: &mut Map<SessionId, SessionRecord<M>>,
    session: Key<SessionId>,
    member: Member<M>,
    retired: &mut Retired<M>,
) -> usize {
    let entry = entry(sessions, session);
    entry.join(member, retired);
    entry.members.len()
}

/// Removes `client` from `session`, and returns how many members are left. The session goes with the last of its
/// members and publishers.
pub(super) fn leave<M>(
    sessions: &mut Map<SessionId, SessionRecord<M>>,
    session: Key<SessionId>,
    client: &Member<M>,
    retired: &mut Retired<M>,
) -> usize {
    let Some(entry) = sessions.get_mut(&session) else {
        debug_assert!(false, "{} is attached to a session that is not there", client.id);
        return 0;
    };
    let member = entry.leave(&client.shared, &mut *retired);
    debug_assert!(member.as_ref().is_some_and(|member| Arc::ptr_eq(&member.shared, &client.shared)));
    let (members, is_unused) = (entry.members.len(), entry.is_unused());
    if is_unused {
        remove(sessions, session, retired);
    }
    retired.member = member;
    members
}

/// Finds or makes the entry of `session`.
pub(super) fn entry<M>(
    sessions: &mut Map<SessionId, SessionRecord<M>>,
    session: Key<SessionId>,
) -> &mut SessionRecord<M> {
    sessions.entry(session).or_insert_with(SessionRecord::new)
}

/// Takes a publisher out of `session`, which goes with the last of its members and publishers.
pub(super) fn remove_publisher<M>(
    sessions: &mut Map<SessionId, SessionRecord<M>>,
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

fn remove<M>(
    sessions: &mut Map<SessionId, SessionRecord<M>>,
    session: Key<SessionId>,
    retired: &mut Retired<M>,
) {
    retired.session = sessions.remove(&session).map(Box::new);
}
