//! The sessions that ended last: how they ended, and for a while what they printed.
//!
//! What is kept of their output is bounded in bytes, over all of them, and in time. The oldest goes first. A client
//! that reads one on holds that by itself.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use super::Session;
use crate::{
    SessionId,
    message::{SessionInfo, SessionState},
};

/// How many ended sessions are remembered, so that attaching late says how one ended.
const REMEMBERED: usize = 64;

/// What an ended session is charged beside its output and its screen, in bytes.
pub(super) const KEPT_COST: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct EndedSessions {
    /// The latest last.
    last: VecDeque<EndedSession>,
    /// Bytes that their output may take, and those that it takes.
    limit: usize,
    held: usize,
    /// A task waits for the time of the first of them.
    is_watched: bool,
}

#[derive(Debug)]
struct EndedSession {
    info: SessionInfo,
    at: Instant,
    /// Its output, and about how many bytes that takes.
    output: Option<(Arc<Session>, usize)>,
}

/// What is to be dropped once nothing is locked any more.
#[must_use = "it is to be dropped after the unlock"]
#[derive(Debug, Default)]
pub(super) struct FreedSessions(Vec<Arc<Session>>, Option<SessionInfo>);

impl EndedSessions {
    pub(super) fn new(limit: usize) -> Self {
        Self { last: VecDeque::new(), limit, held: 0, is_watched: false }
    }

    /// A session ended, whose output takes about so many bytes, if it is there. None ended later.
    pub(super) fn push(
        &mut self,
        info: SessionInfo,
        at: Instant,
        output: Option<(Arc<Session>, usize)>,
    ) -> FreedSessions {
        let mut freed = FreedSessions::default();
        if self.last.len() == REMEMBERED
            && let Some(EndedSession { info, output, .. }) = self.last.pop_front()
        {
            freed.1 = Some(info);
            self.free(output, &mut freed);
        }
        self.held += output.as_ref().map_or(0, |(_, bytes)| *bytes);
        self.last.push_back(EndedSession { info, at, output });
        self.keep_within(&mut freed);
        freed
    }

    /// A session's output takes about so many bytes after all.
    pub(super) fn charge(&mut self, id: SessionId, bytes: usize) -> FreedSessions {
        let mut freed = FreedSessions::default();
        let output = self.last.iter_mut().find(|ended| ended.info.id == id);
        if let Some((_, charged)) = output.and_then(|ended| ended.output.as_mut()) {
            self.held = self.held - *charged + bytes;
            *charged = bytes;
        }
        self.keep_within(&mut freed);
        freed
    }

    /// Whether the caller is to wait for [ends](Self::next_end), because nobody does.
    pub(super) fn take_watch(&mut self) -> bool {
        !std::mem::replace(&mut self.is_watched, true)
    }

    /// When the first output is kept long enough. Without any, nobody waits for that any more.
    pub(super) fn next_end(&mut self, kept_for: Duration) -> Option<Instant> {
        let first = self.last.iter().find(|ended| ended.output.is_some());
        let end = first.and_then(|ended| ended.at.checked_add(kept_for));
        self.is_watched = end.is_some();
        end
    }

    /// Frees output that was kept long enough.
    pub(super) fn expire(&mut self, kept_for: Duration) -> FreedSessions {
        let mut freed = FreedSessions::default();
        while let Some(oldest) = self.last.iter_mut().find(|ended| ended.output.is_some())
            && oldest.at.elapsed() >= kept_for
        {
            let output = oldest.output.take();
            self.free(output, &mut freed);
        }
        freed
    }

    fn keep_within(&mut self, freed: &mut FreedSessions) {
        while self.held > self.limit {
            let Some(oldest) = self.last.iter_mut().find_map(|ended| ended.output.take()) else { return };
            self.free(Some(oldest), freed);
        }
    }

    fn free(&mut self, output: Option<(Arc<Session>, usize)>, freed: &mut FreedSessions) {
        if let Some((session, bytes)) = output {
            self.held -= bytes;
            freed.0.push(session);
        }
    }

    /// The one that ended last of those that are meant; and its output, if that is kept.
    pub(super) fn find(
        &self,
        is_it: impl Fn(&SessionInfo) -> bool,
    ) -> Option<(&SessionInfo, Option<&Arc<Session>>)> {
        let found = self.last.iter().rev().find(|ended| is_it(&ended.info))?;
        Some((&found.info, found.output.as_ref().map(|(session, _)| session)))
    }

    /// Bytes that their output takes.
    #[cfg(feature = "cli")]
    pub(super) fn held_bytes(&self) -> usize {
        self.held
    }

    /// What is remembered of each, when it ended, and its output, if that is kept; the first first.
    pub(super) fn all(&self) -> Vec<(SessionInfo, Instant, Option<Arc<Session>>)> {
        let output = |ended: &EndedSession| ended.output.as_ref().map(|(session, _)| Arc::clone(session));
        self.last.iter().map(|ended| (ended.info.clone(), ended.at, output(ended))).collect()
    }

    /// What is remembered of each, and when it ended, the latest first.
    pub(super) fn list(&self) -> Vec<(SessionInfo, Instant)> {
        let info =
            |ended: &EndedSession| SessionInfo { is_held: ended.output.is_some(), ..ended.info.clone() };
        self.last.iter().rev().map(|ended| (info(ended), ended.at)).collect()
    }
}

/// What is remembered of a session that ended at `time`, as it is to be shown now.
pub(super) fn ended_at(info: SessionInfo, time: Instant) -> SessionInfo {
    debug_assert!(matches!(info.state, SessionState::Ended(_)));
    let since = time.elapsed().as_secs();
    SessionInfo {
        age_seconds: info.age_seconds + since,
        idle_seconds: info.idle_seconds + since,
        used_ms: info.used_ms.map(|used| used + since * 1000),
        ended_seconds: Some(since),
        latest: None,
        ..info
    }
}
