//! A client's input on its way into terminals: a lane for each session, so that a program that does not read holds up
//! nothing that is typed elsewhere.
//!
//! What a terminal sent of its own accord, to answer a question of the program's, is let through or dropped by the
//! session's rules. A lane has a task only while there is something to type, and holds its session only as long.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use tokio::{sync::Notify, time::timeout};

use super::{command::Command, link::Link};
use crate::{
    ClientId, SessionId,
    message::{Reply, RequestError},
    session::{Claim, Session},
    sync::{Mutex, Rank},
    terminal::{HOLD_TIME, ReplyFilter},
    wire,
};

/// Input that a client may have outstanding, in frames and in bytes, for all sessions together.
const MAX_FRAMES: usize = 64;
const MAX_BYTES: usize = 256 * 1024;

pub(super) struct Input {
    lanes: Vec<Arc<Lane>>,
    outstanding: Arc<Outstanding>,
    link: Arc<Link>,
}

struct Lane {
    session: SessionId,
    /// A leaf lock.
    state: Mutex<InputState>,
    /// There is more while a task types.
    more: Notify,
}

#[derive(Default)]
struct InputState {
    chunks: VecDeque<InputChunk>,
    /// What the client's terminal is in the middle of; with the task while there is one.
    typed: ReplyFilter,
    is_typing: bool,
}

/// Relaxed throughout: the client's reader alone adds, and nothing else is read by what the counts say.
#[derive(Default)]
struct Outstanding {
    frames: AtomicUsize,
    bytes: AtomicUsize,
}

struct InputChunk {
    request: u64,
    /// The client and its claim, where a terminal of its shows this session.
    terminal: Option<(ClientId, Claim)>,
    data: Bytes,
}

impl Input {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self { lanes: Vec::new(), outstanding: Arc::default(), link }
    }

    /// Takes input to be typed, unless too much of it is outstanding.
    pub(super) fn type_in(
        &mut self,
        request: u64,
        session: &Arc<Session>,
        terminal: Option<(ClientId, Claim)>,
        data: Bytes,
    ) -> Result<(), RequestError> {
        let Outstanding { frames, bytes } = &*self.outstanding;
        if frames.load(Ordering::Relaxed) == MAX_FRAMES
            || bytes.load(Ordering::Relaxed) + data.len() > MAX_BYTES
        {
            return Err(RequestError::TooManyOutstanding);
        }
        frames.fetch_add(1, Ordering::Relaxed);
        bytes.fetch_add(data.len(), Ordering::Relaxed);
        let lane = self.lane(session.id());
        let chunk = InputChunk { request, terminal, data };
        let is_typing = lane.state.with(|state| {
            state.chunks.push_back(chunk);
            std::mem::replace(&mut state.is_typing, true)
        });
        if is_typing {
            lane.more.notify_one();
            return Ok(());
        }
        let typing =
            type_all(lane, Arc::clone(session), Arc::clone(&self.outstanding), Arc::clone(&self.link));
        let link = Arc::clone(&self.link);
        tokio::spawn(async move {
            tokio::select! {
                biased;
                // The client is gone.
                () = link.closed() => {}
                () = typing => {}
            }
        });
        Ok(())
    }

    /// The session's lane. Others that are idle and in the middle of nothing are let go.
    fn lane(&mut self, session: SessionId) -> Arc<Lane> {
        if let Some(lane) = self.lanes.iter().find(|lane| lane.session == session) {
            return Arc::clone(lane);
        }
        self.lanes.retain(|lane| lane.state.with(|state| state.is_typing || !state.typed.is_at_rest()));
        let state = Mutex::new(Rank::Leaf, InputState::default());
        let lane = Arc::new(Lane { session, state, more: Notify::new() });
        self.lanes.push(Arc::clone(&lane));
        lane
    }
}

impl Lane {
    /// The next chunk; without one, the task that asks has ended, unless it is in the middle of a terminal's reply.
    fn next(&self, typed: &mut ReplyFilter) -> Option<InputChunk> {
        self.state.with(|state| {
            let chunk = state.chunks.pop_front();
            if chunk.is_none() && !typed.is_holding() {
                // An idle client is not to keep room for a paste.
                state.chunks = VecDeque::new();
                state.typed = std::mem::take(typed);
                state.is_typing = false;
            }
            chunk
        })
    }
}

async fn type_all(lane: Arc<Lane>, session: Arc<Session>, outstanding: Arc<Outstanding>, link: Arc<Link>) {
    let mut typed = lane.state.with(|state| std::mem::take(&mut state.typed));
    loop {
        let Some(InputChunk { request, terminal, data }) = lane.next(&mut typed) else {
            if !typed.is_holding() {
                return;
            }
            if timeout(HOLD_TIME, lane.more.notified()).await.is_err() {
                // The rest did not come: it was no answer. An error says that the session ended.
                let _ = session.type_in(&typed.flush()).await;
            }
            continue;
        };
        let is_interrupt = session.is_interrupt(&data);
        let result = match terminal {
            Some(terminal) => session.type_from(terminal, &mut typed, &data).await,
            None => session.type_in(&data).await,
        };
        outstanding.frames.fetch_sub(1, Ordering::Relaxed);
        outstanding.bytes.fetch_sub(data.len(), Ordering::Relaxed);
        let answer = answer(result, &session);
        if is_interrupt && link.send(Command::Purge(session.id())).await.is_err() {
            return;
        }
        if link.send(Command::Frame(wire::encode_reply(request, &answer))).await.is_err() {
            return;
        }
    }
}

fn answer(typed: io::Result<()>, session: &Session) -> Result<Reply, RequestError> {
    match (typed, session.span().ended) {
        (Ok(()), _) => Ok(Reply::Written),
        (Err(_), Some(status)) => {
            Err(RequestError::SessionEnded { name: session.name().to_string(), status })
        }
        (Err(error), None) => {
            Err(RequestError::Failed { what: "writing to the terminal".to_owned(), why: error.to_string() })
        }
    }
}
