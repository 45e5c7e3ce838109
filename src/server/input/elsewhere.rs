//! Input on its way to a session's provider, which has it typed elsewhere.
//!
//! A piece is given on as it comes: whoever types over a slow line does not wait for the answer to the piece before.
//! The answers go back in the order of the pieces.

use std::{collections::VecDeque, sync::Arc};

use super::{
    super::command::Command,
    lane::{InputChunk, Lane},
};
use crate::{
    message::{Reply, RequestError},
    session::{Answered, Session},
    wire,
};

/// A piece that the provider has not answered.
struct Given {
    chunk: InputChunk,
    answered: Answered,
}

/// Has all there is typed by the session's provider.
pub(super) async fn type_elsewhere(lane: Arc<Lane>, session: Arc<Session>) {
    let mut typed = lane.take_typed();
    let mut given = VecDeque::new();
    loop {
        while let Some(chunk) = lane.next(&mut typed, !given.is_empty()) {
            if let Some(answered) = give(&chunk, &lane, &session, &mut typed) {
                given.push_back(Given { chunk, answered });
            }
        }
        // Nothing is held back for its rest: where the program runs, that is seen to.
        drop(typed.flush());
        let Some(first) = given.front_mut() else {
            if lane.next(&mut typed, false).is_none() {
                return;
            }
            continue;
        };
        let answer = tokio::select! {
            biased;
            answer = &mut first.answered => answer,
            () = lane.more() => continue,
        };
        let Some(Given { chunk, .. }) = given.pop_front() else { continue };
        // An error says that the session has ended.
        let answer = answer.unwrap_or_else(|_| Err(over(&session))).map(|()| Reply::Written);
        chunk.outstanding.remove(chunk.counts_as);
        lane.is_typed(chunk.data.len());
        // An error says that the connection has ended.
        let _ = chunk.link.send(Command::Frame(wire::encode_reply(chunk.request, &answer))).await;
    }
}

fn give(
    chunk: &InputChunk,
    lane: &Lane,
    session: &Session,
    typed: &mut crate::terminal::ReplyFilter,
) -> Option<Answered> {
    let position = lane.place(chunk.end, chunk.data.len())?;
    session.type_elsewhere(chunk.terminal, typed, (position, chunk.data.clone()))
}

fn over(session: &Session) -> RequestError {
    match session.span().ended {
        Some(status) => RequestError::SessionEnded { name: session.name().to_string(), status },
        None => RequestError::ShuttingDown,
    }
}
