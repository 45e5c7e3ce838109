//! Types a client's input into terminals, in order, and answers as it goes.
//!
//! Typing waits for programs that do not read, so it has a task of its own. What a terminal sent of its own accord, to
//! answer a question of the program's, is let through or dropped by the session's rules.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

use super::writer::{Command, Commands};
use crate::{
    ClientId,
    message::{Reply, RequestError},
    session::{HOLD_TIME, Session, Typed},
    wire,
};

/// Input a client may have outstanding, in frames and in bytes.
const MAX_INPUT_FRAMES: usize = 64;
const MAX_INPUT_BYTES: usize = 256 * 1024;

pub(super) struct Typist {
    lines: mpsc::Sender<Line>,
    outstanding: Arc<AtomicUsize>,
    /// Ends with the client's reader.
    _task: JoinSet<()>,
}

struct Line {
    request: u64,
    session: Arc<Session>,
    /// The client, where a terminal of its shows this session.
    terminal: Option<ClientId>,
    data: Bytes,
}

impl Typist {
    pub(super) fn start(writer: Commands) -> Self {
        let (lines, queue) = mpsc::channel(MAX_INPUT_FRAMES);
        let outstanding = Arc::new(AtomicUsize::new(0));
        let mut task = JoinSet::new();
        task.spawn(type_all(queue, Arc::clone(&outstanding), writer));
        Self { lines, outstanding, _task: task }
    }

    /// Takes input to be typed, unless too much of it is outstanding.
    pub(super) fn type_in(
        &self,
        request: u64,
        session: Arc<Session>,
        terminal: Option<ClientId>,
        data: Bytes,
    ) -> Result<(), RequestError> {
        // Relaxed: the client's reader alone adds, and nothing else is read by what the count says.
        if self.outstanding.load(Ordering::Relaxed) + data.len() > MAX_INPUT_BYTES {
            return Err(RequestError::TooManyOutstanding);
        }
        let length = data.len();
        let line = Line { request, session, terminal, data };
        self.lines.try_send(line).map_err(|_| RequestError::TooManyOutstanding)?;
        self.outstanding.fetch_add(length, Ordering::Relaxed);
        Ok(())
    }
}

async fn type_all(mut queue: mpsc::Receiver<Line>, outstanding: Arc<AtomicUsize>, writer: Commands) {
    // What is kept back of a terminal's input, and the session it was for.
    let mut typed = Typed::default();
    let mut kept_for: Option<Arc<Session>> = None;
    loop {
        let line =
            if typed.is_holding() { timeout(HOLD_TIME, queue.recv()).await } else { Ok(queue.recv().await) };
        let next = match &line {
            Ok(Some(line)) => Some(line.session.id()),
            Ok(None) => return,
            Err(_) => None,
        };
        // The rest did not come, or is for another program: it was no answer.
        if let Some(session) = kept_for.take_if(|session| next != Some(session.id())) {
            // An error says that the session ended.
            let _ = session.type_in(&typed.flush()).await;
        }
        let Ok(Some(Line { request, session, terminal, data })) = line else { continue };
        let is_interrupt = session.is_interrupt(&data);
        let result = match terminal {
            Some(client) => {
                let passed = session.filter(&mut typed, client, &data);
                kept_for = Some(Arc::clone(&session));
                session.type_in(&passed).await
            }
            None => session.type_in(&data).await,
        };
        outstanding.fetch_sub(data.len(), Ordering::Relaxed);
        let answer = answer(result, &session);
        if is_interrupt && writer.send(Command::Purge(session.id()).into()).await.is_err() {
            return;
        }
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
