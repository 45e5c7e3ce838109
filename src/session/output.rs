//! Where a session's output enters: the log, then the broadcast, then the model of the screen.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use tracing::info;

use super::{Session, kept::Kept};
use crate::{
    ServerMessage,
    message::{ExitStatus, Happened},
    registry::Publisher,
    sync::{Mutex, Rank},
};

/// When each turn's bytes were read, for measuring how long they take to arrive: the stream's offset after the turn,
/// and the moment its first byte was read.
#[derive(Debug)]
pub(crate) struct ReadTimes(Mutex<Vec<(u64, Instant)>>);

impl Default for ReadTimes {
    fn default() -> Self {
        Self(Mutex::new(Rank::Leaf, Vec::new()))
    }
}

impl ReadTimes {
    fn add(&self, end: u64, read_at: Instant) {
        self.0.with(|turns| turns.push((end, read_at)));
    }

    #[cfg(feature = "bench")]
    pub(crate) fn take(&self) -> Vec<(u64, Instant)> {
        self.0.with(std::mem::take)
    }
}

pub(super) struct OutputSink {
    session: Arc<Session>,
    /// What outlives this server, of a program that does.
    kept: Option<Arc<Kept>>,
    publisher: Publisher<Arc<ServerMessage>>,
    head: u64,
    /// From which offset on the model is to hurry.
    hurry_at: u64,
    burst: Vec<Arc<ServerMessage>>,
    turns: Option<Arc<ReadTimes>>,
}

impl OutputSink {
    pub(super) fn new(
        session: Arc<Session>,
        publisher: Publisher<Arc<ServerMessage>>,
        turns: Option<Arc<ReadTimes>>,
    ) -> Self {
        let (head, kept) = (session.head(), session.kept());
        let hurry_at = head + session.history.model_room() / 2;
        Self { session, kept, publisher, head, hurry_at, burst: Vec::new(), turns }
    }

    /// The offset after the newest byte.
    pub(super) fn head(&self) -> u64 {
        self.head
    }

    /// The log's head may be another, because of a gap.
    pub(super) fn skipped(&mut self) {
        self.head = self.session.head();
    }

    /// Something may be read now, to be printed.
    pub(super) fn begin(&self) {
        if let Some(kept) = &self.kept {
            kept.marks.set_reading();
        }
    }

    /// Clients may be told of output before this offset from now on, and nothing else was read.
    fn mark_head(&self, head: u64) {
        if let Some(kept) = &self.kept {
            kept.marks.set_head(head);
        }
    }

    /// Prints what was read from `read_at` on, as one burst, and empties `chunks`.
    pub(super) fn print(&mut self, chunks: &mut Vec<Bytes>, read_at: Instant) {
        if chunks.is_empty() {
            return self.mark_head(self.head);
        }
        let mut offset = self.head;
        let mut asks = false;
        let bell = self.session.answers.newest_bell();
        let mut at = offset;
        for chunk in &*chunks {
            asks |= self.session.printed(chunk, at);
            at += chunk.len() as u64;
        }
        self.mark_head(at);
        // The log first: a client that is skipped below finds there what it missed.
        self.head = self.session.history.append(chunks);
        if let Some(turns) = &self.turns {
            turns.add(self.head, read_at);
        }
        for data in chunks.drain(..) {
            let length = data.len() as u64;
            self.burst.push(Arc::new(ServerMessage::Output { session: self.session.id, offset, data }));
            offset += length;
        }
        // Skipped clients are counted by the registry and brought back by their writers.
        let _ = self.publisher.broadcast_burst(&self.burst);
        self.burst.clear();
        self.session.printed_at(read_at, self.session.answers.newest_bell() != bell);
        self.session.screen.appended();
        let is_far_ahead = self.head >= self.hurry_at;
        if is_far_ahead {
            self.hurry_at = self.head + self.session.history.model_room() / 2;
        }
        if asks || is_far_ahead {
            self.session.screen.hurry();
        }
    }

    /// Writes the log's final entry, after the last byte.
    pub(super) fn finish(mut self, status: ExitStatus) {
        self.session.history.end(status);
        info!(session = %self.session.id, name = %self.session.name(), %status, printed = self.head, "ended");
        // Only the doorbell: a writer that misses it finds the end in the log before it sleeps.
        let _ = self.publisher.broadcast(Arc::new(ServerMessage::Ended { session: self.session.id }));
        self.session.tell(Happened::Ended(status));
    }
}
