//! Which sessions there are: by name for people, by id for machines, and how the last ones ended.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use super::{
    Session, Times,
    answers::Answers,
    command_line::{shell_words, shown_title},
    ended::{EndedSessions, ended_at},
    events::{EventQueue, SessionEvents},
    feed::FeedSide,
    history::History,
    kept::{Keeper, Kept, KeptLog},
    output::{OutputSink, ReadTimes},
    packed,
    program::{self, Process},
    pty::{self, Pty, TerminalId},
    pump::{CHUNK, Pump},
    screen::Screen,
    size::{Sizing, Window},
    starter::{NotStarted, Starter},
    surroundings::{LinkDirectory, Surroundings},
    terminal::ProgramTerminal,
};
use crate::{
    ServerMessage, SessionId, SessionName,
    message::{
        Create, ExitStatus, Happened, Pace, Provide, RequestError, SessionInfo, SessionState, SessionStats,
        SizePolicy, Target,
    },
    registry::ClientRegistry,
    sync::{Mutex, Rank},
    terminal::MakeModel,
};

mod feeds;
mod kept;
#[cfg(test)]
#[cfg(not(fugue_model))]
mod starting;
#[cfg(test)]
#[cfg(all(debug_assertions, not(fugue_model)))]
mod tests;

/// The variable that a program is told its session's id by, which stays when the session is renamed.
const SESSION_ID: &[u8] = b"FUGUE_SESSION_ID";

/// Names that an ambiguous one is answered with.
const MAX_NAMES_LISTED: usize = 20;

/// How long a shutdown waits for sessions after the grace. A program that can't be killed is given up within three
/// seconds.
const SEEN_OUT: Duration = Duration::from_secs(5);

/// What every session of a server is given.
#[derive(Clone)]
pub(crate) struct SessionSettings {
    /// Where its server listens, for the programs to find it.
    pub(crate) socket: PathBuf,
    /// What a history holds at first, in bytes, before it forgets the oldest.
    pub(crate) history_bytes: usize,
    /// How long a program has to go after SIGHUP, before SIGKILL.
    pub(crate) hang_up_grace: Duration,
    /// Makes each session's model of its screen; `None` to do without.
    pub(crate) make_model: Option<MakeModel>,
    /// What the output of ended sessions may take together, in bytes, and how long it is kept.
    pub(crate) ended_bytes: usize,
    pub(crate) ended_time: Duration,
    /// Where sessions' links to agents are made; `None` to do without.
    pub(crate) links: Option<LinkDirectory>,
    /// How long a provided session stays without its provider.
    pub(crate) lost_time: Duration,
    /// What has the programs; `None` where they are this process's children, and end with it.
    pub(crate) keeper: Option<Arc<Keeper>>,
}

impl fmt::Debug for SessionSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionSettings").field("history_bytes", &self.history_bytes).finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub(crate) struct Manager {
    registry: ClientRegistry<Arc<ServerMessage>>,
    settings: SessionSettings,
    /// What the history of a new session holds. Relaxed: it stands alone.
    history_bytes: AtomicUsize,
    /// The sessions' tasks.
    tasks: TaskTracker,
    starter: Starter,
    /// No program is to be started, and feeds are to accept nothing more; and those that have not printed yet what they
    /// accepted.
    stopping: CancellationToken,
    /// No program is to be read any more.
    handing_over: CancellationToken,
    undrained: TaskTracker,
    turns: Option<Arc<ReadTimes>>,
    events: SessionEvents,
    /// A leaf: nothing is locked under it, and nothing is spawned or freed.
    book: Mutex<SessionTable>,
}

#[derive(Debug)]
struct SessionTable {
    live: HashMap<SessionId, Arc<Session>>,
    /// The names that are taken; `None` while the session is being started.
    names: HashMap<SessionName, Option<SessionId>>,
    /// Those that ended last.
    ended: EndedSessions,
    closed: bool,
}

/// A program that was started for a session.
struct Program {
    /// With its arguments, for people.
    command: String,
    title: Option<String>,
    pid: u32,
    pty: Arc<Pty>,
    kept: Option<Kept>,
}

/// What runs in a session.
enum Runs {
    Program(Program),
    /// Somebody prints to it.
    Feed {
        side: Arc<FeedSide>,
        command: String,
        title: Option<String>,
    },
    /// It is over.
    Nothing,
}

/// A program that has just started, or was found.
pub(super) struct StartedProgram {
    pty: Pty,
    program: Process,
    kept: Option<Kept>,
}

/// A session that is to be.
pub(super) struct NewSession {
    id: SessionId,
    name: SessionName,
    surroundings: Surroundings,
    window: Window,
    size_policy: SizePolicy,
    pace: Pace,
    started: Instant,
    /// What was printed before.
    log: KeptLog,
}

impl NewSession {
    /// One that an embedder prints to, or a client.
    fn provided(provide: &Provide) -> Self {
        let Provide { id, name, size, start, size_policy, pace, .. } = provide;
        Self {
            id: *id,
            name: name.clone(),
            surroundings: Surroundings::none(),
            window: Window { size: *size, pixels: None },
            size_policy: *size_policy,
            pace: *pace,
            started: Instant::now(),
            log: KeptLog::begin_at(*start, *size),
        }
    }
}

impl Manager {
    pub(crate) fn new(
        registry: ClientRegistry<Arc<ServerMessage>>,
        settings: SessionSettings,
        turns: Option<Arc<ReadTimes>>,
    ) -> Self {
        Self {
            registry,
            book: Mutex::new(Rank::Leaf, SessionTable::new(settings.ended_bytes)),
            history_bytes: AtomicUsize::new(settings.history_bytes),
            settings,
            tasks: TaskTracker::new(),
            starter: Starter::new(),
            stopping: CancellationToken::new(),
            handing_over: CancellationToken::new(),
            undrained: TaskTracker::new(),
            turns,
            events: SessionEvents::new(),
        }
    }

    /// Starts a program on a terminal of its own. Its output is read once `start` fires or is dropped.
    ///
    /// # Cancel safety
    /// Dropping the future lets the session begin, or fail, all the same.
    pub(crate) async fn create(
        self: &Arc<Self>,
        create: Create,
        start: oneshot::Receiver<()>,
    ) -> Result<Arc<Session>, RequestError> {
        self.create_by(create, start, pty::spawn).await
    }

    /// Creates a session whose program is started by `spawn`, which may block.
    async fn create_by(
        self: &Arc<Self>,
        create: Create,
        start: oneshot::Receiver<()>,
        spawn: impl FnOnce(&Create, &Path) -> io::Result<(Pty, Process)> + Send + 'static,
    ) -> Result<Arc<Session>, RequestError> {
        self.reserve(&create.name)?;
        let name = create.name.clone();
        let (tell, told) = oneshot::channel();
        let manager = Arc::clone(self);
        self.tasks.spawn(async move {
            let id = SessionId::random();
            let mut create = create;
            let surroundings = Surroundings::of(id, &mut create.env, manager.settings.links.as_ref());
            // After all others: it may be another session's that this is started from.
            create.env.push((SESSION_ID.to_vec(), id.to_string().into_bytes()));
            let create = Arc::new(create);
            let kept = match &manager.settings.keeper {
                None => None,
                Some(keeper) => manager.start_kept(id, &create, keeper).await,
            };
            let started = match kept {
                None => manager.start_child(&create, spawn).await,
                Some(started) => started,
            };
            let created = match started {
                Ok(started) => Ok(manager.run((id, surroundings), &create, started, start)),
                Err(why) => {
                    manager.release(&create.name);
                    Err(why.into_refusal(shell_words(create.command.get(..1).unwrap_or_default())))
                }
            };
            // An error says that the client is gone; the session runs all the same.
            let _ = tell.send(created);
        });
        told.await.unwrap_or_else(|_| {
            // It panicked, or its runtime ends.
            self.release(&name);
            Err(RequestError::Failed {
                what: format!("starting {name}"),
                why: "it was broken off".to_owned(),
            })
        })
    }

    /// Starts a program as a child of this process.
    async fn start_child(
        &self,
        create: &Arc<Create>,
        spawn: impl FnOnce(&Create, &Path) -> io::Result<(Pty, Process)> + Send + 'static,
    ) -> Result<StartedProgram, NotStarted> {
        let (asked, SessionSettings { socket, hang_up_grace, .. }) =
            (Arc::clone(create), self.settings.clone());
        let spawn = move || spawn(&asked, &socket);
        let (pty, program) = self.starter.start(spawn, &self.stopping, hang_up_grace).await?;
        Ok(StartedProgram { pty, program, kept: None })
    }

    /// Enters a session into the book under the name that was reserved for it; before it runs, and so may end.
    fn enter(&self, session: &Arc<Session>) {
        let is_only = self.enter_unless_there(session);
        debug_assert!(is_only, "an id was drawn twice");
    }

    /// The same, unless there is a live session of its id.
    fn enter_unless_there(&self, session: &Arc<Session>) -> bool {
        let name = session.name();
        let is_late = self.with(|book| {
            if book.live.contains_key(&session.id) {
                return None;
            }
            if let Some(reserved) = book.names.get_mut(&name) {
                *reserved = Some(session.id);
            }
            book.live.insert(session.id, Arc::clone(session));
            Some(book.closed)
        });
        let Some(is_late) = is_late else { return false };
        session.tell(Happened::Created);
        // It was not in the book yet when all were hung up. That wakes its tasks, so not under the lock.
        if is_late {
            session.hang_up();
        }
        true
    }

    /// Frees a name that was reserved for a session that failed to start.
    fn release(&self, name: &SessionName) {
        let freed = self.with(|book| book.names.remove_entry(name));
        drop(freed);
    }

    fn reserve(&self, name: &SessionName) -> Result<(), RequestError> {
        self.with(|book| {
            if book.closed {
                return Err(RequestError::ShuttingDown);
            }
            match book.names.entry(name.clone()) {
                Entry::Occupied(_) => Err(RequestError::NameTaken(name.clone())),
                Entry::Vacant(free) => {
                    free.insert(None);
                    Ok(())
                }
            }
        })
    }

    /// Runs a session of a program that was started.
    fn run(
        self: &Arc<Self>,
        (id, surroundings): (SessionId, Surroundings),
        create: &Create,
        started: StartedProgram,
        start: oneshot::Receiver<()>,
    ) -> Arc<Session> {
        let new = NewSession {
            id,
            name: create.name.clone(),
            surroundings,
            window: Window { size: create.size, pixels: create.pixels },
            size_policy: create.size_policy,
            pace: create.pace,
            started: Instant::now(),
            log: KeptLog::begin_at(0, create.size),
        };
        let said = (shell_words(&create.command), create.title.as_deref().map(shown_title));
        info!(session = %id, name = %create.name, pid = started.program.id().unwrap_or_default(), "started");
        self.run_new(new, said, started, start)
    }

    /// The same, of a session as it is to be; with its command and its title.
    fn run_new(
        self: &Arc<Self>,
        new: NewSession,
        (command, title): (String, Option<String>),
        StartedProgram { pty, program, kept }: StartedProgram,
        start: oneshot::Receiver<()>,
    ) -> Arc<Session> {
        let pty = Arc::new(pty);
        let pid = program.id().unwrap_or_default();
        let runs = Program { command, title, pid, pty: Arc::clone(&pty), kept };
        let session = self.open(new, Runs::Program(runs));
        self.enter(&session);
        let supervisor = self.tasks.spawn(program::supervise(
            program,
            session.hang_up.clone(),
            self.settings.hang_up_grace,
        ));
        let terminal = ProgramTerminal::new(Arc::clone(&pty));
        let mut pump = Pump::new(Arc::clone(&session), terminal, self.output(&session));
        let (manager, ended) = (Arc::clone(self), Arc::clone(&session));
        self.tasks.spawn(async move {
            let status = tokio::select! {
                biased;
                () = manager.handing_over.cancelled() => {
                    // Nothing is half done: what was read is in the log.
                    ended.stands.cancel();
                    return;
                }
                status = pump.run(start, supervisor) => status,
            };
            let status = match status {
                Ok(status) => status,
                Err(program) => ended.hang_up_by_closing(program).await,
            };
            manager.end(&ended, pump.into_printer(), status);
            // Also for those who read the log on, which keeps the session.
            pty.close();
            ended.forget_kept();
        });
        session
    }

    /// Sets up what every session has, and starts to keep its screen.
    fn open(&self, new: NewSession, runs: Runs) -> Arc<Session> {
        let NewSession { id, name, surroundings, window, size_policy, pace, started, log } = new;
        let KeptLog { start, bytes, picture, sizes, seen, .. } = log;
        let resized_at = sizes.last().unwrap_or(0);
        let mut model = self.settings.make_model.as_ref().map(|make| make(window.size));
        let history = History::begin_at(start, self.history_bytes.load(Ordering::Relaxed), pace);
        let bytes = Bytes::from(bytes);
        let piece = |at: usize| bytes.slice(at..bytes.len().min(at + CHUNK));
        let head = history.append(&(0..bytes.len()).step_by(CHUNK).map(piece).collect::<Vec<_>>());
        if let Some(model) = &mut model {
            history.set_floor(head);
            model.advance(&picture);
        }
        let answers = Arc::new(match &runs {
            Runs::Program(_) => Answers::new(model.is_some()),
            Runs::Feed { .. } | Runs::Nothing => Answers::elsewhere(model.is_some()),
        });
        let (mut feed, mut pid, mut pty, mut kept) = (None, None, None, None);
        let (command, title) = match runs {
            Runs::Program(program) => {
                (pid, pty, kept) = (Some(program.pid), Some(program.pty), program.kept);
                (program.command, program.title)
            }
            Runs::Feed { side, command, title } => {
                feed = Some(side);
                (command, title)
            }
            Runs::Nothing => (String::new(), None),
        };
        let session = Arc::new(Session {
            id,
            name: Mutex::new(Rank::Name, name.clone()),
            command,
            started,
            pid,
            pty,
            feed,
            drawn: AtomicU64::new(0),
            kept: Mutex::new(Rank::Leaf, kept.map(Arc::new)),
            sizing: Mutex::new(Rank::Size, Sizing::new(size_policy, window).with_log(sizes)),
            surroundings,
            size: AtomicU32::new(packed(window.size)),
            history,
            screen: Screen::new(model, head, window.size, Arc::clone(&answers)),
            answers,
            registry: self.registry.clone(),
            hang_up: CancellationToken::new(),
            survivor: OnceLock::new(),
            gone: CancellationToken::new(),
            stands: CancellationToken::new(),
            title,
            times: Times::default(),
            resized_at: AtomicU64::new(resized_at),
            seen: AtomicU64::new(seen),
            awaited: AtomicUsize::new(0),
            terminals: AtomicUsize::new(0),
            events: self.events.clone(),
        });
        let followed = Arc::clone(&session);
        self.tasks.spawn(async move { followed.follow().await });
        session
    }

    fn output(&self, session: &Arc<Session>) -> OutputSink {
        OutputSink::new(Arc::clone(session), self.registry.publisher(session.id), self.turns.clone())
    }

    /// Ends a session all of whose output is in the log.
    fn end(self: &Arc<Self>, session: &Arc<Session>, output: OutputSink, status: ExitStatus) {
        // Free the name first: a client that hears of the end may use it again.
        self.forget(session, status);
        if let Some(feed) = &session.feed {
            feed.requests.end();
        }
        session.surroundings.end();
        output.finish(status);
        session.gone.cancel();
        // Not among the sessions' tasks: a shutdown does not wait for it.
        tokio::spawn(Arc::clone(self).settle(Arc::clone(session)));
    }

    /// Removes an ended session from the live ones, and keeps its output within the bound.
    fn forget(&self, session: &Arc<Session>, status: ExitStatus) {
        let info = SessionInfo { state: SessionState::Ended(status), ..session.info(0) };
        let bytes = session.span().held_bytes;
        let removed = session.name.with(|name| {
            self.with(|book| {
                let freed = book.ended.push(info, Instant::now(), Some((Arc::clone(session), bytes)));
                (freed, book.names.remove_entry(name), book.live.remove(&session.id))
            })
        });
        drop(removed);
    }

    /// Charges an ended session what it takes to keep it; then frees those whose time is over, as it comes, unless
    /// another task does so already.
    async fn settle(self: Arc<Self>, session: Arc<Session>) {
        let id = session.id;
        let bytes = session.settle().await;
        drop(session);
        let (freed, is_mine) = self.with(|book| (book.ended.charge(id, bytes), book.ended.take_watch()));
        drop(freed);
        if !is_mine {
            return;
        }
        let kept_for = self.settings.ended_time;
        while let Some(end) = self.with(|book| book.ended.next_end(kept_for)) {
            tokio::select! {
                () = tokio::time::sleep_until(end.into()) => {}
                () = self.stopping.cancelled() => return,
            }
            let freed = self.with(|book| book.ended.expire(kept_for));
            drop(freed);
        }
    }

    /// Gives a live session another name, which must be free.
    pub(crate) fn rename(&self, session: &Session, to: &SessionName) -> Result<(), RequestError> {
        let before = session.name.with(|name| {
            if name == to {
                return Ok(None);
            }
            let freed = self.with(|book| {
                if !book.live.contains_key(&session.id) {
                    return Err(RequestError::UnknownSession(name.to_string()));
                }
                match book.names.entry(to.clone()) {
                    Entry::Occupied(_) => return Err(RequestError::NameTaken(to.clone())),
                    Entry::Vacant(free) => free.insert(Some(session.id)),
                };
                Ok(book.names.remove_entry(name))
            })?;
            Ok(Some((freed, std::mem::replace(name, to.clone()))))
        })?;
        if let Some((_, before)) = before {
            session.keep_state();
            info!(session = %session.id, %before, name = %to, "renamed");
            session.tell(Happened::Renamed(before));
        }
        Ok(())
    }

    /// Takes part in what happens to sessions, from now on.
    pub(crate) fn listen(&self) -> EventQueue {
        self.events.listen()
    }

    /// The live session that is meant, or what became of it. Which one the client is in, its connection knows.
    pub(crate) fn find(&self, target: &Target) -> Result<Arc<Session>, RequestError> {
        self.find_one(target, false)
    }

    /// The same, or one that ended and whose output is kept.
    pub(crate) fn find_to_read(&self, target: &Target) -> Result<Arc<Session>, RequestError> {
        self.find_one(target, true)
    }

    fn find_one(&self, target: &Target, may_have_ended: bool) -> Result<Arc<Session>, RequestError> {
        self.with(|book| {
            let named = |name: &SessionName| book.names.get(name).copied().flatten();
            let (id, is_it): (_, &dyn Fn(&SessionInfo) -> bool) = match target {
                Target::Name(name) | Target::Prefix(name) => (named(name), &|info| info.name == *name),
                Target::Id(id) => (Some(*id), &|info| info.id == *id),
                Target::Here => return Err(RequestError::NotInside),
            };
            if let Some(live) = id.and_then(|id| book.live.get(&id)) {
                return Ok(Arc::clone(live));
            }
            // Before any whose name only begins like this: what was meant has ended.
            if let Some((info, output)) = book.ended.find(is_it)
                && let SessionState::Ended(status) = info.state
            {
                if let Some(output) = output.filter(|_| may_have_ended) {
                    return Ok(Arc::clone(output));
                }
                return Err(RequestError::SessionEnded { name: info.name.to_string(), status });
            }
            match target {
                Target::Prefix(prefix) => book.find_by_prefix(prefix),
                Target::Id(id) => Err(RequestError::UnknownSession(id.to_string())),
                Target::Name(name) => Err(RequestError::UnknownSession(name.to_string())),
                Target::Here => Err(RequestError::NotInside),
            }
        })
    }

    /// Live sessions, the oldest first, then those that ended, the latest first.
    pub(crate) fn list(&self) -> Vec<SessionInfo> {
        let (mut live, ended): (Vec<_>, _) =
            self.with(|book| (book.live.values().cloned().collect(), book.ended.list()));
        live.sort_by_key(|session| session.started);
        let live = live.iter().map(|session| self.info(session));
        live.chain(ended.into_iter().map(|(info, at)| ended_at(info, at))).collect()
    }

    /// One session for `list`.
    pub(crate) fn info(&self, session: &Session) -> SessionInfo {
        session.info(self.registry.session_client_count(session.id))
    }

    /// The live sessions whose terminals satisfy a condition.
    pub(crate) fn with_terminals(&self, are_those: impl Fn(TerminalId) -> bool) -> Vec<SessionId> {
        let live: Vec<_> =
            self.with(|book| book.live.values().map(|session| (session.id, session.terminal_id())).collect());
        let is_it = |(_, terminal): &(SessionId, Option<TerminalId>)| terminal.is_some_and(&are_those);
        live.into_iter().filter(is_it).map(|(id, _)| id).collect()
    }

    /// How every live session fares, the oldest first.
    pub(crate) async fn stats(&self) -> Vec<SessionStats> {
        let mut live: Vec<_> = self.with(|book| book.live.values().cloned().collect());
        live.sort_by_key(|session| session.started);
        let mut stats = Vec::with_capacity(live.len());
        for session in live {
            stats.push(session.stats().await);
        }
        stats
    }

    /// Changes what the histories of sessions hold that are started from now on.
    #[cfg(feature = "cli")]
    pub(crate) fn set_history_bytes(&self, bytes: usize) {
        self.history_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Starts no more sessions. For tests that send any bytes: no program of theirs is to run.
    #[cfg(all(any(test, fuzzing), feature = "cli"))]
    pub(crate) fn start_no_more(&self) {
        self.with(|book| book.closed = true);
    }

    /// Closes every feed, and waits until all that they accepted is in their logs. Nothing in that waits for anybody.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn drain_feeds(&self) {
        self.stopping.cancel();
        self.undrained.close();
        self.undrained.wait().await;
    }

    /// Hangs up every session and starts no more.
    pub(crate) fn hang_up_all(&self) {
        self.stopping.cancel();
        let live: Vec<_> = self.with(|book| {
            book.closed = true;
            book.live.values().cloned().collect()
        });
        for session in live {
            session.hang_up();
        }
    }

    /// Hangs up every session, starts no more, and waits until all are gone: for the grace, and as long as what a
    /// program that can't be killed is then given, a few seconds, and no longer.
    ///
    /// # Cancel safety
    /// Cancel safe: the sessions go on ending without it.
    pub(crate) async fn shut_down(&self) {
        self.hang_up_all();
        self.tasks.close();
        let limit = self.settings.hang_up_grace + SEEN_OUT;
        if tokio::time::timeout(limit, self.tasks.wait()).await.is_err() {
            warn!(left = self.tasks.len(), "sessions did not end in time");
        }
    }

    fn with<R>(&self, critical: impl FnOnce(&mut SessionTable) -> R) -> R {
        self.book.with(critical)
    }
}

impl SessionTable {
    fn new(ended_bytes: usize) -> Self {
        Self {
            live: HashMap::new(),
            names: HashMap::new(),
            ended: EndedSessions::new(ended_bytes),
            closed: false,
        }
    }

    /// The only live session whose name begins like this.
    fn find_by_prefix(&self, prefix: &SessionName) -> Result<Arc<Session>, RequestError> {
        let begins = |name: &SessionName| name.as_str().starts_with(prefix.as_str());
        let fits = self.names.iter().filter(|(name, _)| begins(name));
        let mut fits = fits.filter_map(|(name, id)| Some((name, self.live.get(&(*id)?)?)));
        let Some((first, session)) = fits.next() else {
            return Err(RequestError::UnknownSession(prefix.to_string()));
        };
        let mut names: Vec<_> = fits.map(|(name, _)| name.to_string()).collect();
        if names.is_empty() {
            return Ok(Arc::clone(session));
        }
        names.push(first.to_string());
        names.sort_unstable();
        // A reply has room for more, and nobody reads them.
        names.truncate(MAX_NAMES_LISTED);
        Err(RequestError::Ambiguous { prefix: prefix.to_string(), names })
    }
}
