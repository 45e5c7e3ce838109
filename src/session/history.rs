//! The log of one session: what its program printed, the readers of it, and how it ended, under one short lock.
//!
//! A ring of the very `Bytes` that are broadcast, so that holding it costs no second copy. It is bounded in bytes: the
//! oldest goes first, but never what a reader that may hold the program back still needs; the pump then stops reading
//! (see `pace`), so that the excess stays within one window.
//!
//! Attaching happens under the same lock as appending. So a reader's first byte is held when it is told about it, and a
//! reader that compares its cursor with the head before it sleeps has missed nothing.
//!
//! The log also owns the pump's waker: whatever may give the pump room again goes through here, and wakes it.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use super::pace::{self, PumpWaker, ReaderCursor};
use crate::{
    message::{ExitStatus, OnLag, Pace, StartAt},
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

/// How far a line's beginning is looked for, in bytes. What prints no line feed in that has no lines to speak of.
const LONGEST_LINE: usize = 64 * 1024;

/// How much of the newest output a late joiner is shown where there is no model of the screen, in bytes.
const TAIL: u64 = 64 * 1024;

/// The most pieces one read hands out: what one vectored write takes, and a bound on the time under the lock.
pub(crate) const MAX_PIECES: usize = 64;

#[derive(Debug)]
pub(super) struct History {
    log: Mutex<Log>,
    limit: usize,
    window: u64,
    pace: Pace,
    /// The log's head, to be read without the lock.
    head: AtomicU64,
    /// The hold that the pump waits for, once it had no room: a reader that passes it wakes the pump.
    wake_at: AtomicU64,
    waker: PumpWaker,
}

#[derive(Debug)]
struct Log {
    chunks: VecDeque<LogChunk>,
    head: u64,
    /// Bytes held, with [`CHUNK_COST`] for each chunk.
    charged: usize,
    readers: Vec<Arc<ReaderCursor>>,
    /// What the screen's model still needs; `u64::MAX` where there is none.
    floor: u64,
    /// How often the pump had to wait for the model.
    floor_waits: u64,
    ended: Option<ExitStatus>,
}

#[derive(Debug)]
struct LogChunk {
    offset: u64,
    data: Bytes,
}

impl LogChunk {
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
    /// What comes next is no longer held, or never was; this is the oldest after it that is.
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
    place: Arc<ReaderCursor>,
    start: u64,
}

impl Reader {
    /// The offset of the first byte this reader gets.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }
}

impl History {
    #[cfg(test)]
    pub(super) fn new(limit: usize, pace: Pace) -> Self {
        Self::begin_at(0, limit, pace)
    }

    /// A log whose first byte is at this offset.
    pub(super) fn begin_at(start: u64, limit: usize, pace: Pace) -> Self {
        let log = Log {
            chunks: VecDeque::new(),
            head: start,
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
            head: AtomicU64::new(start),
            wake_at: AtomicU64::new(0),
            waker: PumpWaker::default(),
        }
    }

    pub(super) fn pace(&self) -> Pace {
        self.pace
    }

    /// Keeps what lies from `floor` on for the screen's model.
    pub(super) fn set_floor(&self, floor: u64) {
        if self.with(|log| std::mem::replace(&mut log.floor, floor)) != floor {
            self.waker.wake();
        }
    }

    /// Appends what the pump read, before it is broadcast, and returns the new head.
    pub(super) fn append(&self, data: &[Bytes]) -> u64 {
        // Freed after the unlock, like the pieces that were merged.
        let mut evicted = SmallVec::<[LogChunk; 8]>::new();
        let mut merged = SmallVec::<[LogChunk; 8]>::new();
        self.with(|log| {
            for data in data {
                let chunk = LogChunk { offset: log.head, data: data.clone() };
                log.head = chunk.end();
                log.charged += chunk.charge();
                log.chunks.push_back(chunk);
                log.merge_small(&mut merged);
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

    /// Goes on at offset `to`: what lies between the head and that is missing, and readers find it so.
    pub(super) fn skip_to(&self, to: u64) {
        self.with(|log| {
            log.head = log.head.max(to);
            // Relaxed: as in `append`.
            self.head.store(log.head, Ordering::Relaxed);
        });
    }

    /// The first offset from `from` on that is held, or the head.
    pub(super) fn held_from(&self, from: u64) -> u64 {
        self.with(|log| log.held_from(from))
    }

    /// Writes the final entry.
    pub(super) fn end(&self, status: ExitStatus) {
        self.with(|log| log.ended = Some(status));
    }

    /// Waits until the pump may read, and returns how many bytes: a window past the hold, and half a history past the
    /// screen's model.
    ///
    /// With none for the readers' sake, it is woken once a part of the window is free again, and not by every byte
    /// they take: see [`advance`](Self::advance).
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn credit(&self) -> u64 {
        loop {
            match self.room() {
                0 => self.waker.wait().await,
                room => return room,
            }
        }
    }

    /// Waits until the pump would be woken.
    #[cfg(test)]
    pub(super) async fn woken(&self) {
        self.waker.wait().await;
    }

    /// As [`credit`](Self::credit), without waiting.
    pub(super) fn room(&self) -> u64 {
        self.with(|log| {
            let room = |from: u64, ahead: u64| (from + ahead).saturating_sub(log.head);
            let room_for_readers =
                || pace::hold(&log.readers, self.pace).map_or(u64::MAX, |hold| room(hold, self.window));
            let mut readers = room_for_readers();
            if readers == 0 {
                // Relaxed, for the fence orders it: this is said and then the cursors are looked at again; a reader
                // says where it is and then looks at this. So one of the two sees the other.
                self.wake_at.store(pace::wake_at(log.head, self.window), Ordering::Relaxed);
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

    /// Says how far a reader is, and wakes the pump if it may have been waiting for that.
    pub(super) fn advance(&self, reader: &Reader, cursor: u64) {
        let before = reader.place.advance(cursor);
        // See `room`.
        fence(Ordering::SeqCst);
        if (before + 1..=cursor).contains(&self.wake_at.load(Ordering::Relaxed)) {
            self.waker.wake();
        }
    }

    /// Says whether a reader may still hold the program back.
    pub(super) fn set_holding(&self, reader: &Reader, holding: bool) {
        if reader.place.set_holding(holding) {
            self.waker.wake();
        }
    }

    /// How far the head may be past the screen's model, in bytes.
    pub(super) fn model_room(&self) -> u64 {
        self.limit as u64 / 2
    }

    /// Enters a reader. From this moment on nothing that it needs is evicted while it may hold the program back.
    ///
    /// # Errors
    /// [`NotHeld`] where the byte to start at is not held. Nothing was changed.
    pub(super) fn attach(&self, start: StartAt, on_lag: OnLag) -> Result<Reader, NotHeld> {
        let reader = self.with(|log| {
            let (oldest, head) = (log.oldest(), log.head);
            let start = match start {
                StartAt::Now => head,
                StartAt::Oldest => oldest,
                StartAt::Last(bytes) => log.newest(bytes),
                // What is drawn stands for most of this, and says from which offset on output follows.
                StartAt::Screen => log.newest(TAIL),
                StartAt::Offset(offset) if (oldest..=head).contains(&offset) => offset,
                StartAt::Offset(offset) => return Err(NotHeld { offset, oldest, head }),
            };
            let place = Arc::new(ReaderCursor::new(start, log.readers.len(), on_lag == OnLag::Lossless));
            log.readers.push(Arc::clone(&place));
            Ok(Reader { place, start })
        })?;
        self.waker.wake();
        Ok(reader)
    }

    /// Where the newest lines begin, which stand in for a screen where there is no model of it.
    pub(super) fn tail(&self) -> u64 {
        self.with(|log| log.newest(TAIL))
    }

    /// Readers that want every byte, and may hold the program back for that.
    pub(super) fn lossless_readers(&self) -> usize {
        self.with(|log| pace::lossless(&log.readers))
    }

    /// Takes out a reader, which must be in.
    pub(super) fn detach(&self, reader: &Reader) {
        // The last handle on its place may be the reader's own, and is not freed under the lock.
        let _place = self.with(|log| {
            let at = reader.place.index();
            let place = log.readers.swap_remove(at);
            if let Some(moved) = log.readers.get(at) {
                moved.set_index(at);
            }
            place
        });
        self.waker.wake();
    }

    pub(super) fn read(&self, from: u64, max: usize, pieces: &mut Vec<Bytes>) -> Read {
        self.with(|log| {
            if from >= log.head {
                return log.ended.map_or(Read::AtHead, Read::Ended);
            }
            let first = log.chunks.partition_point(|chunk| chunk.end() <= from);
            let oldest = log.chunks.get(first).map_or(log.head, |chunk| chunk.offset);
            if from < oldest {
                return Read::Evicted { oldest };
            }
            let (mut cursor, mut room) = (from, max);
            for chunk in log.chunks.range(first..) {
                if chunk.offset > cursor {
                    // What lies between is missing.
                    break;
                }
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

    /// All that it holds after the last gap, and the offset of the first byte of that.
    pub(super) fn all(&self) -> (u64, Vec<u8>) {
        let (start, mut pieces) = self.with(|log| {
            let mut start = log.head;
            let is_next = |chunk: &&LogChunk| {
                let is_next = chunk.end() == start;
                start = if is_next { chunk.offset } else { start };
                is_next
            };
            let pieces: Vec<_> =
                log.chunks.iter().rev().take_while(is_next).map(|chunk| chunk.data.clone()).collect();
            (start, pieces)
        });
        pieces.reverse();
        (start, pieces.concat())
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

    /// The first offset from `from` on that is held, or the head.
    fn held_from(&self, from: u64) -> u64 {
        let next = self.chunks.partition_point(|chunk| chunk.end() <= from);
        self.chunks.get(next).map_or(self.head, |chunk| chunk.offset.max(from))
    }

    /// Where the newest `bytes` that are held begin, or the first line in them.
    fn newest(&self, bytes: u64) -> u64 {
        self.line_start(self.held_from(self.head.saturating_sub(bytes)))
    }

    /// Where the first line that begins at `from` or soon after begins; `from` itself where none does.
    ///
    /// Looks at [`LONGEST_LINE`] bytes at most, because pump and writers wait for the lock meanwhile.
    fn line_start(&self, from: u64) -> u64 {
        if from == 0 {
            return 0;
        }
        // The byte before `from` may be the line feed.
        let (mut at, mut left) = (from - 1, LONGEST_LINE);
        let first = self.chunks.partition_point(|chunk| chunk.end() <= at);
        for chunk in self.chunks.range(first..) {
            // It is 0 but in the first chunk; where the byte before is no longer held, the first begins after it.
            let skip = usize::try_from(at.saturating_sub(chunk.offset)).unwrap_or(usize::MAX);
            let rest = chunk.data.get(skip..).unwrap_or_default();
            let rest = &rest[..rest.len().min(left)];
            if let Some(feed) = memchr::memchr(b'\n', rest) {
                let start = self.held_from(chunk.offset + (skip + feed) as u64 + 1);
                return if start < self.head { start } else { from };
            }
            left -= rest.len();
            if left == 0 {
                break;
            }
            at = chunk.end();
        }
        from
    }

    /// Merges the last chunk into the one before while that is no larger, as in a binary counter: each byte is copied
    /// at most once per doubling. What is merged goes into `pieces`.
    fn merge_small(&mut self, pieces: &mut SmallVec<[LogChunk; 8]>) {
        while let Some(before) = self.chunks.len().checked_sub(2) {
            let (first, second) = (&self.chunks[before], &self.chunks[before + 1]);
            let length = first.data.len() + second.data.len();
            let is_next = first.end() == second.offset;
            if !is_next || first.data.len() > second.data.len() || length > MERGE_UP_TO {
                return;
            }
            let mut merged = BytesMut::with_capacity(length);
            merged.extend_from_slice(&first.data);
            merged.extend_from_slice(&second.data);
            let merged = LogChunk { offset: first.offset, data: merged.freeze() };
            pieces.extend(self.chunks.drain(before..));
            self.chunks.push_back(merged);
            self.charged -= CHUNK_COST;
        }
    }
}
