//! Which sessions there are: by name for people, by id for machines, and how the last ones ended.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, atomic::AtomicU32},
    time::{Duration, Instant},
};

use tokio::{process::Child, sync::oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use super::{
    Session,
    answers::Answers,
    feed::{PrintQueue, Prints},
    history::History,
    output::{OutputSink, ReadTimes},
    packed,
    pty::{self, Pty, TerminalId},
    pump::Pump,
    screen::Screen,
    size::{Sizing, Window},
    starter::Starter,
    surroundings::{LinkDirectory, Surroundings},
    terminal::ProgramTerminal,
};
use crate::{
    ServerMessage, SessionId, SessionName, TerminalSize,
    message::{
        Create, ExitStatus, Pace, RequestError, SessionInfo, SessionState, SessionStats, SizePolicy, Target,
    },
    registry::ClientRegistry,
    sync::{Mutex, Rank},
    terminal::MakeModel,
};

#[cfg(test)]
#[cfg(not(fugue_model))]
mod starting;
#[cfg(test)]
#[cfg(all(debug_assertions, not(fugue_model)))]
mod tests;

/// How many ended sessions are remembered, so that attaching late says how one ended.
const REMEMBERED: usize = 64;

/// Characters of a command line that lists show: some lines of a terminal. Linux allows 2 MiB, of which a few would
/// fill a reply, and the remembered ones the memory.
const MAX_DISPLAY_CHARS: usize = 500;

/// How long a shutdown waits for sessions after the grace. A program that can't be killed is given up within three
/// seconds.
const SEEN_OUT: Duration = Duration::from_secs(5);

/// What every session of a server is given.
#[derive(Clone)]
pub(crate) struct SessionSettings {
    /// Where its server listens, for the programs to find it.
    pub(crate) socket: PathBuf,
    /// What a history holds, in bytes, before it forgets the oldest.
    pub(crate) history_bytes: usize,
    /// How long a program has to go after SIGHUP, before SIGKILL.
    pub(crate) hang_up_grace: Duration,
    /// Makes each session's model of its screen; `None` to do without.
    pub(crate) make_model: Option<MakeModel>,
    /// Where sessions' links to agents are made; `None` to do without.
    pub(crate) links: Option<LinkDirectory>,
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
    /// The sessions' tasks.
    tasks: TaskTracker,
    starter: Starter,
    /// No program is to be started, and feeds are to accept nothing more; and those that have not printed yet what they
    /// accepted.
    stopping: CancellationToken,
    undrained: TaskTracker,
    turns: Option<Arc<ReadTimes>>,
    /// A leaf: nothing is locked under it, and nothing is spawned or freed.
    book: Mutex<SessionTable>,
}

#[derive(Debug, Default)]
struct SessionTable {
    live: HashMap<SessionId, Arc<Session>>,
    /// The names that are taken; `None` while the session is being started.
    names: HashMap<SessionName, Option<SessionId>>,
    ended: VecDeque<SessionInfo>,
    closed: bool,
}

/// A program that was started for a session.
struct Program {
    /// With its arguments, for people.
    command: String,
    pid: u32,
    pty: Arc<Pty>,
}

impl Manager {
    pub(crate) fn new(
        registry: ClientRegistry<Arc<ServerMessage>>,
        settings: SessionSettings,
        turns: Option<Arc<ReadTimes>>,
    ) -> Self {
        Self {
            registry,
            settings,
            tasks: TaskTracker::new(),
            starter: Starter::new(),
            stopping: CancellationToken::new(),
            undrained: TaskTracker::new(),
            turns,
            book: Mutex::new(Rank::Leaf, SessionTable::default()),
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
        spawn: impl FnOnce(&Create, &Path) -> io::Result<(Pty, Child)> + Send + 'static,
    ) -> Result<Arc<Session>, RequestError> {
        self.reserve(&create.name)?;
        let name = create.name.clone();
        let (tell, told) = oneshot::channel();
        let manager = Arc::clone(self);
        self.tasks.spawn(async move {
            let id = SessionId::random();
            let mut create = create;
            let surroundings = Surroundings::of(id, &mut create.env, manager.settings.links.as_ref());
            let create = Arc::new(create);
            let (asked, SessionSettings { socket, hang_up_grace, .. }) =
                (Arc::clone(&create), manager.settings.clone());
            let spawn = move || spawn(&asked, &socket);
            let created = match manager.starter.start(spawn, &manager.stopping, hang_up_grace).await {
                Ok(program) => Ok(manager.run((id, surroundings), &create, program, start)),
                Err(why) => {
                    manager.release(&create.name);
                    Err(why.into_refusal(display_command(create.command.get(..1).unwrap_or_default())))
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

    /// Starts a session that prints what is queued, until the feed ends.
    pub(super) fn create_feed(
        self: &Arc<Self>,
        name: &SessionName,
        size: TerminalSize,
        pace: Pace,
        prints: crate::sync::Arc<PrintQueue>,
    ) -> Result<Arc<Session>, RequestError> {
        self.reserve(name)?;
        let named = (SessionId::random(), name);
        let session = self.open(
            named,
            Surroundings::none(),
            Window { size, pixels: None },
            (SizePolicy::Fixed, pace),
            None,
        );
        self.enter(&session);
        let mut pump = Pump::new(Arc::clone(&session), Prints::new(prints), self.output(&session));
        let (manager, ended) = (Arc::clone(self), Arc::clone(&session));
        let mut undrained = Some(self.undrained.token());
        self.tasks.spawn(async move {
            let status = pump.run(manager.stopping.clone(), &mut undrained).await;
            manager.end(&ended, pump.into_printer(), status);
        });
        Ok(session)
    }

    /// Enters a session into the book under the name that was reserved for it; before it runs, and so may end.
    fn enter(&self, session: &Arc<Session>) {
        let is_late = self.with(|book| {
            if let Some(reserved) = book.names.get_mut(&session.name) {
                *reserved = Some(session.id);
            }
            book.live.insert(session.id, Arc::clone(session));
            book.closed
        });
        // It was not in the book yet when all were hung up. That wakes its tasks, so not under the lock.
        if is_late {
            session.hang_up();
        }
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
        (pty, child): (Pty, Child),
        start: oneshot::Receiver<()>,
    ) -> Arc<Session> {
        let pty = Arc::new(pty);
        let program = Program {
            command: display_command(&create.command),
            pid: child.id().unwrap_or_default(),
            pty: Arc::clone(&pty),
        };
        let window = Window { size: create.size, pixels: create.pixels };
        let named = (id, &create.name);
        let session =
            self.open(named, surroundings, window, (create.size_policy, create.pace), Some(program));
        self.enter(&session);
        let supervisor =
            self.tasks.spawn(pty::supervise(child, session.hang_up.clone(), self.settings.hang_up_grace));
        let terminal = ProgramTerminal::new(Arc::clone(&pty));
        let mut pump = Pump::new(Arc::clone(&session), terminal, self.output(&session));
        let (manager, ended) = (Arc::clone(self), Arc::clone(&session));
        self.tasks.spawn(async move {
            let status = match pump.run(start, supervisor).await {
                Ok(status) => status,
                Err(child) => ended.hang_up_by_closing(child).await,
            };
            manager.end(&ended, pump.into_printer(), status);
            // Also for those who read the log on, which keeps the session.
            pty.close();
        });
        session
    }

    /// Sets up what every session has, and starts to keep its screen.
    fn open(
        &self,
        (id, name): (SessionId, &SessionName),
        surroundings: Surroundings,
        window: Window,
        (size_policy, pace): (SizePolicy, Pace),
        program: Option<Program>,
    ) -> Arc<Session> {
        let model = self.settings.make_model.as_ref().map(|make| make(window.size));
        let history = History::new(self.settings.history_bytes, pace);
        if model.is_some() {
            history.set_floor(0);
        }
        let answers = Arc::new(Answers::new(model.is_some()));
        let (command, pid, pty) = match program {
            Some(Program { command, pid, pty }) => (command, Some(pid), Some(pty)),
            None => (String::new(), None, None),
        };
        let session = Arc::new(Session {
            id,
            name: name.clone(),
            command,
            started: Instant::now(),
            pid,
            pty,
            sizing: Mutex::new(Rank::Size, Sizing::new(size_policy, window)),
            surroundings,
            size: AtomicU32::new(packed(window.size)),
            history,
            screen: Screen::new(model, window.size, Arc::clone(&answers)),
            answers,
            registry: self.registry.clone(),
            hang_up: CancellationToken::new(),
            survivor: OnceLock::new(),
            gone: CancellationToken::new(),
        });
        info!(session = %session.id, name = %session.name, pid = session.pid, "started");
        let followed = Arc::clone(&session);
        self.tasks.spawn(async move { followed.follow().await });
        session
    }

    fn output(&self, session: &Arc<Session>) -> OutputSink {
        OutputSink::new(Arc::clone(session), self.registry.publisher(session.id), self.turns.clone())
    }

    /// Ends a session all of whose output is in the log.
    fn end(&self, session: &Session, output: OutputSink, status: ExitStatus) {
        // Free the name first: a client that hears of the end may use it again.
        self.forget(session, status);
        session.surroundings.end();
        output.finish(status);
        session.gone.cancel();
    }

    /// Removes an ended session from the table. Clients that still read it hold it.
    fn forget(&self, session: &Session, status: ExitStatus) {
        let info = SessionInfo { state: SessionState::Ended(status), ..session.info(0) };
        let removed = self.with(|book| {
            let oldest = if book.ended.len() == REMEMBERED { book.ended.pop_front() } else { None };
            book.ended.push_back(info);
            (oldest, book.names.remove_entry(&session.name), book.live.remove(&session.id))
        });
        drop(removed);
    }

    /// The live session of this name or id, or what became of it.
    pub(crate) fn find(&self, target: &Target) -> Result<Arc<Session>, RequestError> {
        self.with(|book| {
            let id = match target {
                Target::Name(name) => book.names.get(name).copied().flatten(),
                Target::Id(id) => Some(*id),
            };
            let live = id.and_then(|id| book.live.get(&id));
            let is_it = |info: &&SessionInfo| match target {
                Target::Name(name) => info.name == *name,
                Target::Id(id) => info.id == *id,
            };
            let ended = book.ended.iter().rev().find(is_it);
            live.cloned().ok_or_else(|| match ended {
                Some(SessionInfo { name, state: SessionState::Ended(status), .. }) => {
                    RequestError::SessionEnded { name: name.to_string(), status: *status }
                }
                _ => RequestError::UnknownSession(match target {
                    Target::Name(name) => name.to_string(),
                    Target::Id(id) => id.to_string(),
                }),
            })
        })
    }

    /// Live sessions, the oldest first, then those that ended, the latest first.
    pub(crate) fn list(&self) -> Vec<SessionInfo> {
        let (mut live, ended): (Vec<_>, Vec<_>) = self
            .with(|book| (book.live.values().cloned().collect(), book.ended.iter().rev().cloned().collect()));
        live.sort_by_key(|session| session.started);
        let live = live.iter().map(|session| session.info(self.registry.session_client_count(session.id)));
        live.chain(ended).collect()
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

/// The start of a command line for people: text as it is, anything that could steer a terminal escaped.
fn display_command(command: &[Vec<u8>]) -> String {
    let mut text = String::new();
    let mut left = MAX_DISPLAY_CHARS;
    for (index, word) in command.iter().enumerate() {
        // A character has at most four bytes, so this is enough of the word.
        let enough = &word[..word.len().min(4 * MAX_DISPLAY_CHARS)];
        let word = String::from_utf8_lossy(enough);
        for character in (index > 0).then_some(' ').into_iter().chain(word.chars()) {
            if left == 0 {
                text.push('…');
                return text;
            }
            left -= 1;
            if character.is_control() {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
    }
    text
}
