//! The senders of a session's members, as a broadcast goes through them.
//!
//! A roster is immutable while anyone else holds it. It is a spine of small chunks, so a change copies the spine and
//! one or two chunks instead of every sender, and copies nothing while the roster is unshared. No change looks at more
//! than two chunks, whatever the session's size.

use smallvec::{SmallVec, smallvec};

use super::member::Member;
use crate::sync::Arc;

/// Members per chunk of a roster: a copy of one stays near 1.5 KiB, and ten thousand members make a spine of 157.
const CHUNK: usize = 64;

/// Up to [`CHUNK`] members. All chunks of a roster but the last are full.
///
/// Most sessions of most programs have one member, which is in the allocation of the `Arc`.
struct MemberChunk<M>(SmallVec<[Member<M>; 1]>);

impl<M> Clone for MemberChunk<M> {
    fn clone(&self) -> Self {
        // A copy is made in order to change it, most often to add one.
        let mut members = SmallVec::with_capacity((self.0.len() + 1).next_power_of_two().min(CHUNK));
        members.extend(self.0.iter().cloned());
        Self(members)
    }
}

/// The members of one session, each at its position: its chunk is the position divided by [`CHUNK`].
pub(super) struct Roster<M> {
    chunks: SmallVec<[Arc<MemberChunk<M>>; 1]>,
}

/// Rosters and chunks that changes replaced. They may hold a channel's last sender, so they drop after the unlock.
pub(super) struct Replaced<M> {
    roster: Option<Arc<Roster<M>>>,
    /// Leaving changes two chunks at most: the last one, and the one with the place that is left.
    chunks: SmallVec<[Arc<MemberChunk<M>>; 2]>,
}

impl<M> Roster<M> {
    /// The members, in pieces.
    pub(super) fn chunks(&self) -> impl Iterator<Item = &[Member<M>]> {
        self.chunks.iter().map(|chunk| chunk.0.as_slice())
    }

    pub(super) fn last(&self) -> Option<&Member<M>> {
        self.chunks.last()?.0.last()
    }

    /// Adds a member at the end.
    pub(super) fn push(roster: &mut Arc<Self>, member: Member<M>, replaced: &mut Replaced<M>) {
        let chunks = &mut unshare(roster, |old| replaced.roster = Some(old)).chunks;
        match chunks.last_mut().filter(|last| last.0.len() < CHUNK) {
            Some(last) => unshare(last, |old| replaced.chunks.push(old)).0.push(member),
            None => chunks.push(Arc::new(MemberChunk(smallvec![member]))),
        }
    }

    /// Takes out the member at `position`. The last member takes its place.
    pub(super) fn swap_remove(
        roster: &mut Arc<Self>,
        position: usize,
        replaced: &mut Replaced<M>,
    ) -> Option<Member<M>> {
        let chunks = &mut unshare(roster, |old| replaced.roster = Some(old)).chunks;
        let tail = &mut unshare(chunks.last_mut()?, |old| replaced.chunks.push(old)).0;
        let last = tail.pop()?;
        if tail.is_empty() {
            chunks.pop();
        }
        if last.shared.position() == position {
            return Some(last);
        }
        last.shared.set_position(position);
        let chunk = unshare(&mut chunks[position / CHUNK], |old| replaced.chunks.push(old));
        Some(std::mem::replace(&mut chunk.0[position % CHUNK], last))
    }
}

impl<M> Default for Roster<M> {
    fn default() -> Self {
        Self { chunks: SmallVec::new() }
    }
}

impl<M> Clone for Roster<M> {
    fn clone(&self) -> Self {
        Self { chunks: self.chunks.clone() }
    }
}

impl<M> Default for Replaced<M> {
    fn default() -> Self {
        Self { roster: None, chunks: SmallVec::new() }
    }
}

/// What is shared, for writing: in place while nobody else holds it. Otherwise a copy takes its place, and `retire`
/// gets the old one.
fn unshare<T: Clone>(shared: &mut Arc<T>, retire: impl FnOnce(Arc<T>)) -> &mut T {
    // Handles are made under the session's lock, which our caller holds, and dropped anywhere. So if there is one,
    // there will be no second; and where there are more, there may be fewer by now.
    if Arc::strong_count(shared) > 1 {
        let copy = Arc::new(T::clone(shared));
        retire(std::mem::replace(shared, copy));
    }
    Arc::make_mut(shared)
}
