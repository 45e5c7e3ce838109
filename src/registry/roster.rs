//! The senders of a session's members, as a broadcast goes through them.
//!
//! A roster is immutable while anyone else holds it. It is a spine of small chunks, so that a change copies the spine
//! and one or two chunks rather than every sender, and nothing at all while it is unshared. Those who joined since the
//! last broadcast are not in it yet: the next one moves them in, by whole chunks. Neither joining nor leaving looks at
//! more than a chunk or two, whatever the session's size.

use smallvec::SmallVec;

use super::slot::Slot;
use crate::sync::Arc;

/// Members per chunk of a roster: a copy of one stays near 1.5 KiB, and ten thousand members make a spine of 157.
const CHUNK: usize = 64;

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

    /// Takes over those who joined last. That moves slots, and clones none but those of one chunk.
    fn extend(&mut self, newest: &mut Newest<M>, retired: &mut RetiredSlots<M>) {
        let mut full = newest.full.drain(..);
        if let Some(last) = self.chunks.last_mut().filter(|last| last.0.len() < CHUNK) {
            let last = &mut unshare(last, |old| retired.chunks.push(old)).0;
            match full.next() {
                Some(first) => last.extend(first.0),
                None => last.append(&mut newest.tail),
            }
        }
        self.chunks.extend(full.map(Arc::new));
        if !newest.tail.is_empty() {
            self.chunks.push(Arc::new(Chunk(std::mem::take(&mut newest.tail))));
        }
    }

    fn pop(&mut self, retired: &mut RetiredSlots<M>) -> Option<Slot<M>> {
        let last = &mut unshare(self.chunks.last_mut()?, |old| retired.chunks.push(old)).0;
        let slot = last.pop();
        if last.is_empty() {
            self.chunks.pop();
        }
        slot
    }

    fn at(&mut self, position: usize, retired: &mut RetiredSlots<M>) -> &mut Slot<M> {
        let chunk = unshare(&mut self.chunks[position / CHUNK], |old| retired.chunks.push(old));
        &mut chunk.0[position % CHUNK]
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

/// The members' slots, in the order of their positions.
pub(super) struct Slots<M> {
    roster: Arc<Roster<M>>,
    newest: Newest<M>,
}

/// The slots of the newest members, which the roster gets once somebody broadcasts: until then, joining and leaving
/// again costs no more than a push and a pop.
struct Newest<M> {
    /// Cut where the roster's chunks are, so that it may have them as they are.
    full: Vec<Chunk<M>>,
    /// The last ones. Empty if there are none at all.
    tail: Vec<Slot<M>>,
    /// The positions of the first slot and of the tail's first.
    start: usize,
    tail_start: usize,
}

/// What changes took out of a session's slots; see [`Retired`](super::session::Retired).
pub(super) struct RetiredSlots<M> {
    roster: Option<Arc<Roster<M>>>,
    /// Leaving changes two chunks at most: the last one, and the one with the place that is left.
    chunks: SmallVec<[Arc<Chunk<M>>; 2]>,
}

impl<M> Default for RetiredSlots<M> {
    fn default() -> Self {
        Self { roster: None, chunks: SmallVec::new() }
    }
}

impl<M> Slots<M> {
    pub(super) fn new() -> Self {
        Self {
            roster: Arc::default(),
            newest: Newest { full: Vec::new(), tail: Vec::new(), start: 0, tail_start: 0 },
        }
    }

    /// The roster, unless members joined since it was last asked for.
    pub(super) fn roster_as_it_is(&self) -> Option<Arc<Roster<M>>> {
        self.newest.is_empty().then(|| Arc::clone(&self.roster))
    }

    /// The roster, brought up to date.
    pub(super) fn roster(&mut self, retired: &mut RetiredSlots<M>) -> Arc<Roster<M>> {
        if !self.newest.is_empty() {
            let roster = unshare(&mut self.roster, |old| retired.roster = Some(old));
            roster.extend(&mut self.newest, retired);
        }
        Arc::clone(&self.roster)
    }

    /// Adds a slot at `position`, behind all others.
    pub(super) fn push(&mut self, position: usize, slot: Slot<M>) {
        slot.registration.set_position(position);
        self.newest.push(position, slot);
    }

    /// Takes out the slot at `position`, for which the last one makes up.
    pub(super) fn swap_remove(&mut self, position: usize, retired: &mut RetiredSlots<M>) -> Option<Slot<M>> {
        if self.newest.is_empty() || position < self.newest.start {
            return self.swap_remove_from_roster(position, retired);
        }
        let last = self.newest.pop()?;
        if last.registration.position() == position {
            return Some(last);
        }
        last.registration.set_position(position);
        Some(std::mem::replace(self.newest.at(position), last))
    }

    fn swap_remove_from_roster(&mut self, position: usize, retired: &mut RetiredSlots<M>) -> Option<Slot<M>> {
        let roster = unshare(&mut self.roster, |old| retired.roster = Some(old));
        let last = self.newest.pop().or_else(|| roster.pop(retired))?;
        if last.registration.position() == position {
            return Some(last);
        }
        last.registration.set_position(position);
        Some(std::mem::replace(roster.at(position, retired), last))
    }
}

impl<M> Newest<M> {
    fn is_empty(&self) -> bool {
        self.tail.is_empty()
    }

    #[inline]
    fn push(&mut self, position: usize, slot: Slot<M>) {
        if self.is_empty() {
            self.start = position;
            self.tail_start = position;
        } else if position.is_multiple_of(CHUNK) {
            self.full.push(Chunk(std::mem::replace(&mut self.tail, Vec::with_capacity(CHUNK))));
            self.tail_start = position;
        }
        self.tail.push(slot);
    }

    #[inline]
    fn pop(&mut self) -> Option<Slot<M>> {
        let slot = self.tail.pop();
        if self.tail.is_empty()
            && let Some(before) = self.full.pop()
        {
            self.tail = before.0;
            self.tail_start -= self.tail.len();
        }
        slot
    }

    fn at(&mut self, position: usize) -> &mut Slot<M> {
        if let Some(place) = position.checked_sub(self.tail_start) {
            return &mut self.tail[place];
        }
        let chunk = position / CHUNK - self.start / CHUNK;
        let before = if chunk == 0 { self.start % CHUNK } else { 0 };
        &mut self.full[chunk].0[position % CHUNK - before]
    }
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
