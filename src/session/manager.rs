//! Which sessions there are: by name for people, by id for machines, and how the last ones ended.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::info;

use super::{
    Session,
    history::History,
    pace::Pace,
    pty,
    pump::{Pump, TurnLog},
};
use crate::{
    SessionId, SessionName,
    message::{Create, ExitStatus, RequestError, SessionInfo, SessionState, Target},
    registry::ClientRegistry,
};

/// How many ended sessions are remembered, so that attaching late says how one ended.
const REMEMBERED: usize = 64;

/// What bounds each session.
#[derive(Clone, Debug)]
pub(crate) struct SessionLimits {
    /// What a history holds, in bytes, before it forgets the oldest.
    pub(crate) history_bytes: usize,
    /// How long a program has to go after SIGHUP, before SIGKILL.
    pub(crate) hang_up_grace: Duration,
}

#[derive(Debug)]
pub(crate) struct Manager {
    registry: ClientRegistry,
    limits: SessionLimits,
    /// The sessions' tasks.
    tasks: TaskTracker,
    turns: Option<Arc<TurnLog>>,
    /// A leaf: nothing is locked under it, and nothing is spawned or freed.
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    live: HashMap<SessionName, Arc<Session>>,
    /// Names of sessions that are being started.
    starting: HashSet<SessionName>,
    ended: VecDeque<SessionInfo>,
    closed: bool,
}

impl Manager {
    pub(crate) fn new(registry: ClientRegistry, limits: SessionLimits, turns: Option<Arc<TurnLog>>) -> Self {
        Self { registry, limits, tasks: TaskTracker::new(), turns, book: Mutex::default() }
    }

    /// Starts a program on a terminal of its own. Its output is read once `start` fires or is dropped.
    pub(crate) fn create(
        self: &Arc<Self>,
        create: &Create,
        start: oneshot::Receiver<()>,
    ) -> Result<Arc<Session>, RequestError> {
        self.reserve(&create.name)?;
        let spawned = self.spawn(create, start);
        self.with(|book| {
            book.starting.remove(&create.name);
            if let Ok(session) = &spawned {
                book.live.insert(create.name.clone(), Arc::clone(session));
                if book.closed {
                    session.hang_up();
                }
            }
        });
        spawned
    }

    fn reserve(&self, name: &SessionName) -> Result<(), RequestError> {
        self.with(|book| {
            if book.closed {
                Err(RequestError::ShuttingDown)
            } else if book.live.contains_key(name) || !book.starting.insert(name.clone()) {
                Err(RequestError::NameTaken(name.clone()))
            } else {
                Ok(())
            }
        })
    }

    fn spawn(
        self: &Arc<Self>,
        create: &Create,
        start: oneshot::Receiver<()>,
    ) -> Result<Arc<Session>, RequestError> {
        let (pty, child) = pty::spawn(create).map_err(|error| RequestError::NotStarted {
            program: create.command.first().map_or_else(String::new, |program| readable(program)),
            why: error.to_string(),
        })?;
        let hang_up = CancellationToken::new();
        let session = Arc::new(Session {
            id: SessionId::random(),
            name: create.name.clone(),
            command: create.command.iter().map(|word| readable(word)).collect::<Vec<_>>().join(" "),
            started: Instant::now(),
            pid: child.id().unwrap_or_default(),
            pty,
            size: Mutex::new(create.size),
            history: History::new(self.limits.history_bytes),
            pace: Pace::default(),
            hang_up: hang_up.clone(),
            gone: CancellationToken::new(),
        });
        info!(session = %session.id, name = %session.name, pid = session.pid, "started");

        let supervisor = self.tasks.spawn(pty::supervise(child, hang_up, self.limits.hang_up_grace));
        let publisher = self.registry.publisher(session.id);
        let mut pump = Pump::new(Arc::clone(&session), publisher, supervisor, self.turns.clone());
        let (manager, ended) = (Arc::clone(self), Arc::clone(&session));
        self.tasks.spawn(async move {
            let status = pump.run(start).await;
            // First the book, so that who hears of the end finds the name free.
            manager.forget(&ended, status);
            pump.finish(status);
            ended.gone.cancel();
        });
        Ok(session)
    }

    /// Takes an ended session out of the book; whoever still reads it holds it.
    fn forget(&self, session: &Session, status: ExitStatus) {
        let info = SessionInfo { state: SessionState::Ended(status), ..session.info(0) };
        let removed = self.with(|book| {
            if book.ended.len() == REMEMBERED {
                book.ended.pop_front();
            }
            book.ended.push_back(info);
            book.live.remove(&session.name)
        });
        drop(removed);
    }

    /// The live session of this name or id, or what became of it.
    pub(crate) fn find(&self, target: &Target) -> Result<Arc<Session>, RequestError> {
        self.with(|book| {
            let (live, ended) = match target {
                Target::Name(name) => {
                    (book.live.get(name), book.ended.iter().rev().find(|info| info.name == *name))
                }
                Target::Id(id) => (
                    book.live.values().find(|session| session.id == *id),
                    book.ended.iter().find(|info| info.id == *id),
                ),
            };
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

    /// What all histories hold, in bytes.
    pub(crate) fn history_bytes(&self) -> u64 {
        let live: Vec<_> = self.with(|book| book.live.values().cloned().collect());
        live.iter().map(|session| session.span().held_bytes as u64).sum()
    }

    /// Hangs up every session and starts no more.
    pub(crate) fn hang_up_all(&self) {
        let live: Vec<_> = self.with(|book| {
            book.closed = true;
            book.live.values().cloned().collect()
        });
        for session in live {
            session.hang_up();
        }
    }

    /// Hangs up every session, starts no more, and waits until all are gone.
    ///
    /// # Cancel safety
    /// Cancel safe: the sessions go on ending without it.
    pub(crate) async fn shut_down(&self) {
        self.hang_up_all();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn with<R>(&self, critical: impl FnOnce(&mut Book) -> R) -> R {
        critical(&mut self.book.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A word of a command line for people: text as it is, anything that could steer a terminal escaped.
fn readable(word: &[u8]) -> String {
    String::from_utf8_lossy(word).chars().flat_map(escape).collect()
}

fn escape(character: char) -> impl Iterator<Item = char> {
    let escaped = character.is_control().then(|| character.escape_default());
    let plain = escaped.is_none().then_some(character);
    escaped.into_iter().flatten().chain(plain)
}
