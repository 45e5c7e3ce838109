//! What each request does. One router per connection, run by its reader.
//!
//! Requests that concern what this client watches become commands to the writer, which carries them out in order with
//! its output. Requests that wait (typing into a terminal, seeing a program out) wait in tasks of their own, so that
//! the next request is not held up by them. Starts and attaches alone are waited for: what the client may do next
//! depends on them.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use tokio::{sync::oneshot, task::JoinSet};
use tracing::info;

use super::{
    ServerState,
    changes::tell_events,
    command::{AttachCommand, Command},
    input::Input,
    link::{Closed, Link},
    nesting::Nested,
    peer::{Terminals, described},
    providing::{BegunProviding, Providing},
    restriction::Restriction,
};
use crate::{
    ClientId, ServerMessage, SessionId, TerminalSize,
    message::{
        Access, Attach, AttachOptions, ChangedSession, ClientEnvironment, ClientMessage, CloseReason, Create,
        InputPosition, LinkToken, PixelSize, Provide, ProviderStatement, Relay, Reply, RequestError,
        SessionChange, Share, StartAt, Target, ViewerId,
    },
    session::{Broken, Claim, Session, Window},
    wire,
};

/// Kills and ends that a client may be waiting for.
const MAX_WAITING: usize = 16;

pub(super) struct Router {
    shared: Arc<ServerState>,
    client: ClientId,
    /// Its process, where that is another than the server's.
    process: Option<i32>,
    /// What the client watches, or did when its session ended.
    watching: Option<Watching>,
    link: Arc<Link>,
    /// Kills and waits whose reply is outstanding. Most clients have none.
    waiting: Option<JoinSet<()>>,
    /// What tells it what happens to sessions, if it asked.
    listening: Option<JoinSet<()>>,
    input: Option<Box<Input>>,
    /// The sessions that it provides, if any.
    providing: Option<Box<Providing>>,
    /// The terminal elsewhere that counts through it, if any.
    elsewhere: Option<Elsewhere>,
    /// What it came by, if that is a relay.
    relay: Option<Box<Relay>>,
    /// What it may do, where that is not everything.
    restriction: Option<Box<Restriction>>,
    /// It has asked for something.
    has_asked: bool,
}

/// A client's part in the session it watches. Not the session itself: an idle client holds nothing of one that ended.
struct Watching {
    id: SessionId,
    access: Access,
    is_terminal: bool,
    /// Its terminal takes whatever size the session has.
    follows: bool,
    /// With a terminal that may type: its claim on the session's size.
    claim: Option<Claim>,
    /// Where it runs in sessions' terminals: its place there.
    nested: Option<Nested>,
}

/// A terminal that shows a session elsewhere, and counts for its size until this is dropped.
struct Elsewhere {
    session: Weak<Session>,
    claim: Claim,
}

impl Elsewhere {
    fn join(session: &Arc<Session>, window: Window) -> Self {
        Self { session: Arc::downgrade(session), claim: session.join_elsewhere(window) }
    }

    fn is_of(&self, session: &Arc<Session>) -> bool {
        self.session.as_ptr() == Arc::as_ptr(session)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        if let Some(session) = self.session.upgrade() {
            session.leave_elsewhere(self.claim);
        }
    }
}

/// Who answers a request that was not refused.
enum Handled {
    Reply(Reply),
    /// The writer, or a task, once it has carried it out; or nobody.
    Later,
}

/// Why a request was not carried out.
enum Failure {
    Refused(RequestError),
    /// The connection is going down; its reader stops too.
    Closed,
}

impl From<RequestError> for Failure {
    fn from(refused: RequestError) -> Self {
        Self::Refused(refused)
    }
}

impl From<Closed> for Failure {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl Router {
    pub(super) fn new(
        shared: Arc<ServerState>,
        (client, process, relay): (ClientId, Option<i32>, Option<Box<Relay>>),
        link: Arc<Link>,
    ) -> Self {
        // A client of the embedder's own shows nothing by itself.
        let own = i32::try_from(std::process::id()).ok();
        let process = process.filter(|process| Some(*process) != own);
        let only = relay.as_ref().and_then(|relay| relay.only.clone());
        Self {
            shared,
            client,
            process,
            watching: None,
            link,
            waiting: None,
            listening: None,
            input: None,
            providing: None,
            elsewhere: None,
            relay,
            restriction: only.map(|only| Box::new(Restriction::Watcher(only))),
            has_asked: false,
        }
    }

    /// Carries out a request, or has it carried out; either way it is answered exactly once, unless it is a
    /// [statement](Self::take_statement).
    pub(super) async fn route(&mut self, id: u64, request: ClientMessage) -> Result<(), Closed> {
        #[cfg(test)]
        if request == ClientMessage::Ping {
            super::tests::panic_if_asked(id);
        }
        if let ClientMessage::Statement { session, statement } = request {
            return self.take_statement(session, statement).await;
        }
        match self.carry_out(id, request).await {
            Ok(Handled::Reply(reply)) => self.answer(id, Ok(reply)).await,
            Ok(Handled::Later) => Ok(()),
            Err(Failure::Refused(refused)) => self.answer(id, Err(refused)).await,
            Err(Failure::Closed) => Err(Closed),
        }
    }

    async fn carry_out(&mut self, id: u64, request: ClientMessage) -> Result<Handled, Failure> {
        let request = self.allowed(request)?;
        match request {
            ClientMessage::List => self.command(Command::List { request: id }).await?,
            ClientMessage::Stats => self.command(Command::Stats { request: id }).await?,
            ClientMessage::Ping => return Ok(Handled::Reply(Reply::Pong)),
            ClientMessage::Create(create) => return self.create(id, create).await,
            ClientMessage::Attach(Attach { session, options, environment }) => {
                let session = self.find_to_read(&session)?;
                let environment = environment.or_else(|| self.environment_here());
                self.watch(id, session, (options, environment), None).await?;
            }
            ClientMessage::Detach => {
                self.watching = None;
                self.command(Command::Detach { request: id }).await?;
            }
            ClientMessage::Input { session, position, data } => {
                let claim = self.watching(session).and_then(|watching| watching.claim);
                self.input((id, data), session, position, claim.map(|claim| (self.client, Some(claim))))?;
            }
            ClientMessage::RemoteInput { session, position, data } => {
                self.input((id, data), session, Some(position), Some((self.client, None)))?;
            }
            ClientMessage::Provide(provide) => self.provide(id, &provide).await?,
            // It was taken in above.
            ClientMessage::Statement { .. } => {}
            ClientMessage::Resize { session, size, pixels } => {
                return self.resize(id, session, Window { size, pixels }).await;
            }
            ClientMessage::RemoteResize { session, window } => {
                return Ok(Handled::Reply(self.resize_elsewhere(session, window)?));
            }
            ClientMessage::Rules { session } => {
                return Ok(Handled::Reply(Reply::Rules(self.find_to_read(&session)?.rules())));
            }
            ClientMessage::Resync => self.command(Command::Resync { request: id }).await?,
            ClientMessage::Kill { session } => self.kill(id, &session)?,
            ClientMessage::Wait { session } => return Ok(self.wait(id, &session)?),
            ClientMessage::ReadScreen { session, lines } => {
                let session = self.find_to_read(&session)?;
                self.command(Command::ReadScreen { request: id, session, lines }).await?;
            }
            ClientMessage::Environment { session } => {
                let environment = self.find(&session)?.environment();
                return Ok(Handled::Reply(Reply::Environment(Box::new(environment))));
            }
            ClientMessage::Find { session } => {
                let info = self.shared.sessions.info(&*self.find(&session)?);
                return Ok(Handled::Reply(Reply::Found(Box::new(self.link.known(info)))));
            }
            ClientMessage::Change { session, change } => {
                return Ok(Handled::Reply(self.change(&session, change)?));
            }
            ClientMessage::Listen => return Ok(Handled::Reply(self.listen())),
            ClientMessage::Share(share) => return Ok(Handled::Reply(self.share(share).await?)),
            ClientMessage::Shares => self.command(Command::Shares { request: id }).await?,
            ClientMessage::Unshare(which) => {
                return Ok(Handled::Reply(Reply::Unshared(self.shared.unshare(which).await?)));
            }
            ClientMessage::Redeem { token, viewer } => {
                return Ok(Handled::Reply(self.redeem(token, viewer).await?));
            }
        }
        Ok(Handled::Later)
    }

    /// The request, if this client may ask for it.
    fn allowed(&mut self, request: ClientMessage) -> Result<ClientMessage, RequestError> {
        if let ClientMessage::Redeem { .. } = request {
            return self.may_redeem().map(|()| request);
        }
        self.has_asked |= request != ClientMessage::Ping;
        let changes = matches!(
            request,
            ClientMessage::Create(_)
                | ClientMessage::Input { .. }
                | ClientMessage::RemoteInput { .. }
                | ClientMessage::RemoteResize { .. }
                | ClientMessage::Provide(_)
                | ClientMessage::Kill { .. }
                | ClientMessage::Change { .. }
                | ClientMessage::Share(_)
                | ClientMessage::Unshare(_)
        );
        // A link says by itself what may be done.
        let has_link = self.restriction.as_ref().is_some_and(|restriction| restriction.is_link());
        if changes && !has_link && self.is_read_only() {
            return Err(RequestError::ReadOnly);
        }
        match &self.restriction {
            Some(restriction) => restriction.allowed(request, self.watched(), &self.shared.sessions),
            None => Ok(request),
        }
    }

    /// Refuses a link from a connection that may do something already: nothing that began before is to go on.
    fn may_redeem(&self) -> Result<(), RequestError> {
        match self.restriction.as_deref() {
            None if !self.has_asked => Ok(()),
            Some(Restriction::Unredeemed) => Ok(()),
            Some(restriction) => Err(restriction.refusal()),
            None => Err(RequestError::Malformed(
                "a link is redeemed before anything else is asked; connect again for it".to_owned(),
            )),
        }
    }

    /// Redeems a link. Whatever comes of it, the connection can do no more from now on than a link says.
    async fn redeem(&mut self, token: LinkToken, viewer: ViewerId) -> Result<Reply, RequestError> {
        self.restriction = Some(Box::new(Restriction::Unredeemed));
        let (redeemed, viewing) = self.shared.redeem(self.client, token, viewer).await?;
        self.restriction = Some(Box::new(Restriction::Link(viewing)));
        Ok(Reply::Redeemed(Box::new(redeemed)))
    }

    async fn share(&self, share: Share) -> Result<Reply, RequestError> {
        let session = share.session.as_ref().map(|session| self.find(session)).transpose()?;
        let shared = self.shared.share(share, session.as_deref()).await?;
        Ok(Reply::Shared(Box::new(shared)))
    }

    pub(super) async fn answer(&self, id: u64, answer: Result<Reply, RequestError>) -> Result<(), Closed> {
        self.command(Command::Frame(wire::encode_reply(id, &answer))).await
    }

    fn command(&self, command: Command) -> impl Future<Output = Result<(), Closed>> {
        self.link.send(command)
    }

    /// What is carried of the environment that this client's relay runs in. A link's viewer is in nobody's.
    fn environment_here(&self) -> Option<Box<ClientEnvironment>> {
        if self.restriction.as_ref().is_some_and(|restriction| restriction.is_link()) {
            return None;
        }
        let variables = self.relay.as_ref()?.env.iter().map(|(name, value)| (&name[..], &value[..]));
        Some(Box::new(ClientEnvironment::of(variables)))
    }

    async fn create(&mut self, id: u64, mut create: Create) -> Result<Handled, Failure> {
        if let Some(relay) = &self.relay {
            create = relay.complete(create);
        }
        // The session prints nothing into its log until `begin` drops: after the attach, where there is one.
        let (begin, start) = oneshot::channel();
        let attach = create.attach;
        let variables = create.env.iter().map(|(name, value)| (&name[..], &value[..]));
        let environment = attach.is_some().then(|| Box::new(ClientEnvironment::of(variables)));
        let session = self.shared.sessions.create(create, start).await?;
        let Some(options) = attach else {
            return Ok(Handled::Reply(Reply::Created(session.info(0))));
        };
        let options = AttachOptions { start: StartAt::Oldest, ..options };
        self.watch(id, session, (options, environment), Some(begin)).await?;
        Ok(Handled::Later)
    }

    /// Has a session ended, and tells those who watch it by whom.
    fn kill(&mut self, request: u64, target: &Target) -> Result<(), RequestError> {
        let (session, link) = (self.find(target)?, Arc::clone(&self.link));
        let by = self.process.map(described);
        info!(session = %session.id(), name = %session.name(), client = %self.client, ?by, "told to end");
        let registry = self.shared.registry.clone();
        let waiting = self.room_to_wait()?;
        if let Some(by) = by {
            let text = format!("{by} told this session to end");
            // Beside the output: one that is behind may not hear of it.
            let _ = registry.broadcast_to_session(session.id(), Arc::new(ServerMessage::Notice { text }));
        }
        let asked = session.ask_to_end();
        // It ends in time, whether this client waits for that or not.
        let ending = tokio::spawn(session.seen_out(asked));
        waiting.spawn(answer_when_gone(request, link, async move {
            // An error says that the runtime ends.
            ending.await.unwrap_or(Err(RequestError::ShuttingDown)).map(Reply::Killed)
        }));
        Ok(())
    }

    /// Waits for a session's end, if it has not ended.
    fn wait(&mut self, request: u64, target: &Target) -> Result<Handled, RequestError> {
        let session = match self.find(target) {
            Err(RequestError::SessionEnded { status, .. }) => {
                return Ok(Handled::Reply(Reply::Ended(status)));
            }
            found => found?,
        };
        let link = Arc::clone(&self.link);
        let gone = async move { Ok(Reply::Ended(session.gone().await)) };
        self.room_to_wait()?.spawn(answer_when_gone(request, link, gone));
        Ok(Handled::Later)
    }

    /// Has the writer attach, and waits for what comes of it.
    async fn watch(
        &mut self,
        request: u64,
        session: Arc<Session>,
        (options, environment): (AttachOptions, Option<Box<ClientEnvironment>>),
        begin: Option<oneshot::Sender<()>>,
    ) -> Result<(), Failure> {
        let id = session.id();
        let nested = self.nest(&session, &options)?;
        let (attached, outcome) = oneshot::channel();
        let attach = AttachCommand { request, session, options, environment, begin, attached };
        self.command(Command::Attach(attach.into())).await?;
        // An error says that it was refused, and that everything is as before; or that the writer has ended.
        if let Ok(claim) = outcome.await {
            let (access, is_terminal) = (options.access, options.size.is_some());
            let follows = options.follows;
            self.watching = Some(Watching { id, access, is_terminal, follows, claim, nested });
        }
        Ok(())
    }

    /// Enters the client as one that shows `session`, where it runs in sessions' terminals. Refused where one of those
    /// is shown in `session` already: the two would print for each other forever.
    fn nest(&self, session: &Session, options: &AttachOptions) -> Result<Option<Nested>, RequestError> {
        let Some(process) = self.process else { return Ok(None) };
        let terminals = match options.size {
            Some(_) => Terminals::of(process),
            None => Terminals::printed_to(process),
        };
        if terminals.is_empty() {
            return Ok(None);
        }
        let within = self.shared.sessions.with_terminals(|terminal| terminals.contain(terminal));
        if within.is_empty() {
            return Ok(None);
        }
        let now = self.watching.as_ref().and_then(|watching| watching.nested.as_ref());
        let nested = self.shared.nesting.enter(session.id(), within, now);
        nested.map(Some).map_err(|way| self.shared.circle(session, &way))
    }

    fn watched(&self) -> Option<SessionId> {
        self.watching.as_ref().map(|watching| watching.id)
    }

    fn is_read_only(&self) -> bool {
        if self.restriction.as_ref().is_some_and(|restriction| restriction.access() == Access::ReadOnly) {
            return true;
        }
        let is_read_only = self.watching.as_ref().is_some_and(|watching| watching.access == Access::ReadOnly);
        // A client that was told of its session's end watches nothing.
        is_read_only && self.link.status.is_watching()
    }

    /// What this client has in a session, if it watches it.
    fn watching(&self, session: SessionId) -> Option<&Watching> {
        self.watching.as_ref().filter(|watching| watching.id == session)
    }

    /// The session that is meant.
    fn find(&self, target: &Target) -> Result<Arc<Session>, RequestError> {
        let Target::Here = target else { return self.shared.sessions.find(target) };
        let terminal = self.process.map(Terminals::controlling).unwrap_or_default();
        match self.shared.sessions.with_terminals(|other| terminal.contain(other))[..] {
            [session] => self.session(session),
            // A terminal's number alone does not say in which of several containers it is.
            _ => Err(RequestError::NotInside),
        }
    }

    /// The same, or one that ended and whose output is kept.
    fn find_to_read(&self, target: &Target) -> Result<Arc<Session>, RequestError> {
        if *target == Target::Here { self.find(target) } else { self.shared.sessions.find_to_read(target) }
    }

    fn session(&self, id: SessionId) -> Result<Arc<Session>, RequestError> {
        self.shared.sessions.find(&Target::Id(id))
    }

    fn change(&self, target: &Target, change: SessionChange) -> Result<Reply, RequestError> {
        let session = self.find(target)?;
        let mut clients = 0;
        match change {
            SessionChange::Rename(name) => self.shared.sessions.rename(&session, &name)?,
            SessionChange::Size { policy, size } => session.set_size(policy, size),
            SessionChange::Signal(signal) => session.signal(signal)?,
            SessionChange::Detach(which) => clients = self.shared.detach(&session, which)?,
            SessionChange::Switch(to) => clients = self.shared.switch(&session, &*self.find(&to)?)?,
        }
        Ok(Reply::Changed(ChangedSession::new(session.name(), clients)))
    }

    /// Tells the client from now on what happens to sessions. Once is enough.
    fn listen(&mut self) -> Reply {
        if self.listening.is_none() {
            let telling = tell_events(self.shared.sessions.listen(), Arc::clone(&self.link));
            self.listening.get_or_insert_default().spawn(telling);
        }
        Reply::Listening
    }

    async fn resize(&mut self, request: u64, session: SessionId, window: Window) -> Result<Handled, Failure> {
        let found = self.session(session)?;
        match self.watching(session) {
            // Its own terminal's size is the writer's to know, whether it counts or not.
            Some(Watching { is_terminal: true, claim, .. }) => {
                let claim = *claim;
                self.command(Command::Resize { request, size: window.size }).await?;
                if let Some(claim) = claim {
                    found.resize_terminal(claim, window);
                }
                Ok(Handled::Later)
            }
            // It has the session's.
            Some(Watching { follows: true, .. }) => Ok(Handled::Reply(Reply::Resized)),
            _ if self.is_read_only() => Err(RequestError::ReadOnly.into()),
            _ => {
                found.ask_size(window);
                Ok(Handled::Reply(Reply::Resized))
            }
        }
    }

    /// A terminal elsewhere has this size, or is gone.
    fn resize_elsewhere(
        &mut self,
        id: SessionId,
        window: Option<(TerminalSize, Option<PixelSize>)>,
    ) -> Result<Reply, RequestError> {
        let session = self.session(id)?;
        match (window.map(|(size, pixels)| Window { size, pixels }), &self.elsewhere) {
            (Some(window), Some(before)) if before.is_of(&session) => {
                session.resize_terminal(before.claim, window)
            }
            (Some(window), _) => self.elsewhere = Some(Elsewhere::join(&session, window)),
            (None, _) => self.elsewhere = None,
        }
        Ok(Reply::Resized)
    }

    /// Takes in what the client says of a session that it provides. One that may not provide any says nothing.
    async fn take_statement(&mut self, session: SessionId, says: ProviderStatement) -> Result<(), Closed> {
        let providing = self.providing.get_or_insert_default();
        let Err(Broken(why)) = providing.take(session, says) else { return Ok(()) };
        // The writer says why, and ends; until then nothing more is read.
        self.command(Command::Close(CloseReason::Malformed(why))).await?;
        std::future::pending().await
    }

    /// Provides a session from now on. The client knows before it is told of anything else.
    async fn provide(&mut self, request: u64, provide: &Provide) -> Result<(), Failure> {
        let providing = self.providing.get_or_insert_default();
        let BegunProviding { provided, news, link } = providing.begin(&self.shared, provide, &self.link)?;
        let reply = wire::encode_reply(request, &Ok(Reply::Provided(Box::new(provided))));
        link.send(Command::Frame(reply)).await?;
        providing.tell(provide.id, news, link);
        Ok(())
    }

    /// Has input typed, unless too much of it is outstanding. `terminal` is the one that it comes from, with its claim
    /// if it is this client's.
    fn input(
        &mut self,
        request: (u64, Bytes),
        session: SessionId,
        position: Option<InputPosition>,
        terminal: Option<(ClientId, Option<Claim>)>,
    ) -> Result<(), RequestError> {
        let session = self.session(session)?;
        session.may_be_typed_into()?;
        let input = self.input.get_or_insert_with(|| Box::new(Input::new(Arc::clone(&self.link))));
        let stream = position.map(|position| (position, &self.shared.input_streams));
        input.type_in(request, &session, terminal, stream)
    }

    /// The tasks that wait, if there may be one more.
    fn room_to_wait(&mut self) -> Result<&mut JoinSet<()>, RequestError> {
        let waiting = self.waiting.get_or_insert_default();
        while waiting.try_join_next().is_some() {}
        if waiting.len() == MAX_WAITING { Err(RequestError::TooManyOutstanding) } else { Ok(waiting) }
    }
}

/// Answers a request with what becomes of a session.
async fn answer_when_gone(id: u64, link: Arc<Link>, gone: impl Future<Output = Result<Reply, RequestError>>) {
    let answer = gone.await;
    // An error says that the connection ended meanwhile.
    let _ = link.send(Command::Frame(wire::encode_reply(id, &answer))).await;
}
