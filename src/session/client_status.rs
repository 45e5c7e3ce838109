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
    ops::AddAssign,
    sync::atomic::{
        AtomicBool, AtomicU8, AtomicU32, AtomicU64,
        Ordering::{self, Relaxed},
    },
    time::Instant,
};

use tracing::debug;

use super::{packed, unpacked};
use crate::{
    ClientId, SessionId, TerminalSize,
    message::{Access, ClientState, ClientStats},
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
    /// Its process; 0 where that is not known.
    process: u32,
    /// The size of the terminal that it watches with, columns first; 0 for none.
    size: AtomicU32,
    /// Milliseconds after `connected` of its attach, and one more; 0 while it watches nothing. The highest bit says
    /// that it only reads.
    attached: AtomicU64,
}

const READ_ONLY: u64 = 1 << 63;

const STATES: [ClientState; 4] =
    [ClientState::Live, ClientState::Behind, ClientState::Gap, ClientState::Closed];

impl ClientStatus {
    /// Of a client that just connected. Its process is known where the system tells it.
    pub(crate) fn new(client: ClientId, process: Option<i32>) -> Self {
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
            process: process.and_then(|process| u32::try_from(process).ok()).unwrap_or(0),
            size: AtomicU32::new(0),
            attached: AtomicU64::new(0),
        }
    }

    /// Its process, where that is known.
    pub(crate) fn process(&self) -> Option<i32> {
        i32::try_from(self.process).ok().filter(|process| *process > 0)
    }

    /// Whether it watches as a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.size.load(Relaxed) != 0
    }

    /// The client watches a session from now on, in a terminal of this size if it is one.
    pub(crate) fn attached(&self, size: Option<TerminalSize>, access: Access) {
        self.size.store(size.map_or(0, packed), Relaxed);
        let read_only = if access == Access::ReadOnly { READ_ONLY } else { 0 };
        self.attached.store((self.millis() + 1) | read_only, Relaxed);
    }

    /// The client watches nothing from now on.
    pub(crate) fn detached(&self) {
        self.size.store(0, Relaxed);
        self.attached.store(0, Relaxed);
    }

    /// Its terminal has another size.
    pub(crate) fn resized(&self, size: TerminalSize) {
        self.size.store(packed(size), Relaxed);
    }

    /// Milliseconds since it connected.
    fn millis(&self) -> u64 {
        u64::try_from(self.connected.elapsed().as_millis()).unwrap_or(READ_ONLY - 2).min(READ_ONLY - 2)
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
        self.last_progress.store(self.millis(), Relaxed);
    }

    /// What is counted of all clients together.
    pub(crate) fn totals(&self) -> ClientTotals {
        ClientTotals {
            writes: self.writes.load(Relaxed),
            bytes_written: self.bytes_written.load(Relaxed),
            replays: self.replays.load(Relaxed),
            gaps: self.gaps.load(Relaxed),
            purges: self.purges.load(Relaxed),
            skipped_bytes: self.skipped.load(Relaxed),
        }
    }

    /// The client has all output before `taken`, of `head`.
    pub(crate) fn stands_at(&self, taken: u64, head: u64) {
        self.taken.store(taken, Relaxed);
        self.lag_max.fetch_max(head.saturating_sub(taken), Relaxed);
    }

    /// For `stats`; `watched` is the session and its newest offset.
    pub(crate) fn stats(&self, watched: Option<(SessionId, u64)>) -> ClientStats {
        let lag_bytes = watched.map_or(0, |(_, head)| head.saturating_sub(self.taken.load(Relaxed)));
        let now = self.millis();
        let (attached, size) = (self.attached.load(Relaxed), self.size.load(Relaxed));
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
            pid: Some(self.process).filter(|process| *process > 0),
            size: unpacked(size),
            access: if attached & READ_ONLY == 0 { Access::ReadWrite } else { Access::ReadOnly },
            attached_seconds: (attached != 0).then(|| now.saturating_sub(attached & !READ_ONLY) / 1000),
        }
    }
}

/// Counts of several clients, those that have left included.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ClientTotals {
    /// Writes to sockets, and bytes written to them.
    pub(crate) writes: u64,
    pub(crate) bytes_written: u64,
    pub(crate) replays: u64,
    pub(crate) gaps: u64,
    pub(crate) purges: u64,
    pub(crate) skipped_bytes: u64,
}

impl AddAssign for ClientTotals {
    fn add_assign(&mut self, more: Self) {
        self.writes += more.writes;
        self.bytes_written += more.bytes_written;
        self.replays += more.replays;
        self.gaps += more.gaps;
        self.purges += more.purges;
        self.skipped_bytes += more.skipped_bytes;
    }
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Relaxed);
}
