//! A client's state and counters: one type, and one place that moves it.
//!
//! ```text
//! Live --(a message's offset is beyond the cursor)--> Behind --(the history has it)--> Live
//!                                                        \--(evicted)--> Gap, screen --> Live
//! any --> Closed
//! ```
//!
//! The client's [`Follower`](super::Follower) alone moves it; `stats` reads it. Nearly all accesses are `Relaxed`:
//! these are counts for people, and order nothing. Each client has its own, so that no two writers count on one line.

use std::{
    sync::atomic::{
        AtomicBool, AtomicU8, AtomicU64,
        Ordering::{self, Relaxed},
    },
    time::Instant,
};

use tracing::debug;

use crate::{
    ClientId, SessionId,
    message::{ClientState, ClientStats},
};

#[derive(Debug)]
pub(crate) struct ClientStatus {
    client: ClientId,
    connected: Instant,
    state: AtomicU8,
    is_watching: AtomicBool,
    /// The offset of the first byte of output that the client has not taken.
    taken: AtomicU64,
    lag_max: AtomicU64,
    replays: AtomicU64,
    gaps: AtomicU64,
    purges: AtomicU64,
    skipped: AtomicU64,
    messages: AtomicU64,
    writes: AtomicU64,
    bytes_written: AtomicU64,
    /// Milliseconds after `connected`.
    last_progress: AtomicU64,
}

const STATES: [ClientState; 4] =
    [ClientState::Live, ClientState::Behind, ClientState::Gap, ClientState::Closed];

impl ClientStatus {
    pub(crate) fn new(client: ClientId) -> Self {
        Self {
            client,
            connected: Instant::now(),
            state: AtomicU8::new(0),
            is_watching: AtomicBool::new(false),
            taken: AtomicU64::new(0),
            lag_max: AtomicU64::new(0),
            replays: AtomicU64::new(0),
            gaps: AtomicU64::new(0),
            purges: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
            last_progress: AtomicU64::new(0),
        }
    }

    fn state(&self) -> ClientState {
        STATES.get(usize::from(self.state.load(Relaxed))).copied().unwrap_or(ClientState::Closed)
    }

    /// Moves the client to `next`, and counts that.
    pub(crate) fn enter(&self, next: ClientState) {
        let before = self.state();
        if before == next {
            return;
        }
        let index = STATES.iter().position(|state| *state == next).unwrap_or_default();
        self.state.store(u8::try_from(index).unwrap_or_default(), Relaxed);
        match next {
            ClientState::Behind => add(&self.replays, 1),
            ClientState::Gap => add(&self.gaps, 1),
            ClientState::Live | ClientState::Closed => {}
        }
        debug!(client = %self.client, ?before, ?next, "moved");
    }

    /// Whether the client watches a session.
    pub(crate) fn is_watching(&self) -> bool {
        // Acquire and Release: a client that was told that it watches nothing finds that so with its next request.
        self.is_watching.load(Ordering::Acquire)
    }

    pub(crate) fn set_watching(&self, is_watching: bool) {
        self.is_watching.store(is_watching, Ordering::Release);
    }

    /// The client was brought to an offset without being sent what lies before it.
    pub(crate) fn skipped(&self, bytes: u64) {
        add(&self.skipped, bytes);
    }

    pub(crate) fn purged(&self) {
        add(&self.purges, 1);
    }

    pub(crate) fn took_messages(&self, messages: usize) {
        add(&self.messages, messages as u64);
    }

    /// The client took these bytes of whatever it is sent.
    pub(crate) fn wrote(&self, bytes: usize) {
        add(&self.writes, 1);
        add(&self.bytes_written, bytes as u64);
        let now = self.connected.elapsed().as_millis();
        self.last_progress.store(u64::try_from(now).unwrap_or(u64::MAX), Relaxed);
    }

    /// Writes to the client's socket, and bytes written to it.
    pub(crate) fn written(&self) -> (u64, u64) {
        (self.writes.load(Relaxed), self.bytes_written.load(Relaxed))
    }

    /// The client has all output before `taken`, of `head`.
    pub(crate) fn stands_at(&self, taken: u64, head: u64) {
        self.taken.store(taken, Relaxed);
        self.lag_max.fetch_max(head.saturating_sub(taken), Relaxed);
    }

    /// For `stats`; `watched` is the session and its newest offset.
    pub(crate) fn stats(&self, watched: Option<(SessionId, u64)>) -> ClientStats {
        let lag_bytes = watched.map_or(0, |(_, head)| head.saturating_sub(self.taken.load(Relaxed)));
        let now = u64::try_from(self.connected.elapsed().as_millis()).unwrap_or(u64::MAX);
        ClientStats {
            client: self.client,
            session: watched.map(|(session, _)| session),
            state: self.state(),
            lag_bytes,
            lag_max_bytes: self.lag_max.load(Relaxed).max(lag_bytes),
            replays: self.replays.load(Relaxed),
            gaps: self.gaps.load(Relaxed),
            purges: self.purges.load(Relaxed),
            skipped_bytes: self.skipped.load(Relaxed),
            messages: self.messages.load(Relaxed),
            writes: self.writes.load(Relaxed),
            idle_ms: now.saturating_sub(self.last_progress.load(Relaxed)),
        }
    }
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Relaxed);
}
