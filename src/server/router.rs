//! What each request does. One router per connection, run by its reader.
//!
//! Requests that concern what this client watches become commands to the writer, which carries them out in order with
//! its output. Whatever may be refused is decided here, so that a command can't fail. Requests that wait (typing into
//! a terminal, seeing a program out) wait in tasks of their own, so that the next request is never held up.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use super::{
    Shared,
    writer::{Command, View},
};
use crate::{
    SessionId,
    message::{
        Attach, ClientMessage, Create, Reply, RequestError, ServerStats, StartAt, Target, View as ViewOptions,
    },
    session::{NotHeld, Session},
    wire,
};

/// Input a client may have outstanding, in frames and in bytes.
const MAX_INPUT_FRAMES: usize = 64;
const MAX_INPUT_BYTES: usize = 256 * 1024;

/// Kills a client may be waiting for.
const MAX_WAITING: usize = 16;

pub(super) struct Router {
    shared: Arc<Shared>,
    writer: mpsc::Sender<Command>,
    /// Kills whose reply is outstanding.
    waiting: JoinSet<()>,
    typist: Option<Typist>,
}

/// The connection is going down; its reader stops too.
#[derive(Debug)]
pub(super) struct WriterGone;

/// Types a client's input in order, and replies as it goes.
struct Typist {
    lines: mpsc::Sender<Line>,
    outstanding: Arc<AtomicUsize>,
    /// Ends with the router.
    _task: JoinSet<()>,
}

struct Line {
    request: u64,
    session: Arc<Session>,
    data: Bytes,
}

type Answer = Result<Reply, RequestError>;

impl Router {
    pub(super) fn new(shared: Arc<Shared>, writer: mpsc::Sender<Command>) -> Self {
        Self { shared, writer, waiting: JoinSet::new(), typist: None }
    }

    /// Carries out a request, or has it carried out; either way it is answered exactly once.
    pub(super) async fn route(&mut self, id: u64, request: ClientMessage) -> Result<(), WriterGone> {
        #[cfg(test)]
        if request == ClientMessage::Ping {
            super::tests::panic_if_asked(id);
        }
        let answer = match request {
            ClientMessage::List => Some(Ok(Reply::Sessions(self.shared.sessions.list()))),
            ClientMessage::Create(create) => self.create(id, &create).await?,
            ClientMessage::Attach(Attach { session, view }) => self.attach(id, &session, view).await?,
            ClientMessage::Detach => {
                self.command(Command::Detach { request: id }).await?;
                None
            }
            ClientMessage::Input { session, data } => self.input(id, session, data).err().map(Err),
            ClientMessage::Resize { session, size } => Some(self.session(session).and_then(|session| {
                session.resize(size).map_err(|error| failed("resizing", &error))?;
                Ok(Reply::Resized)
            })),
            ClientMessage::Kill { session } => self.kill(id, &session).err().map(Err),
            ClientMessage::Stats => Some(Ok(Reply::Stats(Box::new(self.stats())))),
            ClientMessage::Ping => Some(Ok(Reply::Pong)),
        };
        match answer {
            Some(answer) => self.answer(id, answer).await,
            None => Ok(()),
        }
    }

    pub(super) async fn answer(&self, id: u64, answer: Answer) -> Result<(), WriterGone> {
        self.command(Command::Frame(wire::encode_reply(id, &answer))).await
    }

    pub(super) async fn command(&self, command: Command) -> Result<(), WriterGone> {
        self.writer.send(command).await.map_err(|_| WriterGone)
    }

    async fn create(&mut self, id: u64, create: &Create) -> Result<Option<Answer>, WriterGone> {
        // The session prints nothing into its log until `begin` drops: after the attach, where there is one.
        let (begin, start) = oneshot::channel();
        let session = match self.shared.sessions.create(create, start) {
            Ok(session) => session,
            Err(refused) => return Ok(Some(Err(refused))),
        };
        match create.attach {
            None => Ok(Some(Ok(Reply::Created(session.info(0))))),
            Some(options) => {
                let options = ViewOptions { start: StartAt::Oldest, ..options };
                self.watch(id, session, options, Some(begin)).await
            }
        }
    }

    async fn attach(
        &mut self,
        id: u64,
        target: &Target,
        options: ViewOptions,
    ) -> Result<Option<Answer>, WriterGone> {
        match self.shared.sessions.find(target) {
            Ok(session) => self.watch(id, session, options, None).await,
            Err(refused) => Ok(Some(Err(refused))),
        }
    }

    async fn watch(
        &mut self,
        request: u64,
        session: Arc<Session>,
        options: ViewOptions,
        begin: Option<oneshot::Sender<()>>,
    ) -> Result<Option<Answer>, WriterGone> {
        match session.read_from(options.start, options.on_lag) {
            Ok(reader) => {
                let view = View::new(session, reader);
                self.command(Command::Attach { request, view, begin }).await?;
                Ok(None)
            }
            Err(NotHeld { offset, oldest, head }) => {
                Ok(Some(Err(RequestError::OffsetNotHeld { offset, oldest, head })))
            }
        }
    }

    fn session(&self, id: SessionId) -> Result<Arc<Session>, RequestError> {
        self.shared.sessions.find(&Target::Id(id))
    }

    /// Hands input to the typist, unless too much of it is outstanding.
    fn input(&mut self, request: u64, session: SessionId, data: Bytes) -> Result<(), RequestError> {
        let session = self.session(session)?;
        let writer = self.writer.clone();
        let typist = self.typist.get_or_insert_with(|| Typist::start(writer));
        // Relaxed: this task alone adds, and nothing else is read by what the count says.
        if typist.outstanding.load(Ordering::Relaxed) + data.len() > MAX_INPUT_BYTES {
            return Err(RequestError::TooManyOutstanding);
        }
        let length = data.len();
        let line = Line { request, session, data };
        typist.lines.try_send(line).map_err(|_| RequestError::TooManyOutstanding)?;
        typist.outstanding.fetch_add(length, Ordering::Relaxed);
        Ok(())
    }

    fn kill(&mut self, id: u64, target: &Target) -> Result<(), RequestError> {
        while self.waiting.try_join_next().is_some() {}
        if self.waiting.len() == MAX_WAITING {
            return Err(RequestError::TooManyOutstanding);
        }
        let session = self.shared.sessions.find(target)?;
        session.hang_up();
        let writer = self.writer.clone();
        self.waiting.spawn(async move {
            let answer = Ok(Reply::Killed(session.gone().await));
            // An error says that the connection ended meanwhile.
            let _ = writer.send(Command::Frame(wire::encode_reply(id, &answer))).await;
        });
        Ok(())
    }

    fn stats(&self) -> ServerStats {
        let shared = &self.shared;
        let registry = shared.registry.stats();
        ServerStats {
            pid: std::process::id(),
            uptime_seconds: shared.started.elapsed().as_secs(),
            connections: shared.counters.connections.load(Ordering::Relaxed),
            connections_closed: shared.counters.closed.load(Ordering::Relaxed),
            messages_sent: registry.deliveries.sent as u64,
            messages_skipped: registry.deliveries.full as u64,
            messages_closed: registry.deliveries.closed as u64,
            writes: shared.counters.writes.load(Ordering::Relaxed),
            bytes_written: shared.counters.bytes_written.load(Ordering::Relaxed),
            history_bytes: shared.sessions.history_bytes(),
            clients_per_shard: registry.clients_per_shard,
            sessions_per_shard: registry.sessions_per_shard,
        }
    }
}

impl Typist {
    fn start(writer: mpsc::Sender<Command>) -> Self {
        let (lines, mut queue) = mpsc::channel::<Line>(MAX_INPUT_FRAMES);
        let outstanding = Arc::new(AtomicUsize::new(0));
        let typed = Arc::clone(&outstanding);
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Some(Line { request, session, data }) = queue.recv().await {
                let answer = match (session.type_in(&data).await, session.span().ended) {
                    (Ok(()), _) => Ok(Reply::Written),
                    (Err(_), Some(status)) => {
                        Err(RequestError::SessionEnded { name: session.name().to_string(), status })
                    }
                    (Err(error), None) => Err(failed("writing to the terminal", &error)),
                };
                typed.fetch_sub(data.len(), Ordering::Relaxed);
                if writer.send(Command::Frame(wire::encode_reply(request, &answer))).await.is_err() {
                    return;
                }
            }
        });
        Self { lines, outstanding, _task: task }
    }
}

fn failed(what: &str, error: &std::io::Error) -> RequestError {
    RequestError::Failed { what: what.to_owned(), why: error.to_string() }
}
