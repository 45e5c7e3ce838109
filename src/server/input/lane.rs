//! What is typed into one session, one piece after another.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use bytes::{Buf, Bytes};
use tokio::{sync::Notify, time::timeout};

use super::super::{command::Command, link::Link};
use crate::{
    ClientId, SessionId,
    message::{InputPosition, InputStreamId, Reply, RequestError},
    session::{Claim, InputMark, Session},
    sync::{Mutex, Rank},
    terminal::{HOLD_TIME, ReplyFilter},
    wire,
};

/// Input that a client may have outstanding, in frames and in bytes, for all sessions together; and the bytes that a
/// stream may have, whoever sent them.
const MAX_FRAMES: usize = 64;
const MAX_BYTES: usize = 256 * 1024;

/// What is typed into one session, in order.
#[derive(Debug)]
pub(super) struct Lane {
    session: SessionId,
    /// Where its place is kept for the next server.
    mark: Option<InputMark>,
    /// The stream that a provider is told, if it is one that types.
    elsewhere: Option<InputStreamId>,
    /// A leaf lock.
    state: Mutex<InputState>,
    /// There is more while a task types.
    more: Notify,
}

#[derive(Debug, Default)]
struct InputState {
    chunks: VecDeque<InputChunk>,
    /// Bytes in the chunks, and in the one that is being typed.
    bytes: usize,
    /// Bytes of its stream that were taken.
    taken: u64,
    /// How many were before it began is not known here: it begins with the first that come.
    begins_anywhere: bool,
    /// What the client's terminal is in the middle of; with the task while there is one.
    typed: ReplyFilter,
    is_typing: bool,
}

/// Relaxed throughout: the client's reader alone adds, and nothing else is read by what the counts say.
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    frames: AtomicUsize,
    bytes: AtomicUsize,
    /// The connection has ended.
    is_over: AtomicBool,
}

impl Outstanding {
    /// Whether there may be one more, of so many bytes.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.frames.load(Ordering::Relaxed) < MAX_FRAMES
            && self.bytes.load(Ordering::Relaxed) + bytes <= MAX_BYTES
    }

    fn add(&self, bytes: usize) {
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn remove(&self, bytes: usize) {
        self.frames.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The connection has ended.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
pub(super) struct InputChunk {
    pub(super) request: u64,
    /// The client and its claim, where a terminal of its shows this session; without a claim, where one does elsewhere.
    pub(super) terminal: Option<(ClientId, Option<Claim>)>,
    /// What is to be typed; of a stream, what was not taken before.
    pub(super) data: Bytes,
    /// Of a stream, the bytes of it up to the end of this; set when it is taken.
    pub(super) end: u64,
    /// What its connection has outstanding, with this, which is so many bytes of it.
    pub(super) outstanding: Arc<Outstanding>,
    pub(super) counts_as: usize,
    /// Who is answered.
    pub(super) link: Arc<Link>,
}

impl Lane {
    /// A connection's own.
    pub(super) fn new(session: &Session) -> Self {
        let elsewhere = session.is_typed_elsewhere().then(InputStreamId::random);
        let state = Mutex::new(Rank::Leaf, InputState::default());
        Self { session: session.id(), mark: None, elsewhere, state, more: Notify::new() }
    }

    /// Of a stream, from where an earlier server left it. Of one that a provider types, its own server knows that.
    pub(super) fn of_stream(session: &Session, stream: InputStreamId) -> Self {
        let (mark, taken) = session.input_mark(stream);
        let begins_anywhere = session.is_typed_elsewhere();
        let elsewhere = begins_anywhere.then_some(stream);
        let state = InputState { taken, begins_anywhere, ..InputState::default() };
        let state = Mutex::new(Rank::Leaf, state);
        Self { session: session.id(), mark, elsewhere, state, more: Notify::new() }
    }

    /// The place before what ends at `end`, as a provider is told it.
    pub(super) fn place(&self, end: u64, bytes: usize) -> Option<InputPosition> {
        self.elsewhere.map(|stream| InputPosition { stream, offset: end - bytes as u64 })
    }

    /// Waits until there may be more, while a task types.
    pub(super) async fn more(&self) {
        self.more.notified().await;
    }

    /// What was typed is, or is not going to be.
    pub(super) fn is_typed(&self, bytes: usize) {
        self.state.with(|state| state.bytes -= bytes);
    }

    /// What a terminal is in the middle of, for the task that types.
    pub(super) fn take_typed(&self) -> ReplyFilter {
        self.state.with(|state| std::mem::take(&mut state.typed))
    }

    pub(super) fn session(&self) -> SessionId {
        self.session
    }

    /// Whether nothing is typed, and a terminal is in the middle of nothing.
    pub(super) fn is_at_rest(&self) -> bool {
        self.state.with(|state| !state.is_typing && state.typed.is_at_rest())
    }

    /// Takes a chunk, of a stream what was not taken before. Returns whether a task types already; otherwise one is to
    /// be started.
    pub(super) fn push(&self, mut chunk: InputChunk, offset: Option<u64>) -> Result<bool, RequestError> {
        let (pushed, dropped) = self.state.with(|state| {
            let mut dropped = VecDeque::new();
            if let Some(offset) = offset.or_else(|| self.elsewhere.map(|_| state.taken)) {
                if std::mem::take(&mut state.begins_anywhere) {
                    state.taken = offset;
                }
                let taken = state.taken;
                let Some(known) = taken.checked_sub(offset) else {
                    return (Err(RequestError::InputMissing { offset, taken }), dropped);
                };
                chunk.data.advance(usize::try_from(known).unwrap_or(usize::MAX).min(chunk.data.len()));
                if state.bytes + chunk.data.len() > MAX_BYTES {
                    return (Err(RequestError::TooManyOutstanding), dropped);
                }
                state.taken += chunk.data.len() as u64;
                chunk.end = state.taken;
                if state.chunks.len() >= MAX_FRAMES {
                    // Of connections that were lost, only what is to be typed is left to do.
                    let (left, over) = std::mem::take(&mut state.chunks)
                        .into_iter()
                        .partition(|chunk| !chunk.data.is_empty() || !chunk.outstanding.is_over());
                    (state.chunks, dropped) = (left, over);
                }
            }
            state.bytes += chunk.data.len();
            chunk.outstanding.add(chunk.counts_as);
            state.chunks.push_back(chunk);
            (Ok(std::mem::replace(&mut state.is_typing, true)), dropped)
        });
        drop(dropped);
        if let Ok(true) = pushed {
            self.more.notify_one();
        }
        pushed
    }

    /// The next chunk. Without one, the task that asks has ended, unless it `goes_on`, or is in the middle of a
    /// terminal's reply.
    pub(super) fn next(&self, typed: &mut ReplyFilter, goes_on: bool) -> Option<InputChunk> {
        self.state.with(|state| {
            let chunk = state.chunks.pop_front();
            if chunk.is_none() && !goes_on && !typed.is_holding() {
                // An idle client is not to keep room for a paste.
                state.chunks = VecDeque::new();
                state.typed = std::mem::take(typed);
                state.is_typing = false;
            }
            chunk
        })
    }
}

/// Types all there is. Dropping the future may leave a part of a chunk typed.
pub(super) async fn type_all(lane: Arc<Lane>, session: Arc<Session>) {
    let mut typed = lane.take_typed();
    loop {
        let Some(chunk) = lane.next(&mut typed, false) else {
            if !typed.is_holding() {
                return;
            }
            if timeout(HOLD_TIME, lane.more.notified()).await.is_err() {
                // The rest did not come: it was no answer. An error says that the session ended.
                let _ = session.type_in(&typed.flush(), None).await;
            }
            continue;
        };
        let InputChunk { request, terminal, data, end, outstanding, counts_as, link } = chunk;
        let mark = lane.mark.map(|mark| (mark, end));
        let is_interrupt = session.is_interrupt(&data);
        let result = match terminal {
            Some(terminal) => session.type_from(terminal, &mut typed, &data, mark).await,
            None => session.type_in(&data, mark).await,
        };
        outstanding.remove(counts_as);
        lane.is_typed(data.len());
        let answer = answer(result, &session);
        // Errors say that the connection has ended. With its own lane, this has as well.
        if is_interrupt {
            let _ = link.send(Command::Purge(session.id())).await;
        }
        let _ = link.send(Command::Frame(wire::encode_reply(request, &answer))).await;
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
