//! The log of one session: what its program printed, the readers of it, and how it ended, under one short lock.
//!
//! A ring of the very `Bytes` that are broadcast, so that holding it costs no second copy. It is bounded in bytes: the
//! oldest goes first, but never what a reader that may hold the program back still needs; the pump then stops reading
//! (see `pace`), so that the excess stays within one window.
//!
//! Attaching happens under the same lock as appending. So a reader's first byte is held when it is told about it, and
//! whoever compares its cursor with the head before it sleeps has missed nothing.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use super::pace::{self, Place};
use crate::message::{ExitStatus, StartAt};

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
}

#[derive(Debug)]
struct Log {
    chunks: VecDeque<Chunk>,
    head: u64,
    /// Bytes held, with [`CHUNK_COST`] for each chunk.
    charged: usize,
    readers: Vec<Arc<Place>>,
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

    pub(super) fn advance(&self, cursor: u64) {
        self.place.advance(cursor);
    }

    /// Returns whether that was a change.
    pub(super) fn set_holding(&self, holding: bool) -> bool {
        self.place.set_holding(holding)
    }
}

impl History {
    pub(super) fn new(limit: usize) -> Self {
        let log = Log { chunks: VecDeque::new(), head: 0, charged: 0, readers: Vec::new(), ended: None };
        Self { log: Mutex::new(log), limit, window: pace::window(limit) }
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
            let keep = pace::hold(&log.readers).unwrap_or(u64::MAX);
            while log.charged > self.limit && log.chunks.front().is_some_and(|oldest| oldest.end() <= keep) {
                let Some(chunk) = log.chunks.pop_front() else { break };
                log.charged -= chunk.charge();
                evicted.push(chunk);
            }
            log.head
        })
    }

    /// Writes the final entry.
    pub(super) fn end(&self, status: ExitStatus) {
        self.with(|log| log.ended = Some(status));
    }

    /// How many bytes the pump may read now; `None` where nobody bounds it.
    pub(super) fn room(&self) -> Option<u64> {
        self.with(|log| {
            let hold = pace::hold(&log.readers)?;
            Some((hold + self.window).saturating_sub(log.head))
        })
    }

    pub(super) fn attach(&self, start: StartAt, lossless: bool) -> Result<Reader, NotHeld> {
        self.with(|log| {
            let (oldest, head) = (log.oldest(), log.head);
            let start = match start {
                StartAt::Now => head,
                StartAt::Oldest => oldest,
                StartAt::Offset(offset) if (oldest..=head).contains(&offset) => offset,
                StartAt::Offset(offset) => return Err(NotHeld { offset, oldest, head }),
            };
            let place = Arc::new(Place::new(start, log.readers.len(), lossless));
            log.readers.push(Arc::clone(&place));
            Ok(Reader { place, start })
        })
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

    pub(super) fn span(&self) -> Span {
        self.with(|log| Span { head: log.head, held_bytes: log.charged, ended: log.ended })
    }

    fn with<R>(&self, critical: impl FnOnce(&mut Log) -> R) -> R {
        critical(&mut self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Log {
    fn oldest(&self) -> u64 {
        self.chunks.front().map_or(self.head, |chunk| chunk.offset)
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
