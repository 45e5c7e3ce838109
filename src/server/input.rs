//! A client's input on its way into terminals: a lane for each session, so that a program that does not read holds up
//! nothing that is typed elsewhere.
//!
//! What a terminal sent of its own accord, to answer a question of the program's, is let through or dropped by the
//! session's rules. A lane ends with its session, or with the client's reader, and holds no session while it is idle.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use tokio::{sync::mpsc, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use super::writer::{Command, Commands};
use crate::{
    ClientId, SessionId,
    message::{Reply, RequestError},
    session::{HOLD_TIME, Session, Typed},
    wire,
};

/// Input that a client may have outstanding, in frames and in bytes, for all sessions together.
const MAX_FRAMES: usize = 64;
const MAX_BYTES: usize = 256 * 1024;

pub(super) struct Input {
    lanes: Vec<Lane>,
    outstanding: Arc<Outstanding>,
    writer: Commands,
    /// They end with the client's reader.
    tasks: JoinSet<()>,
}

struct Lane {
    session: SessionId,
    chunks: mpsc::Sender<Chunk>,
}

/// Relaxed throughout: the client's reader alone adds, and nothing else is read by what the counts say.
#[derive(Default)]
struct Outstanding {
    frames: AtomicUsize,
    bytes: AtomicUsize,
}

struct Chunk {
    request: u64,
    session: Arc<Session>,
    /// The client, where a terminal of its shows this session.
    terminal: Option<ClientId>,
    data: Bytes,
}

impl Input {
    pub(super) fn new(writer: Commands) -> Self {
        Self { lanes: Vec::new(), outstanding: Arc::default(), writer, tasks: JoinSet::new() }
    }

    /// Takes input to be typed, unless too much of it is outstanding.
    pub(super) fn type_in(
        &mut self,
        request: u64,
        session: Arc<Session>,
        terminal: Option<ClientId>,
        data: Bytes,
    ) -> Result<(), RequestError> {
        let Outstanding { frames, bytes } = &*self.outstanding;
        if frames.load(Ordering::Relaxed) == MAX_FRAMES
            || bytes.load(Ordering::Relaxed) + data.len() > MAX_BYTES
        {
            return Err(RequestError::TooManyOutstanding);
        }
        let length = data.len();
        let chunk = Chunk { request, session, terminal, data };
        self.lane(&chunk.session).try_send(chunk).map_err(|_| RequestError::TooManyOutstanding)?;
        self.outstanding.frames.fetch_add(1, Ordering::Relaxed);
        self.outstanding.bytes.fetch_add(length, Ordering::Relaxed);
        Ok(())
    }

    fn lane(&mut self, session: &Session) -> &mpsc::Sender<Chunk> {
        // Those whose sessions have ended.
        self.lanes.retain(|lane| !lane.chunks.is_closed());
        while self.tasks.try_join_next().is_some() {}
        let at = self.lanes.iter().position(|lane| lane.session == session.id());
        let at = at.unwrap_or_else(|| {
            let (chunks, queue) = mpsc::channel(MAX_FRAMES);
            let (outstanding, writer) = (Arc::clone(&self.outstanding), self.writer.clone());
            self.tasks.spawn(type_all(queue, session.gone_token(), outstanding, writer));
            self.lanes.push(Lane { session: session.id(), chunks });
            self.lanes.len() - 1
        });
        &self.lanes[at].chunks
    }
}

async fn type_all(
    mut queue: mpsc::Receiver<Chunk>,
    gone: CancellationToken,
    outstanding: Arc<Outstanding>,
    writer: Commands,
) {
    // What is kept back of a terminal's input, and its session while there is something.
    let mut typed = Typed::default();
    let mut kept_for: Option<Arc<Session>> = None;
    loop {
        let chunk = tokio::select! {
            biased;
            chunk = queue.recv() => chunk,
            () = sleep(HOLD_TIME), if kept_for.is_some() => {
                // The rest did not come: it was no answer.
                if let Some(session) = kept_for.take() {
                    // An error says that the session ended.
                    let _ = session.type_in(&typed.flush()).await;
                }
                continue;
            }
            // Nothing more is taken; what was is still answered.
            () = gone.cancelled(), if !queue.is_closed() => {
                queue.close();
                continue;
            }
        };
        let Some(Chunk { request, session, terminal, data }) = chunk else { return };
        let is_interrupt = session.is_interrupt(&data);
        let result = match terminal {
            Some(client) => {
                let passed = session.filter(&mut typed, client, &data);
                kept_for = typed.is_holding().then(|| Arc::clone(&session));
                session.type_in(&passed).await
            }
            None => session.type_in(&data).await,
        };
        outstanding.frames.fetch_sub(1, Ordering::Relaxed);
        outstanding.bytes.fetch_sub(data.len(), Ordering::Relaxed);
        let answer = answer(result, &session);
        if is_interrupt && writer.send(Command::Purge(session.id()).into()).await.is_err() {
            return;
        }
        drop(session);
        if writer.send(Command::Frame(wire::encode_reply(request, &answer)).into()).await.is_err() {
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
