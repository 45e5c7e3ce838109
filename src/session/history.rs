//! The log of one session: what its program printed, the readers of it, and how it ended, under one short lock.
//!
//! A ring of the very `Bytes` that are broadcast, so that holding it costs no second copy. It is bounded in bytes: the
//! oldest goes first, but never what a reader that may hold the program back still needs; the pump then stops reading
//! (see `pace`), so that the excess stays within one window.
//!
//! Attaching happens under the same lock as appending. So a reader's first byte is held when it is told about it, and
//! whoever compares its cursor with the head before it sleeps has missed nothing.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use super::pace::{self, Place};
use crate::{
    message::{ExitStatus, Pace, StartAt},
    sync::{Arc, AtomicU64, Mutex, Ordering, Rank, fence},
};

#[cfg(test)]
mod machine;
#[cfg(test)]
mod tests;

/// What a chunk is charged beyond its length: its entry in the ring and its allocation's overhead. So a program that
/// prints one byte at a time cannot hold more memory than the bound says.
const CHUNK_COST: usize = 128;

/// Neighbours are merged while together they are no larger than this, so that a stream of single bytes is held, and
/// later read, in pages rather than in bytes.
const MERGE_UP_TO: usize = 4096;

/// The most pieces one read hands out: what one vectored write takes, and a bound on the time under the lock.
pub(crate) const MAX_PIECES: usize = 64;

#[derive(Debug)]
pub(super) struct History {
    log: Mutex<Log>,
    limit: usize,
    window: u64,
    pace: Pace,
    /// The log's head, for who needs no more than a glance.
    head: AtomicU64,
    /// The hold that the pump waits for, once it had no room: whoever passes it wakes the pump.
    awaited: AtomicU64,
}

#[derive(Debug)]
struct Log {
    chunks: VecDeque<Chunk>,
    head: u64,
    /// Bytes held, with [`CHUNK_COST`] for each chunk.
    charged: usize,
    readers: Vec<Arc<Place>>,
    /// What the screen's model still needs; `u64::MAX` where there is none.
    floor: u64,
    /// How often the pump had to wait for the model.
    floor_waits: u64,
    ended: Option<ExitStatus>,
}

#[derive(Debug)]
struct Chunk {
    offset: u64,
    data: Bytes,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.offset + self.data.len() as u64
    }

    fn charge(&self) -> usize {
        self.data.len() + CHUNK_COST
    }
}

/// How far the log goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// The offset after the newest byte.
    pub(crate) head: u64,
    pub(crate) held_bytes: usize,
    /// How often the pump waited for the screen's model.
    pub(crate) model_waits: u64,
    pub(crate) ended: Option<ExitStatus>,
}

/// What a reader found at its cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// There was something.
    Data,
    /// The cursor is at the head.
    AtHead,
    /// The cursor is at the head, and the stream ends here.
    Ended(ExitStatus),
    /// What comes next is no longer held; this is the oldest that is.
    Evicted { oldest: u64 },
}

/// The byte to start at is not held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotHeld {
    pub(crate) offset: u64,
    pub(crate) oldest: u64,
    pub(crate) head: u64,
}

/// A reader's entry in the log.
#[derive(Debug)]
pub(crate) struct Reader {
    place: Arc<Place>,
    start: u64,
}

impl Reader {
    /// The offset of the first byte this reader gets.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// Returns whether that was a change.
    pub(super) fn set_holding(&self, holding: bool) -> bool {
        self.place.set_holding(holding)
    }
}

impl History {
    pub(super) fn new(limit: usize, pace: Pace) -> Self {
        let log = Log {
            chunks: VecDeque::new(),
            head: 0,
            charged: 0,
            readers: Vec::new(),
            floor: u64::MAX,
            floor_waits: 0,
            ended: None,
        };
        Self {
            log: Mutex::new(Rank::Leaf, log),
            limit,
            window: pace::window(limit),
            pace,
            head: AtomicU64::new(0),
            awaited: AtomicU64::new(0),
        }
    }

    /// Keeps what lies from `floor` on for the screen's model.
    pub(super) fn set_floor(&self, floor: u64) {
        self.with(|log| log.floor = floor);
    }

    /// Appends what the pump read, before it is broadcast, and returns the new head.
    pub(super) fn append(&self, data: &[Bytes]) -> u64 {
        // Freed after the unlock.
        let mut evicted = SmallVec::<[Chunk; 8]>::new();
        self.with(|log| {
            for data in data {
                let chunk = Chunk { offset: log.head, data: data.clone() };
                log.head = chunk.end();
                log.charged += chunk.charge();
                log.chunks.push_back(chunk);
                log.merge_small();
            }
            let keep = pace::hold(&log.readers, self.pace).unwrap_or(u64::MAX).min(log.floor);
            while log.charged > self.limit && log.chunks.front().is_some_and(|oldest| oldest.end() <= keep) {
                let Some(chunk) = log.chunks.pop_front() else { break };
                log.charged -= chunk.charge();
                evicted.push(chunk);
            }
            // Relaxed: it is for statistics, and for a look that the lock's holder repeats.
            self.head.store(log.head, Ordering::Relaxed);
            log.head
        })
    }

    /// Writes the final entry.
    pub(super) fn end(&self, status: ExitStatus) {
        self.with(|log| log.ended = Some(status));
    }

    /// How many bytes the pump may read now: a window past the hold, and half a history past the screen's model.
    ///
    /// With none for the readers' sake, it is woken once a part of the window is free again, and not by every byte
    /// they take: see [`advance`](Self::advance).
    pub(super) fn room(&self) -> u64 {
        self.with(|log| {
            let room = |from: u64, ahead: u64| (from + ahead).saturating_sub(log.head);
            let room_for_readers =
                || pace::hold(&log.readers, self.pace).map_or(u64::MAX, |hold| room(hold, self.window));
            let mut readers = room_for_readers();
            if readers == 0 {
                // Relaxed, for the fence orders it: this is said and then the cursors are looked at again; a reader says
                // where it is and then looks at this. So one of the two sees the other.
                self.awaited.store(pace::awaited(log.head, self.window), Ordering::Relaxed);
                fence(Ordering::SeqCst);
                readers = room_for_readers();
            }
            let floor = Some(log.floor).filter(|floor| *floor != u64::MAX);
            let model = floor.map_or(u64::MAX, |floor| room(floor, self.model_room()));
            if model == 0 && readers > 0 {
                log.floor_waits += 1;
            }
            readers.min(model)
        })
    }

    /// Says how far a reader is. Returns whether the pump may have been waiting for that.
    pub(super) fn advance(&self, reader: &Reader, cursor: u64) -> bool {
        let before = reader.place.advance(cursor);
        // See `room`.
        fence(Ordering::SeqCst);
        (before + 1..=cursor).contains(&self.awaited.load(Ordering::Relaxed))
    }

    /// How far the head may be past the screen's model, in bytes.
    pub(super) fn model_room(&self) -> u64 {
        self.limit as u64 / 2
    }

    pub(super) fn attach(&self, start: StartAt, lossless: bool) -> Result<Reader, NotHeld> {
        self.with(|log| {
            let (oldest, head) = (log.oldest(), log.head);
            let start = match start {
                StartAt::Now => head,
                StartAt::Oldest => oldest,
                StartAt::Last(bytes) => log.line_start(head.saturating_sub(bytes).max(oldest)),
                // Whoever is shown the screen says from which offset on.
                StartAt::Screen => head,
                StartAt::Offset(offset) if (oldest..=head).contains(&offset) => offset,
                StartAt::Offset(offset) => return Err(NotHeld { offset, oldest, head }),
            };
            let place = Arc::new(Place::new(start, log.readers.len(), lossless));
            log.readers.push(Arc::clone(&place));
            Ok(Reader { place, start })
        })
    }

    /// Where the newest `bytes` that are held begin, or the first line in them.
    pub(super) fn tail(&self, bytes: u64) -> u64 {
        self.with(|log| log.line_start(log.head.saturating_sub(bytes).max(log.oldest())))
    }

    /// Takes out a reader, which must be in.
    pub(super) fn detach(&self, reader: &Reader) {
        self.with(|log| {
            let at = reader.place.index();
            log.readers.swap_remove(at);
            if let Some(moved) = log.readers.get(at) {
                moved.set_index(at);
            }
        });
    }

    pub(super) fn read(&self, from: u64, max: usize, pieces: &mut Vec<Bytes>) -> Read {
        self.with(|log| {
            if from >= log.head {
                return log.ended.map_or(Read::AtHead, Read::Ended);
            }
            if from < log.oldest() {
                return Read::Evicted { oldest: log.oldest() };
            }
            let first = log.chunks.partition_point(|chunk| chunk.end() <= from);
            let (mut cursor, mut room) = (from, max);
            for chunk in log.chunks.range(first..) {
                let skip = usize::try_from(cursor - chunk.offset).unwrap_or(usize::MAX);
                let piece = chunk.data.slice(skip..chunk.data.len().min(skip.saturating_add(room)));
                cursor += piece.len() as u64;
                room -= piece.len();
                pieces.push(piece);
                if room == 0 || pieces.len() >= MAX_PIECES {
                    break;
                }
            }
            Read::Data
        })
    }

    /// The offset after the newest byte.
    pub(super) fn head(&self) -> u64 {
        self.head.load(Ordering::Relaxed)
    }

    pub(super) fn span(&self) -> Span {
        self.with(|log| Span {
            head: log.head,
            held_bytes: log.charged,
            model_waits: log.floor_waits,
            ended: log.ended,
        })
    }

    fn with<R>(&self, critical: impl FnOnce(&mut Log) -> R) -> R {
        self.log.with(critical)
    }
}

impl Log {
    fn oldest(&self) -> u64 {
        self.chunks.front().map_or(self.head, |chunk| chunk.offset)
    }

    /// Where the first line that begins at `from` or later begins; `from` itself where none does.
    fn line_start(&self, from: u64) -> u64 {
        if from == 0 {
            return 0;
        }
        let first = self.chunks.partition_point(|chunk| chunk.end() < from);
        self.chunks
            .range(first..)
            .find_map(|chunk| {
                // The byte before `from` may be the line feed.
                let skip = usize::try_from((from - 1).saturating_sub(chunk.offset)).unwrap_or(usize::MAX);
                let rest = chunk.data.get(skip..)?;
                let feed = rest.iter().position(|byte| *byte == b'\n')?;
                Some(chunk.offset + (skip + feed) as u64 + 1)
            })
            .filter(|start| *start < self.head)
            .unwrap_or(from)
    }

    /// Merges the last chunk into the one before while that is no larger, as in a binary counter: each byte is copied
    /// at most once per doubling.
    fn merge_small(&mut self) {
        while let Some(before) = self.chunks.len().checked_sub(2) {
            let (first, second) = (&self.chunks[before], &self.chunks[before + 1]);
            let length = first.data.len() + second.data.len();
            if first.data.len() > second.data.len() || length > MERGE_UP_TO {
                return;
            }
            let mut merged = BytesMut::with_capacity(length);
            merged.extend_from_slice(&first.data);
            merged.extend_from_slice(&second.data);
            let merged = Chunk { offset: first.offset, data: merged.freeze() };
            self.chunks.truncate(before);
            self.chunks.push_back(merged);
            self.charged -= CHUNK_COST;
        }
    }
}
