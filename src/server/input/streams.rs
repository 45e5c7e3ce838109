//! Streams of input, which outlive the connections that bring them: how far each is, for who sends again what was not
//! answered when a connection was lost.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::lane::Lane;
use crate::{
    SessionId,
    message::{InputStreamId, RequestError},
    session::Session,
    sync::{Mutex, Rank},
};

/// Streams that are kept of one session: each `send` is one, and what was lost on its way comes again minutes later.
const MAX_STREAMS: usize = 1024;

/// Those of them from which something waits to be typed.
const MAX_WAITING: usize = 64;

/// How long one is kept after its last use.
const KEPT: Duration = Duration::from_secs(600);

/// All of a server. Its lock is taken for each input that has a place in a stream.
#[derive(Debug)]
pub(in crate::server) struct InputStreams(Mutex<HashMap<SessionId, Vec<KeptStream>>>);

#[derive(Debug)]
struct KeptStream {
    id: InputStreamId,
    lane: Arc<Lane>,
    used: Instant,
}

impl InputStreams {
    pub(in crate::server) fn new() -> Self {
        Self(Mutex::new(Rank::InputStreams, HashMap::new()))
    }

    /// The lane of a stream, which is a new one if it is not kept.
    ///
    /// Where a session has as many as are kept, the one that was not used for the longest time is forgotten. Refused if
    /// something is to be typed from as many as may wait.
    pub(super) fn lane(&self, session: &Session, id: InputStreamId) -> Result<Arc<Lane>, RequestError> {
        let now = Instant::now();
        let mut forgotten = Vec::new();
        let lane = self.0.with(|sessions| {
            let kept = sessions.get_mut(&session.id());
            // What is used was mostly new not long ago.
            let used = kept.and_then(|streams| streams.iter_mut().rev().find(|stream| stream.id == id));
            if let Some(stream) = used {
                stream.used = now;
                return Some(Arc::clone(&stream.lane));
            }
            // A stream is new far less often than one is used.
            sessions.retain(|_, streams| {
                forgotten.extend(streams.extract_if(.., |stream| stream.is_over(now)));
                !streams.is_empty()
            });
            let streams = sessions.entry(session.id()).or_default();
            if streams.iter().filter(|stream| !stream.lane.is_at_rest()).count() >= MAX_WAITING {
                return None;
            }
            if streams.len() == MAX_STREAMS {
                let at_rest = streams.iter().enumerate().filter(|(_, stream)| stream.lane.is_at_rest());
                let (oldest, _) = at_rest.min_by_key(|(_, stream)| stream.used)?;
                forgotten.push(streams.remove(oldest));
            }
            let lane = Arc::new(Lane::of_stream(session, id));
            streams.push(KeptStream { id, lane: Arc::clone(&lane), used: now });
            Some(lane)
        });
        lane.ok_or(RequestError::TooManyOutstanding)
    }
}

impl KeptStream {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.used) >= KEPT && self.lane.is_at_rest()
    }
}
