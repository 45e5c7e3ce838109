//! A client's input on its way into terminals: a lane for each session, so that a program that does not read holds up
//! nothing that is typed elsewhere.
//!
//! What a terminal sent of its own accord, to answer a question of the program's, is let through or dropped by the
//! session's rules. A lane has a task only while there is something to type, and holds its session only as long.
//!
//! A lane is its connection's, and ends with it; or it is a stream's, which outlives connections: it types what it has
//! taken in any case, and takes nothing twice.

mod elsewhere;
mod lane;
mod streams;

use std::sync::Arc;

use bytes::Bytes;

pub(super) use self::streams::InputStreams;
use self::{
    elsewhere::type_elsewhere,
    lane::{InputChunk, Lane, Outstanding, type_all},
};
use super::link::Link;
use crate::{
    ClientId,
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
        terminal: Option<(ClientId, Option<Claim>)>,
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
            None => self.lane(session),
        };
        if lane.push(chunk, stream.map(|(position, _)| position.offset))? {
            return Ok(());
        }
        let (link, is_stream) = (Arc::clone(&self.link), stream.is_some());
        if session.is_typed_elsewhere() {
            tokio::spawn(unless_closed(link, is_stream, type_elsewhere(lane, Arc::clone(session))));
        } else {
            tokio::spawn(unless_closed(link, is_stream, type_all(lane, Arc::clone(session))));
        }
        Ok(())
    }

    /// The connection's own lane to a session. Others that are idle and in the middle of nothing are let go.
    fn lane(&mut self, session: &Session) -> Arc<Lane> {
        if let Some(lane) = self.lanes.iter().find(|lane| lane.session() == session.id()) {
            return Arc::clone(lane);
        }
        self.lanes.retain(|lane| !lane.is_at_rest());
        let lane = Arc::new(Lane::new(session));
        self.lanes.push(Arc::clone(&lane));
        lane
    }
}

/// Types until all is typed. What a stream has taken is typed in any case; other input is not once the client is gone.
async fn unless_closed(link: Arc<Link>, is_stream: bool, typing: impl Future<Output = ()>) {
    if is_stream {
        return typing.await;
    }
    tokio::select! {
        biased;
        () = link.closed() => {}
        () = typing => {}
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.outstanding.end();
    }
}
