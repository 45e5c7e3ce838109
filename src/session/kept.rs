//! Programs that outlive their server: the server's side of the [keeper](crate::keeper).
//!
//! The keeper is started with the first program. If it goes, its programs run on, and are handed to the next one; how
//! they end can't be known then. A server that starts takes over what the keeper of the one before has.

mod place;
mod state;

use std::{
    collections::{HashMap, VecDeque},
    env,
    ffi::OsString,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStringExt, process::CommandExt},
    },
    path::Path,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{Shutdown, shutdown},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::{Notify, oneshot, watch},
    time::timeout,
};
use tracing::{debug, info, warn};

pub(crate) use self::place::KeeperPlace;
#[cfg(feature = "cli")]
pub(crate) use self::place::is_kept;
use self::state::memory_file;
#[cfg(feature = "cli")]
use self::state::try_size;
pub(super) use self::state::{KeptEnded, KeptFile, KeptLog, KeptProvided, KeptServer, KeptState};
use super::{
    marks::SessionMarks,
    pty::{self, Pty},
    size::Window,
};
use crate::{
    SessionId,
    keeper::{FromKeeper, KEEPER, OWN_FILE, ProgramWords, ToKeeper, VERSION, receive, send},
    message::{Create, ExitStatus},
    sync::{Mutex, Rank},
};

/// How long a keeper has to answer the server that takes over.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// What a state may take beside the output, in bytes: a drawing with its lines above, a command line, input.
#[cfg(feature = "cli")]
const STATE_BESIDE: u64 = 4 * 1024 * 1024;

/// The pause before another keeper is started where one could not be, or went at once.
const NEXT_PAUSE: Duration = Duration::from_secs(1);

/// How long a server that hands over may take to give what it has.
const HANDOVER_TIME: Duration = Duration::from_secs(5);

/// A program that a keeper has.
#[derive(Debug)]
pub(super) struct KeptProgram {
    pid: u32,
    status: watch::Receiver<Option<ExitStatus>>,
}

impl KeptProgram {
    /// Its number, until it has ended. No other process has it until the session is forgotten.
    pub(super) fn id(&self) -> Option<u32> {
        self.status.borrow().is_none().then_some(self.pid)
    }

    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn ended(&mut self) -> ExitStatus {
        // An error says that nobody will tell.
        self.status
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|status| *status)
            .unwrap_or(ExitStatus::Unknown)
    }
}

/// A session that the keeper of another server had.
#[derive(Debug)]
pub(super) struct FoundSession {
    pub(super) id: SessionId,
    pub(super) state: KeptState,
    pub(super) marks: SessionMarks,
    pub(super) pty: Pty,
    pub(super) program: KeptProgram,
}

/// What it takes to start a program.
#[derive(Debug)]
pub(super) struct Prepared {
    pty: Pty,
    marks: SessionMarks,
    /// The terminal's two sides, the program's words, the session's state, and its marks.
    descriptors: Vec<OwnedFd>,
}

/// What a server listens on, and its lock, on their way to the next one.
#[derive(Debug)]
pub(crate) struct HeldListener {
    pub(crate) listener: OwnedFd,
    pub(crate) lock: OwnedFd,
    /// Its file is this server's to remove.
    pub(crate) is_ours: bool,
}

/// What a keeper is given to take over a running program.
#[derive(Debug)]
pub(super) struct ForKeeper {
    pub(super) master: OwnedFd,
    pub(super) state: OwnedFd,
    pub(super) marks: OwnedFd,
}

/// What a session whose program is kept has for that.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) keeper: Arc<Keeper>,
    pub(super) marks: SessionMarks,
    /// In seconds since the machine was started.
    pub(super) started: u64,
}

/// The keeper, as a server has it.
#[derive(Debug)]
pub(crate) struct Keeper {
    place: KeeperPlace,
    /// A leaf lock. Packets are sent under it, which waits for nobody.
    state: Mutex<KeeperState>,
    /// Held while a keeper is looked for or started.
    beginning: tokio::sync::Mutex<()>,
    /// Something waits to be sent.
    unsent: Notify,
    /// The keeper has gone.
    lost: Notify,
}

#[derive(Debug, Default)]
struct KeeperState {
    link: Option<Arc<OwnedFd>>,
    /// Nothing is started any more, and no other server is to find the keeper.
    is_over: bool,
    /// A keeper that has said hello, and whose sessions were not taken over yet; and what the server before has left
    /// beside them.
    met: Option<(Arc<OwnedFd>, KeptServer)>,
    /// What the keeper has not taken yet, with its descriptors: a few packets a session at most.
    waiting: VecDeque<(ToKeeper, Vec<OwnedFd>)>,
    programs: HashMap<SessionId, WatchedProgram>,
}

/// A program that is being started, or runs.
#[derive(Debug)]
struct WatchedProgram {
    /// Who waits for its start, and is given its number.
    started: Option<oneshot::Sender<io::Result<u32>>>,
    pid: u32,
    /// Its process, once it runs.
    process: Option<Arc<OwnedFd>>,
    status: watch::Sender<Option<ExitStatus>>,
}

impl Keeper {
    pub(crate) fn new(place: KeeperPlace) -> Arc<Self> {
        Arc::new(Self {
            place,
            state: Mutex::new(Rank::Leaf, KeeperState::default()),
            beginning: tokio::sync::Mutex::default(),
            unsent: Notify::new(),
            lost: Notify::new(),
        })
    }

    /// Has a keeper, and what it needs to start a program on a terminal of its own.
    ///
    /// # Errors
    /// The system's: there is no room for what this takes, or for the keeper.
    pub(super) async fn prepare(
        self: &Arc<Self>,
        create: &Create,
        socket: &Path,
        state: &KeptState,
    ) -> io::Result<Prepared> {
        let cwd = create.cwd.clone().map_or_else(env::current_dir, |cwd| Ok(OsString::from_vec(cwd).into()));
        let words = ProgramWords {
            command: create.command.clone(),
            name: create.program_name.clone(),
            env: pty::environment(create, socket),
            cwd: cwd?.into_os_string().into_vec(),
        };
        let words = memory_file(c"fugue-words", &postcard::to_stdvec(&words).map_err(io::Error::other)?)?;
        let (master, slave, terminal) = pty::open(create)?;
        let marks = SessionMarks::new(terminal, Window { size: create.size, pixels: create.pixels })?;
        let descriptors = vec![master.try_clone()?, slave, words, state.file()?, marks.file().try_clone()?];
        self.begin().await?;
        Ok(Prepared { pty: Pty::of(master, terminal)?, marks, descriptors })
    }

    /// Starts a program, which outlives this process.
    ///
    /// # Cancel safety
    /// Dropping the future ends the program, if it starts after all.
    pub(super) async fn start(
        &self,
        session: SessionId,
        Prepared { pty, marks, descriptors }: Prepared,
    ) -> io::Result<(Pty, KeptProgram, SessionMarks)> {
        let (tell, told) = oneshot::channel();
        let (status, ended) = watch::channel(None);
        let watched = WatchedProgram { started: Some(tell), pid: 0, process: None, status };
        self.state.with(|state| state.programs.insert(session, watched));
        let unless_started = ForgetUnlessStarted { keeper: self, session, has_started: false };
        self.tell(ToKeeper::Start { session }, descriptors);
        let gone = || io::Error::other("the keeper of the programs has gone; try again");
        let pid = told.await.unwrap_or_else(|_| Err(gone()))?;
        unless_started.keep();
        Ok((pty, KeptProgram { pid, status: ended }, marks))
    }

    /// Takes over what the keeper of an earlier server has. None may be there.
    ///
    /// # Errors
    /// There is a keeper that does not answer, or speaks otherwise.
    pub(super) async fn find(self: &Arc<Self>) -> io::Result<(Vec<FoundSession>, KeptServer)> {
        let _beginning = self.beginning.lock().await;
        let met = self.state.with(|state| state.met.take());
        let is_met = met.is_some();
        let (link, rest) = match met {
            Some(met) => met,
            None => match self.place.connect_if_any()? {
                Some(link) => (Arc::new(link), KeptServer::First { ended: Vec::new() }),
                None => return Ok((Vec::new(), KeptServer::First { ended: Vec::new() })),
            },
        };
        let answers = timeout(ANSWER_TIME, all_of(&link, is_met)).await.unwrap_or_else(|_| {
            let why = format!(
                "the process that keeps the sessions of {} does not answer; `pgrep -af fugue-server` finds it, `kill \
                 -CONT` lets a stopped one go on, and `kill -9` ends it and what it keeps",
                self.place.path.display()
            );
            Err(io::Error::new(io::ErrorKind::TimedOut, why))
        })?;
        let mut found: Vec<FoundSession> = Vec::new();
        for answer in answers {
            match answer {
                // Its terminal was closed, as nothing else ended it; then its server was killed.
                (FromKeeper::Listed { session, .. }, descriptors) if descriptors.len() == 1 => {
                    send(&link, &ToKeeper::Forget { session }, &[])?;
                }
                (FromKeeper::Listed { session, pid }, descriptors) => {
                    match self.found(session, pid, descriptors) {
                        Ok(one) => found.push(one),
                        Err(error) => warn!(%session, %error, "a session could not be taken over"),
                    }
                }
                (FromKeeper::Ended { session, status }, _) => self.ended(session, status),
                _ => {}
            }
        }
        self.go_on(link);
        Ok((found, rest))
    }

    fn found(&self, id: SessionId, pid: u32, descriptors: Vec<OwnedFd>) -> io::Result<FoundSession> {
        let descriptors = <[OwnedFd; 4]>::try_from(descriptors);
        let [process, master, state, marks] = descriptors.map_err(|_| io::Error::from(Errno::MFILE))?;
        let state = KeptState::read(&state)?;
        let marks = SessionMarks::of(marks);
        let pty = Pty::of(master, marks.terminal())?;
        let (status, ended) = watch::channel(None);
        let watched = WatchedProgram { started: None, pid, process: Some(Arc::new(process)), status };
        self.state.with(|state| state.programs.insert(id, watched));
        Ok(FoundSession { id, state, marks, pty, program: KeptProgram { pid, status: ended } })
    }

    /// Waits for what the server before hands over: `said` is called once there is nothing to do but wait.
    ///
    /// # Errors
    /// There is no keeper, or none that answers; or nothing was handed over.
    #[cfg(feature = "cli")]
    pub(crate) async fn claim(self: &Arc<Self>, said: impl FnOnce()) -> io::Result<HeldListener> {
        let link = Arc::new(self.place.connect()?);
        said();
        let late = || io::Error::new(io::ErrorKind::TimedOut, "the server before hands nothing over");
        let (held, server) =
            timeout(HANDOVER_TIME * 2, claimed(&link)).await.unwrap_or_else(|_| Err(late()))?;
        self.state.with(|state| state.met = Some((link, server)));
        Ok(held)
    }

    /// Gives the keeper all that the next server needs, which is going to claim it.
    ///
    /// # Errors
    /// The keeper does not take it.
    pub(super) async fn hand_over(self: &Arc<Self>, held: HeldListener, server: OwnedFd) -> io::Result<()> {
        self.begin().await?;
        let HeldListener { listener, lock, is_ours } = held;
        self.tell(ToKeeper::Hold { is_ours }, vec![listener, lock, server]);
        let taken = async {
            while self.state.with(|state| state.link.is_some() && !state.waiting.is_empty()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(HANDOVER_TIME, taken).await?;
        // What was sent is read before the end is seen.
        let link = self.state.with(|state| state.link.take());
        link.map_or(Ok(()), |link| Ok(shutdown(&*link, Shutdown::Both)?))
    }

    /// Has a keeper, which is started if there is none.
    pub(crate) async fn begin(self: &Arc<Self>) -> io::Result<()> {
        let _beginning = self.beginning.lock().await;
        let (is_there, is_over) = self.state.with(|state| (state.link.is_some(), state.is_over));
        if is_there {
            return Ok(());
        }
        if is_over {
            return Err(io::Error::other("the server is shutting down"));
        }
        let listener = self.place.listen()?;
        let mut command = std::process::Command::new(OWN_FILE);
        command.arg0("fugue-server").arg(KEEPER).arg(&self.place.path).env_clear();
        command.stdin(Stdio::from(listener)).stdout(Stdio::null()).stderr(Stdio::null());
        let link = Arc::new(self.place.connect()?);
        let mut child = tokio::process::Command::from(command).spawn()?;
        info!(pid = child.id(), "a keeper was started");
        // The runtime takes note of its end.
        tokio::spawn(async move { child.wait().await });
        self.go_on(link);
        Ok(())
    }

    /// Speaks with a keeper from now on.
    fn go_on(self: &Arc<Self>, link: Arc<OwnedFd>) {
        self.state.with(|state| state.link = Some(Arc::clone(&link)));
        let keeper = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = keeper.converse(&link).await {
                warn!(%error, "the keeper is not understood");
            }
            keeper.is_lost();
        });
    }

    /// Hears what the keeper says, and sends what waits for it, until it has gone.
    async fn converse(&self, link: &Arc<OwnedFd>) -> io::Result<()> {
        let polled = polled(link)?;
        loop {
            let has_unsent = self.state.with(|state| !state.waiting.is_empty());
            let interest =
                if has_unsent { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            tokio::select! {
                guard = polled.ready(interest) => {
                    let mut guard = guard?;
                    if has_unsent {
                        self.state.with(KeeperState::flush);
                    }
                    loop {
                        match receive(link) {
                            Ok(Some((said, descriptors))) => self.hear(said, descriptors)?,
                            Ok(None) => return Ok(()),
                            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                            Err(error) => return Err(error),
                        }
                    }
                    guard.clear_ready();
                }
                () = self.unsent.notified() => {}
            }
        }
    }

    fn hear(&self, said: FromKeeper, descriptors: Vec<OwnedFd>) -> io::Result<()> {
        match said {
            FromKeeper::Hello { version, .. } if version != VERSION => {
                return Err(io::Error::other(format!("it speaks version {version}, and not {VERSION}")));
            }
            FromKeeper::Started { session, pid } => {
                let process = descriptors.into_iter().next().map(Arc::new);
                let started = self.state.with(|state| {
                    let watched = state.programs.get_mut(&session)?;
                    (watched.pid, watched.process) = (pid, process);
                    watched.started.take()
                });
                if let Some(started) = started {
                    // An error says that nobody waits any more, who has had it forgotten.
                    let _ = started.send(Ok(pid));
                }
            }
            FromKeeper::NotStarted { session, errno } => {
                let watched = self.state.with(|state| state.programs.remove(&session));
                if let Some(started) = watched.and_then(|watched| watched.started) {
                    let _ = started.send(Err(io::Error::from_raw_os_error(errno)));
                }
            }
            FromKeeper::Ended { session, status } => self.ended(session, status),
            FromKeeper::Hello { .. }
            | FromKeeper::Listed { .. }
            | FromKeeper::ListEnd
            | FromKeeper::Held { .. } => {}
        }
        Ok(())
    }

    fn ended(&self, session: SessionId, status: ExitStatus) {
        let told =
            self.state.with(|state| state.programs.get(&session).map(|watched| watched.status.clone()));
        if let Some(told) = told {
            told.send_if_modified(|known| known.replace(known.unwrap_or(status)).is_none());
        }
    }

    /// The keeper has gone: nobody is started by it, and how those end that run can't be known.
    fn is_lost(self: &Arc<Self>) {
        let (starting, running) = self.state.with(|state| {
            let _ = (state.link.take(), std::mem::take(&mut state.waiting));
            let starting: Vec<_> =
                state.programs.extract_if(|_, watched| watched.process.is_none()).collect();
            let running =
                state.programs.iter().filter_map(|(id, watched)| Some((*id, watched.process.clone()?)));
            (starting, running.collect::<Vec<_>>())
        });
        drop(starting);
        for (session, process) in running {
            let keeper = Arc::clone(self);
            tokio::spawn(async move {
                let ended = async { polled(&process)?.readable().await.map(drop) };
                if let Err(error) = ended.await {
                    debug!(%session, %error, "a program's end will not be noticed");
                    return;
                }
                keeper.ended(session, ExitStatus::Unknown);
            });
        }
        self.lost.notify_one();
    }

    /// Whenever the keeper has gone, gives what it had to another one; as `handover` says, what it has a session's of.
    pub(super) async fn replace(self: &Arc<Self>, handover: impl Fn(SessionId) -> Option<ForKeeper>) {
        loop {
            self.lost.notified().await;
            loop {
                let running = self.state.with(|state| state.running());
                if running.is_empty() {
                    break;
                }
                match self.begin().await {
                    Ok(()) => {
                        warn!(programs = running.len(), "the keeper has gone; another one has its programs");
                        for (session, pid, process) in running {
                            let (Some(ForKeeper { master, state, marks }), Ok(process)) =
                                (handover(session), process.try_clone())
                            else {
                                continue;
                            };
                            self.tell(ToKeeper::Adopt { session, pid }, vec![process, master, state, marks]);
                        }
                        break;
                    }
                    Err(error) => warn!(%error, "the keeper has gone, and another one could not be started"),
                }
                tokio::time::sleep(NEXT_PAUSE).await;
            }
            // One that goes at once is not replaced at once.
            tokio::time::sleep(NEXT_PAUSE).await;
        }
    }

    /// This is a session's state from now on.
    ///
    /// # Errors
    /// There is no room for it: the one before stays.
    pub(super) fn set_state(&self, session: SessionId, state: &KeptState) -> io::Result<()> {
        self.tell(ToKeeper::State { session }, vec![state.file()?]);
        Ok(())
    }

    /// Whether a state with so many bytes of output could be kept.
    ///
    /// # Errors
    /// There is a limit to the size of files.
    #[cfg(feature = "cli")]
    pub(super) fn has_room(&self, bytes: usize) -> io::Result<()> {
        try_size(bytes as u64 + STATE_BESIDE).map_err(|error| {
            io::Error::other(format!("{error}; start the server without a limit of file sizes (`ulimit -f`)"))
        })
    }

    /// Closes a session's terminal on the keeper's side.
    pub(super) fn close(&self, session: SessionId) {
        self.tell(ToKeeper::Close { session }, Vec::new());
    }

    /// A session is over.
    pub(super) fn forget(&self, session: SessionId) {
        let watched = self.state.with(|state| state.programs.remove(&session));
        if watched.is_some() {
            self.tell(ToKeeper::Forget { session }, Vec::new());
        }
    }

    /// This server ends, and with it whatever runs: no other one is to take anything over.
    pub(super) fn end(&self) {
        if self.state.with(|state| !std::mem::replace(&mut state.is_over, true) && state.link.is_some()) {
            self.tell(ToKeeper::Last, Vec::new());
            self.place.remove();
        }
        if let Err(error) = self.place.remove_links() {
            warn!(%error, "the file of the links could not be removed");
        }
    }

    /// Writes what the next server has to know of links; `None` for nothing.
    ///
    /// # Errors
    /// There is no room for it. Nothing is kept then.
    pub(super) fn keep_links(&self, links: Option<&[u8]>) -> io::Result<()> {
        self.place.keep_links(links)
    }

    /// What the server before has written of links, if anything.
    pub(super) fn kept_links(&self) -> io::Result<Option<Vec<u8>>> {
        self.place.kept_links()
    }

    /// All are over, whatever they do: the kernel hangs up what still has their terminals open.
    pub(super) fn forget_all(&self) {
        self.end();
        let all = self.state.with(|state| std::mem::take(&mut state.programs));
        for session in all.keys() {
            self.tell(ToKeeper::Forget { session: *session }, Vec::new());
        }
    }

    /// Tells the keeper something, if there is one: now, or once it takes it.
    fn tell(&self, packet: ToKeeper, descriptors: Vec<OwnedFd>) {
        let has_unsent = self.state.with(|state| {
            if state.link.is_some() {
                state.waiting.push_back((packet, descriptors));
                state.flush();
            }
            !state.waiting.is_empty()
        });
        if has_unsent {
            self.unsent.notify_one();
        }
    }
}

impl KeeperState {
    /// Sends what waits, as far as it is taken.
    fn flush(&mut self) {
        let Some(link) = &self.link else { return };
        while let Some((packet, descriptors)) = self.waiting.front() {
            let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
            match send(link, packet, &borrowed) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // That it has gone is found by reading.
                sent => {
                    if let Err(error) = sent {
                        debug!(%error, ?packet, "the keeper was not told");
                    }
                    self.waiting.pop_front();
                }
            }
        }
    }

    fn running(&self) -> Vec<(SessionId, u32, Arc<OwnedFd>)> {
        let running = self.programs.iter().filter(|(_, watched)| watched.status.borrow().is_none());
        running.filter_map(|(id, watched)| Some((*id, watched.pid, watched.process.clone()?))).collect()
    }
}

/// Has a program that starts too late forgotten.
struct ForgetUnlessStarted<'a> {
    keeper: &'a Keeper,
    session: SessionId,
    has_started: bool,
}

impl ForgetUnlessStarted<'_> {
    fn keep(mut self) {
        self.has_started = true;
    }
}

impl Drop for ForgetUnlessStarted<'_> {
    fn drop(&mut self) {
        if !self.has_started {
            self.keeper.forget(self.session);
        }
    }
}

/// What a keeper holds for the next server.
#[cfg(feature = "cli")]
async fn claimed(link: &Arc<OwnedFd>) -> io::Result<(HeldListener, KeptServer)> {
    let polled = polled(link)?;
    loop {
        let mut guard = polled.readable().await?;
        match receive(link) {
            Ok(Some((FromKeeper::Hello { .. }, _))) => send(link, &ToKeeper::Claim, &[])?,
            Ok(Some((FromKeeper::Held { is_ours }, descriptors))) => {
                let nothing = |_| io::Error::other("the server before has handed nothing over");
                let [listener, lock, server] = <[OwnedFd; 3]>::try_from(descriptors).map_err(nothing)?;
                let server = KeptServer::read(&server).unwrap_or_else(|error| {
                    warn!(%error, "sessions that had ended could not be taken over");
                    KeptServer::First { ended: Vec::new() }
                });
                return Ok((HeldListener { listener, lock, is_ours }, server));
            }
            Ok(Some(_)) => {}
            Ok(None) => return Err(io::ErrorKind::ConnectionReset.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
            Err(error) => return Err(error),
        }
    }
}

/// All that a keeper has to say to a server that takes over.
async fn all_of(link: &Arc<OwnedFd>, is_met: bool) -> io::Result<Vec<(FromKeeper, Vec<OwnedFd>)>> {
    let polled = polled(link)?;
    let mut all = Vec::new();
    if is_met {
        send(link, &ToKeeper::List { after: None }, &[])?;
    }
    loop {
        let mut guard = polled.readable().await?;
        let (said, descriptors) = match receive(link) {
            Ok(Some(said)) => said,
            // It held nothing, and went.
            Ok(None) => return Ok(all),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                guard.clear_ready();
                continue;
            }
            Err(error) => return Err(error),
        };
        let after = match &said {
            FromKeeper::Hello { version, .. } if *version == VERSION => None,
            FromKeeper::Hello { version, pid } => {
                return Err(io::Error::other(format!(
                    "process {pid}, which keeps the sessions of an earlier server, is of another version ({version}, \
                     and not {VERSION}): start that server's version again, or end its sessions by `kill -9 {pid}`"
                )));
            }
            FromKeeper::Listed { session, .. } => Some(*session),
            FromKeeper::ListEnd => return Ok(all),
            _ => {
                all.push((said, descriptors));
                continue;
            }
        };
        send(link, &ToKeeper::List { after }, &[])?;
        all.push((said, descriptors));
    }
}

fn polled(descriptor: &Arc<OwnedFd>) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    #[allow(deprecated, reason = "its replacement is unsafe; this stays one open descriptor, as asked")]
    AsyncFd::with_interest(Arc::clone(descriptor), Interest::READABLE | Interest::WRITABLE)
}
