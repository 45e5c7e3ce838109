//! What changed from one look at the statistics to the next.

use std::{
    collections::{HashMap, VecDeque},
    time::Instant,
};

use crate::{
    SessionId,
    message::{ServerStats, SessionStats},
};

/// Looks that are remembered of each session: a minute of them.
pub(super) const KEPT: usize = 60;

/// The newest statistics, and what led to them.
#[derive(Debug, Default)]
pub(super) struct Trend {
    newest: Option<(ServerStats, Instant)>,
    /// Bytes a second that each session printed, the newest last.
    printed: HashMap<SessionId, VecDeque<f64>>,
    /// Bytes and writes a second to clients' sockets.
    written: f64,
    writes: f64,
}

impl Trend {
    /// Takes in what the statistics were at `now`.
    pub(super) fn add(&mut self, stats: ServerStats, now: Instant) {
        let before = self.newest.take();
        self.printed.retain(|id, _| stats.sessions.iter().any(|session| session.session == *id));
        let Some((before, then)) = before else {
            self.newest = Some((stats, now));
            return;
        };
        let seconds = now.saturating_duration_since(then).as_secs_f64().max(0.001);
        let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 / seconds;
        self.written = rate(before.bytes_written, stats.bytes_written);
        self.writes = rate(before.writes, stats.writes);
        for session in &stats.sessions {
            let same = |other: &&SessionStats| other.session == session.session;
            // One that began meanwhile printed all of it since.
            let printed = before.sessions.iter().find(same).map_or(0, |before| before.printed_bytes);
            let rates = self.printed.entry(session.session).or_default();
            if rates.len() == KEPT {
                rates.pop_front();
            }
            rates.push_back(rate(printed, session.printed_bytes));
        }
        self.newest = Some((stats, now));
    }

    pub(super) fn newest(&self) -> Option<&ServerStats> {
        self.newest.as_ref().map(|(stats, _)| stats)
    }

    /// What a session printed in each of the last seconds, in bytes a second, the newest last.
    pub(super) fn printed(&self, session: SessionId) -> impl DoubleEndedIterator<Item = f64> {
        self.printed.get(&session).into_iter().flatten().copied()
    }

    /// What all sessions print, in bytes a second.
    pub(super) fn printed_by_all(&self) -> f64 {
        self.printed.values().filter_map(VecDeque::back).sum()
    }

    /// Bytes, and writes, a second to clients' sockets.
    pub(super) fn written(&self) -> (f64, f64) {
        (self.written, self.writes)
    }
}
