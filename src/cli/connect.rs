//! Finding the server: on the socket that was named, else on the default one, else where the other default is.
//!
//! There are two defaults because not every way to log in sets `XDG_RUNTIME_DIR`: a server that was started with it has
//! to be found without it, and the other way round. A socket that was named is the only one that is tried.

use std::{
    ffi::OsStr,
    fmt, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::process::geteuid;
use tokio::time::sleep;

use super::{Globals, launch::launch, print_error, remote::RemoteError};
use crate::{
    client::{Backoff, Client, ConnectError},
    server::{is_kept, other_default_sockets},
};

/// How long a server is waited for that lost its socket, and may look once a second whether it can bind it again.
const COME_BACK_TIME: Duration = Duration::from_secs(3);
const COME_BACK_PAUSE: Duration = Duration::from_millis(250);

/// How long it is tried to start a server that takes over what another one has left.
const TAKE_OVER_TIME: Duration = Duration::from_secs(3);

/// How long a server that was started by another process at the same time may take until it listens.
pub(super) const OTHER_START_TIME: Duration = Duration::from_secs(1);
pub(super) const OTHER_START_PAUSE: Duration = Duration::from_millis(20);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotConnected {
    #[error(transparent)]
    NoServer(NoServer),
    #[error(transparent)]
    Failed(#[from] ConnectError),
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error("no server answers, but what one has left runs on, and another one could not take it over: {0}")]
    NotTakenOver(String),
}

impl NotConnected {
    /// Whether it may go better later.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::NoServer(_) => false,
            Self::Failed(error) => error.may_pass(),
            Self::Remote(error) => error.may_pass(),
            Self::NotTakenOver(_) => true,
        }
    }

    /// Whether there is no server, here or on the machine that was meant.
    pub(super) fn is_no_server(&self) -> bool {
        matches!(self, Self::NoServer(_) | Self::Remote(RemoteError::NoServer(_)))
    }
}

/// No server answers anywhere.
#[derive(Debug, thiserror::Error)]
pub(super) struct NoServer {
    /// The sockets that were tried.
    tried: Vec<PathBuf>,
    /// Why another default was not used.
    passed_over: Vec<ConnectError>,
    /// This user's other servers, where nobody said which socket.
    others: Others,
}

/// Servers of this user's that were not found where they were looked for.
#[derive(Debug, Default)]
struct Others {
    /// Those that nobody can reach, as their files are gone.
    lost: Vec<(i32, PathBuf)>,
    /// Those that another `XDG_RUNTIME_DIR` leads to.
    elsewhere: Vec<(i32, PathBuf)>,
}

impl NoServer {
    /// Looks at all processes, some milliseconds where there are many, for servers that no socket leads to.
    pub(super) fn look_for_others(&mut self, common: &Globals) {
        self.others = Others::find(&common.socket, common.is_default);
    }

    /// Whether one of these can bind its socket again.
    pub(super) fn may_come_back(&self) -> bool {
        self.others.may_come_back()
    }

    /// What is known of servers that can't be reached, for people.
    pub(super) fn lost(&self) -> Option<String> {
        if self.others.lost.is_empty() {
            return None;
        }
        let processes: Vec<_> = self.others.lost.iter().map(|(process, _)| process.to_string()).collect();
        let processes = processes.join(" ");
        Some(format!(
            "a server still runs (process {processes}) whose directory was removed, as happens to $XDG_RUNTIME_DIR at a \
             logout; its sessions can't be reached any more, and `kill {processes}` ends them"
        ))
    }
}

impl fmt::Display for NoServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, socket) in self.tried.iter().enumerate() {
            let before = if at == 0 { "no server listens on" } else { ", nor on" };
            write!(f, "{before} {}", socket.display())?;
        }
        f.write_str("; `fugue-server new` starts one, with a session")?;
        for error in &self.passed_over {
            write!(f, "\nnot tried further: {error}")?;
        }
        for (process, socket) in &self.others.elsewhere {
            let socket = socket.display();
            write!(f, "\nprocess {process} is a server on {socket}; `--socket {socket}` uses it")?;
        }
        self.lost().map_or(Ok(()), |lost| write!(f, "\n{lost}"))
    }
}

impl Globals {
    /// Connects to the server, which must run. Says so when it is not where it was looked for first.
    ///
    /// May be called again when a connection was lost: to another machine it makes a new one, which asks nothing.
    pub(super) async fn connect(&self) -> Result<Client, NotConnected> {
        self.connect_somewhere().await.map(|(client, _)| client)
    }

    /// Connects again after a connection was lost: tries for as long as that may help.
    pub(super) async fn reconnect(&self, backoff: &mut Backoff) -> Result<Client, NotConnected> {
        loop {
            sleep(backoff.pause()).await;
            match self.connect().await {
                Err(error) if error.may_pass() => {}
                connected => return connected,
            }
        }
    }

    /// The same, and on which socket; or on which machine.
    ///
    /// A server that lost its socket may bind it again, and is waited for. Where one was killed and its sessions are
    /// left, another is started, which takes them over.
    pub(super) async fn connect_somewhere(&self) -> Result<(Client, PathBuf), NotConnected> {
        if let Some(remote) = &self.remote {
            return Ok((remote.connect(false).await?, remote.to_string().into()));
        }
        let (begun, mut complaint) = (Instant::now(), None);
        loop {
            match self.look_for_server().await {
                // Of several that are started at once one gets the socket, and serves all. One that was killed just now
                // has its lock for a moment.
                Err(NotConnected::NoServer(_))
                    if begun.elapsed() < TAKE_OVER_TIME && is_kept(&self.socket) =>
                {
                    let said = launch(self).await.unwrap_or_else(|error| format!("{error:#}"));
                    if !said.is_empty() {
                        sleep(OTHER_START_PAUSE).await;
                    }
                    complaint = Some(said);
                }
                Err(NotConnected::NoServer(_)) if complaint.is_some() => {
                    return Err(NotConnected::NotTakenOver(complaint.unwrap_or_default()));
                }
                Err(NotConnected::NoServer(none))
                    if none.may_come_back() && begun.elapsed() < COME_BACK_TIME =>
                {
                    sleep(COME_BACK_PAUSE).await;
                }
                found => return found,
            }
        }
    }

    async fn look_for_server(&self) -> Result<(Client, PathBuf), NotConnected> {
        let mut found = self.try_sockets().await;
        if let Err(NotConnected::NoServer(none)) = &mut found {
            none.look_for_others(self);
        }
        found
    }

    /// Connects on the socket that was named, or on a default one, and looks no further.
    pub(super) async fn try_sockets(&self) -> Result<(Client, PathBuf), NotConnected> {
        let mut tried = match Client::connect(&self.socket).await {
            Err(ConnectError::NoServer(path)) => vec![path],
            connected => return Ok((connected?, self.socket.clone())),
        };
        let mut passed_over = Vec::new();
        let others = if self.is_default { other_default_sockets(&self.socket) } else { Vec::new() };
        for other in others {
            match Client::connect(&other).await {
                Ok(client) => {
                    print_error(format_args!(
                        "no server listens on {}; using the one on {}",
                        self.socket.display(),
                        other.display()
                    ));
                    return Ok((client, other));
                }
                Err(ConnectError::NoServer(path)) => tried.push(path),
                Err(error) => passed_over.push(error),
            }
        }
        Err(NotConnected::NoServer(NoServer { tried, passed_over, others: Others::default() }))
    }
}

/// Descriptors and processes that are looked at: a server opens its lock first of all, and keeps it.
const MAX_DESCRIPTORS: usize = 32;
const MAX_PROCESSES: usize = 32 * 1024;

/// What follows the name of a file that has none any more, in the links of `/proc`.
const DELETED: &str = " (deleted)";

impl Others {
    /// Looks for them by the locks that they hold. With `defaults`, those of every socket that could be a default one
    /// count.
    fn find(socket: &Path, defaults: bool) -> Self {
        let mut others = Self::default();
        let Ok(processes) = fs::read_dir("/proc") else { return others };
        for process in processes.flatten().take(MAX_PROCESSES) {
            let Some((id, locked, is_there)) = server(&process, socket, defaults) else { continue };
            match is_there {
                true if locked != socket => others.elsewhere.push((id, locked)),
                true => {}
                false => others.lost.push((id, locked)),
            }
        }
        others
    }
}

impl Others {
    /// Whether there is one that can bind its socket again: it makes the socket's directory, and none above.
    fn may_come_back(&self) -> bool {
        let has_room = |socket: &Path| {
            socket.parent().and_then(Path::parent).is_some_and(Path::is_dir) && !socket.exists()
        };
        self.lost.iter().any(|(_, socket)| has_room(socket))
    }
}

/// Whether a socket has the names that default ones have.
fn could_be_default(socket: &Path) -> bool {
    let directory = socket.parent().and_then(Path::file_name).and_then(OsStr::to_str);
    socket.ends_with("server.sock")
        && directory.is_some_and(|name| name == "fugue" || name.starts_with("fugue-"))
}

/// The socket of a process of this user's that is its server, or that of a default one; and whether its lock is there.
fn server(process: &fs::DirEntry, socket: &Path, defaults: bool) -> Option<(i32, PathBuf, bool)> {
    let id = process.file_name().to_str()?.parse().ok()?;
    if process.metadata().ok()?.uid() != geteuid().as_raw() {
        return None;
    }
    let descriptors = fs::read_dir(process.path().join("fd")).ok()?.flatten().take(MAX_DESCRIPTORS);
    descriptors.into_iter().find_map(|descriptor| {
        let file = fs::read_link(descriptor.path()).ok()?;
        let file = file.to_str()?;
        let (lock, is_there) = file.strip_suffix(DELETED).map_or((file, true), |lock| (lock, false));
        let locked = Path::new(lock.strip_suffix(".lock")?);
        let is_it = locked == socket || defaults && could_be_default(locked);
        is_it.then(|| (id, locked.to_owned(), is_there))
    })
}
