//! What each request does. One router per connection, run by its reader.
//!
//! Requests that concern what this client watches become commands to the writer, which carries them out in order with
//! its output. Whatever may be refused is decided here, so that a command can't fail. Requests that wait (typing into
//! a terminal, seeing a program out) wait in tasks of their own, so that the next request is never held up.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use tokio::{sync::oneshot, task::JoinSet};

use super::{
    Shared,
    typist::Typist,
    view::{Seat, View},
    writer::{Command, Commands},
};
use crate::{
    ClientId, SessionId, TerminalSize,
    message::{
        Access, Attach, ClientMessage, Create, Reply, RequestError, ServerStats, StartAt, Target,
        View as ViewOptions,
    },
    session::{Claim, NotHeld, Session},
    wire,
};

/// Kills a client may be waiting for.
const MAX_WAITING: usize = 16;

pub(super) struct Router {
    shared: Arc<Shared>,
    client: ClientId,
    /// What the client watches, as far as the reader has asked the writer.
    watching: Option<Watching>,
    writer: Commands,
    /// Kills whose reply is outstanding.
    waiting: JoinSet<()>,
    typist: Option<Typist>,
}

/// The connection is going down; its reader stops too.
#[derive(Debug)]
pub(super) struct WriterGone;

/// A client's part in the session it watches.
struct Watching {
    session: Arc<Session>,
    access: Access,
    is_terminal: bool,
    /// With a terminal that may type: its claim on the session's size.
    claim: Option<Claim>,
}

type Answer = Result<Reply, RequestError>;

impl Router {
    pub(super) fn new(shared: Arc<Shared>, client: ClientId, writer: Commands) -> Self {
        Self { shared, client, watching: None, writer, waiting: JoinSet::new(), typist: None }
    }

    /// Carries out a request, or has it carried out; either way it is answered exactly once.
    pub(super) async fn route(&mut self, id: u64, request: ClientMessage) -> Result<(), WriterGone> {
        #[cfg(test)]
        if request == ClientMessage::Ping {
            super::tests::panic_if_asked(id);
        }
        let changes = matches!(
            request,
            ClientMessage::Create(_) | ClientMessage::Input { .. } | ClientMessage::Kill { .. }
        );
        if changes && self.is_read_only() {
            return self.answer(id, Err(RequestError::ReadOnly)).await;
        }
        let answer = match request {
            ClientMessage::List => Some(Ok(Reply::Sessions(self.shared.sessions.list()))),
            ClientMessage::Create(create) => self.create(id, &create).await?,
            ClientMessage::Attach(Attach { session, view }) => self.attach(id, &session, view).await?,
            ClientMessage::Detach => {
                self.watching = None;
                self.command(Command::Detach { request: id }).await?;
                None
            }
            ClientMessage::Input { session, data } => self.input(id, session, data).err().map(Err),
            ClientMessage::Resize { session, size } => self.resize(id, session, size).await?,
            ClientMessage::Resync => {
                self.command(Command::Resync { request: id }).await?;
                None
            }
            ClientMessage::Kill { session } => self.kill(id, &session).err().map(Err),
            ClientMessage::Stats => Some(Ok(Reply::Stats(Box::new(self.stats().await)))),
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

    pub(super) fn command(&self, command: Command) -> impl Future<Output = Result<(), WriterGone>> {
        let sent = self.writer.send(command.into());
        async { sent.await.map_err(|_| WriterGone) }
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
        let may_type = options.access == Access::ReadWrite;
        // Before the screen is drawn, which it is in the session's new size then.
        let seat = options.size.filter(|_| may_type).map(|size| Seat::take(&session, self.client, size));
        // What is drawn is of this size or a later one, of which the writer will tell.
        let size = session.size();
        let started = match options.start {
            StartAt::Screen => session.read_from_screen(options.on_lag).await,
            start => session.read_from(start, options.on_lag).map(|reader| (reader, None)),
        };
        match started {
            Ok((reader, drawn)) => {
                self.watching = Some(Watching {
                    session: Arc::clone(&session),
                    access: options.access,
                    is_terminal: options.size.is_some(),
                    claim: seat.as_ref().map(Seat::claim),
                });
                let view = View::new(session, reader, options, seat, size);
                self.command(Command::Attach { request, view, drawn, begin }).await?;
                Ok(None)
            }
            Err(NotHeld { offset, oldest, head }) => {
                Ok(Some(Err(RequestError::OffsetNotHeld { offset, oldest, head })))
            }
        }
    }

    fn is_read_only(&self) -> bool {
        let watching = self.watching.as_ref();
        // Once its session has ended, a client watches nothing.
        watching.is_some_and(|watching| {
            watching.access == Access::ReadOnly && watching.session.span().ended.is_none()
        })
    }

    /// What this client has in a session, if it watches it.
    fn watching(&self, session: SessionId) -> Option<&Watching> {
        self.watching.as_ref().filter(|watching| watching.session.id() == session)
    }

    fn session(&self, id: SessionId) -> Result<Arc<Session>, RequestError> {
        self.shared.sessions.find(&Target::Id(id))
    }

    async fn resize(
        &mut self,
        request: u64,
        session: SessionId,
        size: TerminalSize,
    ) -> Result<Option<Answer>, WriterGone> {
        let found = match self.session(session) {
            Ok(found) => found,
            Err(refused) => return Ok(Some(Err(refused))),
        };
        match self.watching(session) {
            // Its own terminal's size is the writer's to know, whether it counts or not.
            Some(Watching { is_terminal: true, claim, .. }) => {
                let claim = *claim;
                self.command(Command::Resize { request, size }).await?;
                if let Some(claim) = claim {
                    found.resize_terminal(claim, size);
                }
                Ok(None)
            }
            _ if self.is_read_only() => Ok(Some(Err(RequestError::ReadOnly))),
            _ => {
                found.ask_size(size);
                Ok(Some(Ok(Reply::Resized)))
            }
        }
    }

    /// Hands input to the typist, unless too much of it is outstanding.
    fn input(&mut self, request: u64, session: SessionId, data: Bytes) -> Result<(), RequestError> {
        let session = self.session(session)?;
        let terminal = match self.watching(session.id()) {
            Some(watching) => {
                if let Some(claim) = watching.claim {
                    session.typed_by(claim);
                }
                watching.is_terminal.then_some(self.client)
            }
            None => None,
        };
        let typist = self.typist.get_or_insert_with(|| Typist::start(self.writer.clone()));
        typist.type_in(request, session, terminal, data)
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
            let _ = writer.send(Command::Frame(wire::encode_reply(id, &answer)).into()).await;
        });
        Ok(())
    }

    async fn stats(&self) -> ServerStats {
        let shared = &self.shared;
        let registry = shared.registry.stats();
        let sessions = shared.sessions.stats().await;
        let standings: Vec<_> = shared.with_clients(|clients| {
            clients.iter().map(|(id, standing)| (*id, Arc::clone(standing))).collect()
        });
        let mut clients: Vec<_> = standings
            .iter()
            .map(|(id, standing)| {
                let watched = shared.registry.get_client(*id).and_then(|entry| entry.attached_session);
                let head = watched.and_then(|id| Some((id, self.session(id).ok()?.head())));
                standing.stats(head)
            })
            .collect();
        clients.sort_by_key(|client| client.client);
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
            history_bytes: sessions.iter().map(|session| session.history_bytes).sum(),
            clients_per_shard: registry.clients_per_shard,
            sessions_per_shard: registry.sessions_per_shard,
            clients,
            sessions,
        }
    }
}
