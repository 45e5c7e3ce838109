//! The keeper: the parent of a server's programs, which outlives the server.
//!
//! It starts programs, holds their terminals and what the server says of their sessions, and takes note of how they
//! end. It looks into none of that. It is small, has one thread, and waits in one place, so that there is little in it
//! that can fail. Whatever server comes next is given all of it.
//!
//! It listens on standard input, to one server at a time: only who has the lock beside the socket connects. It ends
//! once it holds nothing and no server is there.
//!
//! A server has one if [asked](crate::ServerBuilder::keep_programs): it runs its own program's file again, so `main`
//! has to look first whether this is such a run.

mod packet;
mod start;

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    ops::Bound,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use nix::sys::signal::{SigSet, Signal};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{SocketFlags, accept_with},
    process::{
        Pid, PidfdFlags, WaitId, WaitIdOptions, WaitOptions, geteuid, pidfd_open, setsid, waitid, waitpid,
    },
};

pub(crate) use self::{
    packet::{FromKeeper, ToKeeper, VERSION, receive, send},
    start::ProgramWords,
};
use crate::{SessionId, message::ExitStatus};

/// The first argument of a process that is to be a keeper, and of one that is to become a program.
pub(crate) const KEEPER: &str = "fugue-keeper";
const PROGRAM: &str = "fugue-keeper-program";

/// This program's own file, also once another has its name.
pub(crate) const OWN_FILE: &str = "/proc/self/exe";

/// Packets that wait for a server to read them, after which nothing is read from it.
const MAX_WAITING: usize = 64;

/// The most that wait to be the next server.
const MAX_CALLERS: usize = 64;

/// How long what a server hands over is held for the next.
const HELD_FOR: Duration = Duration::from_secs(5);

/// The pause after a server could not be accepted.
const PAUSE: Duration = Duration::from_millis(20);

/// Runs the keeper, or becomes a program, if this process was started by a server or its keeper for that. To be called
/// first of all, while the process has one thread, and to exit with what it returns.
///
/// ```no_run
/// fn main() -> std::process::ExitCode {
///     if let Some(exit) = fugue_server::keeper::run() {
///         return exit;
///     }
///     // What the program is for.
///     std::process::ExitCode::SUCCESS
/// }
/// ```
#[must_use]
pub fn run() -> Option<ExitCode> {
    match std::env::args_os().nth(1)?.to_str()? {
        KEEPER => Some(keep()),
        PROGRAM => Some(start::run()),
        _ => None,
    }
}

fn keep() -> ExitCode {
    let Ok(listener) = io::stdin().as_fd().try_clone_to_owned() else { return ExitCode::FAILURE };
    // What ends a server by a signal to all that it started is not to end this before it has told how they ended.
    let ignored = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT]);
    let _ = ignored.thread_block();
    // An error says that it leads a session already.
    let _ = setsid();
    let _ = std::env::set_current_dir("/");
    let _ = rustix::thread::set_name(c"fugue-keeper");
    let mut keeper = KeeperProcess {
        listener,
        server: None,
        callers: VecDeque::new(),
        held: None,
        kept: BTreeMap::new(),
        starting: Vec::new(),
        left: Vec::new(),
    };
    match keeper.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

struct KeeperProcess {
    listener: OwnedFd,
    server: Option<ServerLink>,
    /// Those that wait for the server to go: the next one, and who only looked whether this is here.
    callers: VecDeque<OwnedFd>,
    /// What the server before has left for the next.
    held: Option<HeldSocket>,
    kept: BTreeMap<SessionId, KeptSession>,
    starting: Vec<Starting>,
    /// Programs that were forgotten, and have not ended.
    left: Vec<(Pid, OwnedFd)>,
}

/// What a server listened on, its lock, what the next has to know, and when nobody else has come for them.
struct HeldSocket {
    listener: OwnedFd,
    lock: OwnedFd,
    state: OwnedFd,
    is_ours: bool,
    until: Instant,
}

/// The server, and what it has not read yet.
struct ServerLink {
    socket: OwnedFd,
    waiting: VecDeque<FromKeeper>,
    /// No other server is to have what it leaves.
    is_last: bool,
}

struct KeptSession {
    pid: Pid,
    /// The process, which no other takes the place of.
    process: OwnedFd,
    /// It was started here, so that its end is told here.
    is_child: bool,
    /// `None` once it is closed.
    master: Option<OwnedFd>,
    state: OwnedFd,
    marks: OwnedFd,
    ended: Option<ExitStatus>,
}

/// A program that has not said yet that it runs.
struct Starting {
    session: SessionId,
    kept: KeptSession,
    /// Where it says why it does not.
    failures: OwnedFd,
}

/// What has something to tell.
#[derive(Clone, Copy)]
enum Told {
    Listener,
    Server,
    Starting(SessionId),
    Ended(SessionId),
    Left(Pid),
}

impl KeeperProcess {
    fn run(&mut self) -> io::Result<()> {
        // Whoever started this connects, or has gone.
        let mut is_new = true;
        while is_new || self.has_something() {
            if self.server.is_none() && self.held.as_ref().is_some_and(|held| held.until <= Instant::now()) {
                // Nobody waits at a socket that nobody serves.
                self.held = None;
                continue;
            }
            for (told, how) in self.wait()? {
                match told {
                    Told::Listener => self.accept(),
                    Told::Server => self.hear(how),
                    Told::Starting(session) => self.started(session),
                    Told::Ended(session) => self.ended(session),
                    Told::Left(pid) => {
                        // An error says that it was another keeper's.
                        let _ = waitpid(Some(pid), WaitOptions::NOHANG);
                        self.left.retain(|(other, _)| *other != pid);
                    }
                }
                is_new = false;
            }
        }
        Ok(())
    }

    fn has_something(&self) -> bool {
        self.server.is_some() || self.held.is_some() || !self.kept.is_empty() || !self.starting.is_empty()
    }

    /// Waits until something has something to tell.
    fn wait(&self) -> io::Result<Vec<(Told, PollFlags)>> {
        let mut all = vec![(Told::Listener, self.listener.as_fd(), PollFlags::IN)];
        if let Some(server) = &self.server {
            // Not read from while it does not read. A hangup is told in any case.
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, server.waiting.len() < MAX_WAITING);
            flags.set(PollFlags::OUT, !server.waiting.is_empty());
            all.push((Told::Server, server.socket.as_fd(), flags));
        }
        let starting = self.starting.iter();
        all.extend(starting.map(|one| (Told::Starting(one.session), one.failures.as_fd(), PollFlags::IN)));
        let running = self.kept.iter().filter(|(_, kept)| kept.ended.is_none());
        all.extend(running.map(|(id, kept)| (Told::Ended(*id), kept.process.as_fd(), PollFlags::IN)));
        let left = self.left.iter();
        all.extend(left.map(|(pid, process)| (Told::Left(*pid), process.as_fd(), PollFlags::IN)));

        let mut polled: Vec<_> =
            all.iter().map(|(_, descriptor, flags)| PollFd::from_borrowed_fd(*descriptor, *flags)).collect();
        let until = self.held.as_ref().filter(|_| self.server.is_none()).map(|held| held.until);
        let left = until.and_then(|until| {
            let left = until.saturating_duration_since(Instant::now());
            (left + Duration::from_millis(1)).try_into().ok()
        });
        rustix::io::retry_on_intr(|| poll(&mut polled, left.as_ref()))?;
        let told = all.iter().zip(&polled).map(|((told, ..), polled)| (*told, polled.revents()));
        Ok(told.filter(|(_, how)| !how.is_empty()).collect())
    }

    /// Somebody calls. Who only looked has gone again by the next call.
    fn accept(&mut self) {
        let Ok(socket) = accept_with(&self.listener, SocketFlags::CLOEXEC) else {
            // It has gone again, or no descriptor is left for it.
            return std::thread::sleep(PAUSE);
        };
        let is_ours = rustix::net::sockopt::socket_peercred(&socket).is_ok_and(|peer| peer.uid == geteuid());
        self.callers.retain(|caller| !has_gone(caller));
        if is_ours && self.callers.len() < MAX_CALLERS {
            self.callers.push_back(socket);
        }
        self.greet();
    }

    /// The first who called is the server once the one before has gone.
    fn greet(&mut self) {
        while self.server.is_none()
            && let Some(socket) = self.callers.pop_front()
        {
            self.server = Some(ServerLink { socket, waiting: VecDeque::new(), is_last: false });
            self.say(FromKeeper::Hello { version: VERSION, pid: std::process::id() });
        }
    }

    /// Does what the server says, and has it read what waits for it.
    fn hear(&mut self, flags: PollFlags) {
        self.flush();
        if !flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            return;
        }
        let Some(server) = &self.server else { return };
        match receive(&server.socket) {
            Ok(Some((said, descriptors))) => self.carry_out(said, descriptors),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // What it does not understand, it does not go on from.
            Ok(None) | Err(_) => self.lose_server(),
        }
    }

    /// The server has gone. How programs ended that it has not heard of is told to the next.
    fn lose_server(&mut self) {
        if self.server.take().is_some_and(|server| server.is_last) {
            // With their terminals, which hangs them up.
            self.starting.clear();
            self.kept.clear();
        }
        self.greet();
    }

    fn carry_out(&mut self, said: ToKeeper, descriptors: Vec<OwnedFd>) {
        match (said, <[OwnedFd; 5]>::try_from(descriptors)) {
            (ToKeeper::Start { session }, Ok(descriptors)) => self.start(session, descriptors),
            // They were sent, so there is no room for them.
            (ToKeeper::Start { session }, Err(_)) => self.not_started(session, Errno::MFILE),
            (ToKeeper::Adopt { session, pid }, Err(descriptors)) => self.adopt(session, pid, descriptors),
            (ToKeeper::State { session }, Err(mut state)) => {
                if let (Some(kept), Some(state)) = (self.find(session), state.pop()) {
                    kept.state = state;
                }
            }
            (ToKeeper::List { after }, _) => self.list(after),
            (ToKeeper::Hold { is_ours }, Err(descriptors)) => {
                if let Ok([listener, lock, state]) = <[OwnedFd; 3]>::try_from(descriptors) {
                    let until = Instant::now() + HELD_FOR;
                    self.held = Some(HeldSocket { listener, lock, state, is_ours, until });
                }
            }
            (ToKeeper::Last, _) => {
                if let Some(server) = &mut self.server {
                    server.is_last = true;
                }
            }
            (ToKeeper::Claim, _) => {
                let is_ours = self.held.as_ref().is_some_and(|held| held.is_ours);
                self.say(FromKeeper::Held { is_ours });
            }
            (ToKeeper::Close { session }, _) => {
                if let Some(kept) = self.find(session) {
                    kept.master = None;
                }
            }
            (ToKeeper::Forget { session }, _) => self.forget(session),
            (ToKeeper::Adopt { .. } | ToKeeper::State { .. } | ToKeeper::Hold { .. }, Ok(_)) => {}
        }
    }

    fn find(&mut self, session: SessionId) -> Option<&mut KeptSession> {
        let starting = self.starting.iter_mut().find(|starting| starting.session == session);
        starting.map(|starting| &mut starting.kept).or(self.kept.get_mut(&session))
    }

    fn start(&mut self, session: SessionId, [master, slave, words, state, marks]: [OwnedFd; 5]) {
        match start_process(slave, words) {
            Ok((pid, process, failures)) => {
                let kept = KeptSession {
                    pid,
                    process,
                    is_child: true,
                    master: Some(master),
                    state,
                    marks,
                    ended: None,
                };
                self.starting.push(Starting { session, kept, failures });
            }
            Err(error) => self.not_started(session, Errno::from_io_error(&error).unwrap_or(Errno::NOMEM)),
        }
    }

    /// A process that was started has become its program, or says why not.
    fn started(&mut self, session: SessionId) {
        let Some(at) = self.starting.iter().position(|starting| starting.session == session) else { return };
        let Starting { kept, failures, .. } = self.starting.swap_remove(at);
        let mut errno = [0; 4];
        if let Ok(4) = rustix::io::read(&failures, &mut errno) {
            self.left.push((kept.pid, kept.process));
            self.not_started(session, Errno::from_raw_os_error(i32::from_ne_bytes(errno)));
            return;
        }
        // The pipe went with `exec`.
        let pid = kept.pid();
        self.kept.insert(session, kept);
        self.say(FromKeeper::Started { session, pid });
    }

    fn not_started(&mut self, session: SessionId, errno: Errno) {
        self.say(FromKeeper::NotStarted { session, errno: errno.raw_os_error() });
    }

    fn adopt(&mut self, session: SessionId, pid: u32, descriptors: Vec<OwnedFd>) {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let Ok([process, master, state, marks]) = <[OwnedFd; 4]>::try_from(descriptors) else { return };
        let Some(pid) = pid else { return };
        let master = Some(master);
        let kept = KeptSession { pid, process, is_child: false, master, state, marks, ended: None };
        self.kept.insert(session, kept);
    }

    fn list(&mut self, after: Option<SessionId>) {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let Some((&session, kept)) = self.kept.range((start, Bound::Unbounded)).next() else {
            return self.say(FromKeeper::ListEnd);
        };
        let (pid, ended) = (kept.pid(), kept.ended);
        self.say(FromKeeper::Listed { session, pid });
        if let Some(status) = ended {
            self.say(FromKeeper::Ended { session, status });
        }
    }

    /// A program has ended. It stays a zombie, so that its number is nobody else's, until it is forgotten.
    fn ended(&mut self, session: SessionId) {
        let Some(kept) = self.kept.get_mut(&session) else { return };
        let status = if kept.is_child { status_of(&kept.process) } else { Some(ExitStatus::Unknown) };
        let Some(status) = status else { return };
        kept.ended = Some(status);
        self.say(FromKeeper::Ended { session, status });
    }

    /// Closes a session's terminal, which hangs up what still has it open, and forgets the session.
    fn forget(&mut self, session: SessionId) {
        let starting = self.starting.iter().position(|starting| starting.session == session);
        let starting = starting.map(|at| self.starting.swap_remove(at).kept);
        let Some(kept) = starting.or_else(|| self.kept.remove(&session)) else { return };
        // One that has ended is told of at once.
        self.left.push((kept.pid, kept.process));
    }

    /// Says something to the server, if one is there: now, or once it reads.
    fn say(&mut self, packet: FromKeeper) {
        if let Some(server) = &mut self.server {
            server.waiting.push_back(packet);
            self.flush();
        }
    }

    fn flush(&mut self) {
        let Some(server) = &mut self.server else { return };
        while let Some(packet) = server.waiting.front() {
            let descriptors = match packet {
                FromKeeper::Started { session, .. } => {
                    self.kept.get(session).map_or_else(Vec::new, |kept| vec![kept.process.as_fd()])
                }
                FromKeeper::Listed { session, .. } => {
                    self.kept.get(session).map_or_else(Vec::new, KeptSession::descriptors)
                }
                FromKeeper::Held { .. } => self.held.as_ref().map_or_else(Vec::new, HeldSocket::descriptors),
                _ => Vec::new(),
            };
            match send(&server.socket, packet, &descriptors) {
                Ok(()) => {
                    if let Some(FromKeeper::Held { .. }) = server.waiting.pop_front() {
                        self.held = None;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.lose_server(),
            }
        }
    }
}

impl HeldSocket {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        [&self.listener, &self.lock, &self.state].map(AsFd::as_fd).to_vec()
    }
}

impl KeptSession {
    fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Its process, its terminal's master, its state, and its marks. Of one whose terminal is closed, only the first.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let process = Some(&self.process);
        let others = self.master.as_ref().map(|master| [master, &self.state, &self.marks]);
        process.into_iter().chain(others.into_iter().flatten()).map(AsFd::as_fd).collect()
    }
}

/// Whether the other end of a socket has been closed.
fn has_gone(socket: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(socket, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&now)).is_ok() && polled[0].revents().contains(PollFlags::HUP)
}

/// Starts a process that becomes the program: itself, as a handle, and where it says why it does not.
fn start_process(slave: OwnedFd, words: OwnedFd) -> io::Result<(Pid, OwnedFd, OwnedFd)> {
    let (failures, failing) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let child = Command::new(OWN_FILE)
        .arg(PROGRAM)
        .env_clear()
        .stdin(Stdio::from(slave))
        .stdout(Stdio::from(failing))
        .stderr(Stdio::from(words))
        .spawn()?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    Ok((pid, pidfd_open(pid, PidfdFlags::empty())?, failures))
}

/// How a child ended, if it has. It stays to be waited for.
fn status_of(process: &OwnedFd) -> Option<ExitStatus> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match waitid(WaitId::PidFd(process.as_fd()), options) {
        Ok(status) => status.map(|status| match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => ExitStatus::Code(code),
            (None, Some(signal)) => ExitStatus::Signal(signal),
            (None, None) => ExitStatus::Unknown,
        }),
        // Somebody waited for it who should not have.
        Err(_) => Some(ExitStatus::Unknown),
    }
}
