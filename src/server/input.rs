//! A client's input on its way into terminals: a lane for each session, so that a program that does not read holds up
//! nothing that is typed elsewhere.
//!
//! What a terminal sent of its own accord, to answer a question of the program's, is let through or dropped by the
//! session's rules. A lane has a task only while there is something to type, and holds its session only as long.
//!
//! A lane is its connection's, and ends with it; or it is a stream's, which outlives connections: it types what it has
//! taken in any case, and takes nothing twice.

mod lane;
mod streams;

use std::sync::Arc;

use bytes::Bytes;

use self::lane::{InputChunk, Lane, Outstanding, type_all};
pub(super) use self::streams::InputStreams;
use super::link::Link;
use crate::{
    ClientId, SessionId,
    message::{InputPosition, RequestError},
    session::{Claim, Session},
};

pub(super) struct Input {
    /// The connection's own.
    lanes: Vec<Arc<Lane>>,
    outstanding: Arc<Outstanding>,
    link: Arc<Link>,
}

impl Input {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self { lanes: Vec::new(), outstanding: Arc::default(), link }
    }

    /// Takes input to be typed, unless too much of it is outstanding, or bytes before it are missing.
    pub(super) fn type_in(
        &mut self,
        (request, data): (u64, Bytes),
        session: &Arc<Session>,
        terminal: Option<(ClientId, Claim)>,
        stream: Option<(InputPosition, &InputStreams)>,
    ) -> Result<(), RequestError> {
        let counts_as = data.len();
        if !self.outstanding.has_room(counts_as) {
            return Err(RequestError::TooManyOutstanding);
        }
        let (outstanding, link) = (Arc::clone(&self.outstanding), Arc::clone(&self.link));
        let chunk = InputChunk { request, terminal, data, end: 0, outstanding, counts_as, link };
        let lane = match stream {
            Some((position, streams)) => streams.lane(session, position.stream)?,
            None => self.lane(session.id()),
        };
        if lane.push(chunk, stream.map(|(position, _)| position.offset))? {
            return Ok(());
        }
        let typing = type_all(lane, Arc::clone(session));
        let (link, is_stream) = (Arc::clone(&self.link), stream.is_some());
        tokio::spawn(async move {
            if is_stream {
                // What it has taken is typed in any case.
                return typing.await;
            }
            tokio::select! {
                biased;
                // The client is gone.
                () = link.closed() => {}
                () = typing => {}
            }
        });
        Ok(())
    }

    /// The connection's own lane to a session. Others that are idle and in the middle of nothing are let go.
    fn lane(&mut self, session: SessionId) -> Arc<Lane> {
        if let Some(lane) = self.lanes.iter().find(|lane| lane.session() == session) {
            return Arc::clone(lane);
        }
        self.lanes.retain(|lane| !lane.is_at_rest());
        let lane = Arc::new(Lane::new(session));
        self.lanes.push(Arc::clone(&lane));
        lane
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.outstanding.end();
    }
}
