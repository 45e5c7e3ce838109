//! The socket: taken by one server at a time, closed to other users, and gone when its server is.
//!
//! A lock file beside the socket, held for life, decides who is the server. Only its holder touches an existing socket,
//! and replaces it only if it is one that nobody listens on. On the way out it removes the socket it made, if that is
//! still the one of its name. The lock file stays: removing it would let two servers hold two files of one name.
//!
//! A socket that another process made for this one passes the same checks, and its file stays.
//!
//! All of it happens in a directory that is held open, by names within it: see [`directory`].

mod directory;
mod error;
mod lock;
#[cfg(test)]
mod tests;

use std::{
    env,
    ffi::{OsStr, OsString},
    fs, future, io,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, fs::MetadataExt, net::UnixListener as StdListener},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{FileType, Mode, fchmod, fstat},
    io::Errno,
    net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with,
        sockopt::socket_acceptconn,
    },
    process::geteuid,
};
use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tracing::{debug, info, warn};

pub use self::error::BindError;
use self::{
    directory::{Directory, kind, through},
    lock::{Lock, LockHeld},
};
use super::connection::refusal;
use crate::session::{HeldListener, KeeperPlace, LinkDirectory};

/// The longest path a Unix socket's address holds, less its closing zero. Clients use the whole path.
const MAX_PATH: usize = 107;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Where a server listens when nobody says: `fugue/server.sock` in `$XDG_RUNTIME_DIR`, else
/// `/tmp/fugue-UID/server.sock`.
///
/// The XDG specification wants that directory to be the user's own. One that is not, as `su` leaves it behind, and one
/// that is not there, are passed over with a warning.
#[must_use]
pub fn default_socket_path() -> PathBuf {
    let (path, warning) = default_socket();
    if let Some(warning) = warning {
        warn!("{warning}");
    }
    path
}

/// The default path, and what is to be said about it.
pub(crate) fn default_socket() -> (PathBuf, Option<String>) {
    socket_in(env::var_os("XDG_RUNTIME_DIR"))
}

fn socket_in(runtime_directory: Option<OsString>) -> (PathBuf, Option<String>) {
    let elsewhere = socket_in_tmp();
    // A relative one would lead a server and its clients to different places; the XDG specification ignores it too.
    let Some(directory) = runtime_directory.map(PathBuf::from).filter(|directory| directory.is_absolute())
    else {
        return (elsewhere, None);
    };
    if let Some(socket) = socket_in_runtime(&directory) {
        return (socket, None);
    }
    let warning = format!(
        "XDG_RUNTIME_DIR ({}) is not a directory of this user's; the socket is {} instead",
        directory.display(),
        elsewhere.display()
    );
    (elsewhere, Some(warning))
}

/// Where the default path would be for somebody who logged in in another way, and is not `path`: in `$XDG_RUNTIME_DIR`,
/// in the directory that systemd gives that variable, and in `/tmp`.
#[cfg(feature = "cli")]
pub(crate) fn other_default_sockets(path: &Path) -> Vec<PathBuf> {
    let set = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|directory| directory.is_absolute());
    let usual = PathBuf::from(format!("/run/user/{}", geteuid().as_raw()));
    let runtime = set.into_iter().chain([usual]).filter_map(|directory| socket_in_runtime(&directory));
    let mut others = Vec::new();
    for socket in runtime.chain([socket_in_tmp()]) {
        if socket != path && !others.contains(&socket) {
            others.push(socket);
        }
    }
    others
}

fn socket_in_tmp() -> PathBuf {
    PathBuf::from(format!("/tmp/fugue-{}/server.sock", geteuid().as_raw()))
}

/// The socket in a runtime directory, if that is this user's.
fn socket_in_runtime(directory: &Path) -> Option<PathBuf> {
    let ours = |found: fs::Metadata| found.is_dir() && found.uid() == geteuid().as_raw();
    fs::metadata(directory).is_ok_and(ours).then(|| directory.join("fugue/server.sock"))
}

/// A socket that is ours alone, until this drops. Fields drop in order: the file goes, then the listener, then the
/// lock.
#[derive(Debug)]
pub(super) struct BoundSocket {
    path: PathBuf,
    file: SocketFile,
    listener: UnixListener,
    backoff: Backoff,
    /// Kept so that a client can be told when there is no other.
    spare: Option<OwnedFd>,
    /// Binding again failed, which was said.
    is_lost: bool,
    lock: Lock,
}

impl BoundSocket {
    /// Binds `path`, after making sure that its directory is ours and no server lives there.
    pub(super) fn bind(path: &Path) -> Result<Self, BindError> {
        let (directory, name) = place(path)?;
        let lock = lock(&directory, path, name)?;
        let lock = match (lock, is_listened_on(&directory, name, path)?) {
            // A live server may have lost its lock file to somebody's cleaning.
            (_, true) => return Err(BindError::AlreadyRunning(path.to_owned())),
            (Err(LockHeld(process)), false) => {
                return Err(BindError::NotListening { socket: path.to_owned(), process });
            }
            (Ok(lock), false) => lock,
        };
        let (file, listener, spare) = listen(directory, path, name, &lock)?;
        Ok(Self::of(path, file, listener, spare, lock))
    }

    fn of(path: &Path, file: SocketFile, listener: UnixListener, spare: OwnedFd, lock: Lock) -> Self {
        Self {
            path: path.to_owned(),
            file,
            listener,
            backoff: Backoff::default(),
            spare: Some(spare),
            is_lost: false,
            lock,
        }
    }

    /// With a listener that another process has made.
    fn with_listener(path: &Path, file: SocketFile, listener: StdListener, lock: Lock) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        let spare = file.directory.again()?;
        Ok(Self::of(path, file, listener, spare, lock))
    }

    /// Binds the socket again if its file is gone: somebody's cleaning removed it, or a logout the runtime directory.
    /// Until that works, those who are connected are served, and nobody else.
    ///
    /// Of the directories on the way only the socket's own is made again. So a place that went as a whole stays gone.
    /// One that was handed over is its maker's to bind. Returns whether that failed.
    pub(super) fn bind_again_if_lost(&mut self) -> bool {
        if !self.file.is_ours {
            return false;
        }
        let found = fs::symlink_metadata(&self.path).map(|found| (found.dev(), found.ino()));
        if found.is_ok_and(|found| found == self.file.id) {
            self.is_lost = false;
            return false;
        }
        if !self.path.parent().and_then(Path::parent).is_some_and(Path::is_dir) {
            return false;
        }
        match self.bind_again() {
            Ok(()) => {
                info!(socket = ?self.path, "the socket was gone, and was bound again");
                self.is_lost = false;
            }
            // Once, and not once a second.
            Err(error) if !std::mem::replace(&mut self.is_lost, true) => {
                warn!(%error, socket = ?self.path, "the socket is gone, and can't be bound again");
            }
            Err(_) => {}
        }
        self.is_lost
    }

    fn bind_again(&mut self) -> Result<(), BindError> {
        let path = self.path.clone();
        let (directory, name) = place(&path)?;
        if !self.lock.is_of(&directory, &with_suffix(name, ".lock")) {
            // The lock went as well, and decides no more who the server is.
            *self = Self::bind(&path)?;
            return Ok(());
        }
        if is_listened_on(&directory, name, &path)? {
            return Err(BindError::AlreadyRunning(path));
        }
        let (file, listener, spare) = listen(directory, &path, name, &self.lock)?;
        // The file first, while no other can have its number.
        self.file = file;
        (self.listener, self.spare) = (listener, Some(spare));
        Ok(())
    }

    /// Takes over a socket that another process bound, and listens on for this one; after making sure that its
    /// directory and its file are this user's and closed to others. The file is that process's to remove.
    pub(super) fn adopt(path: &Path, listener: StdListener) -> Result<Self, BindError> {
        let bound = listener.local_addr().ok().and_then(|address| Some(address.as_pathname()?.to_owned()));
        let bound = bound.filter(|_| socket_acceptconn(&listener).unwrap_or(false));
        if bound.as_deref() != Some(path) {
            return Err(BindError::WrongListener { socket: path.to_owned(), listener: bound });
        }
        let (directory, name) = place(path)?;
        // Not asked by connecting: the listener would have to answer.
        let lock = lock(&directory, path, name)?
            .map_err(|LockHeld(process)| BindError::Replaced { socket: path.to_owned(), process })?;
        let failed = |what| move |source| BindError::Io { what, path: path.to_owned(), source };
        let found = directory.find(name).and_then(fstat);
        let found = found.map_err(|errno| failed("finding")(errno.into()))?;
        let socket = path.to_owned();
        if kind(&found) != FileType::Socket {
            return Err(BindError::NotASocket(socket));
        }
        if found.st_uid != geteuid().as_raw() {
            return Err(BindError::SocketNotOurs { socket, owner: found.st_uid });
        }
        let mode = found.st_mode & 0o777;
        if mode & 0o077 != 0 {
            return Err(BindError::SocketOpen { socket, mode });
        }
        let id = (found.st_dev, found.st_ino);
        let file = SocketFile { directory, name: name.to_owned(), id, is_ours: false };
        Self::with_listener(path, file, listener, lock).map_err(failed("listening on"))
    }

    /// As what the next server is to have: nobody else gets the lock in between, and who connects waits.
    pub(super) fn into_held(mut self) -> io::Result<HeldListener> {
        let is_ours = std::mem::replace(&mut self.file.is_ours, false);
        let listener = self.listener.into_std()?.into();
        let lock = self.lock.into_file().ok_or(io::ErrorKind::NotFound)?;
        Ok(HeldListener { listener, lock, is_ours })
    }

    /// What the server before has handed over.
    #[cfg(feature = "cli")]
    pub(super) fn of_held(path: &Path, held: HeldListener) -> Result<Self, BindError> {
        let HeldListener { listener, lock, is_ours } = held;
        let (directory, name) = place(path)?;
        let failed = |source| BindError::Io { what: "taking over", path: path.to_owned(), source };
        let lock = Lock::of(lock).map_err(failed)?;
        let mut file = SocketFile::of(directory, name.to_owned()).map_err(|errno| failed(errno.into()))?;
        file.is_ours = is_ours;
        Self::with_listener(path, file, StdListener::from(listener), lock).map_err(failed)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where sessions' links to agents are made: beside the socket. `None` where their paths would be too long.
    pub(super) fn link_directory(&self) -> Option<LinkDirectory> {
        LinkDirectory::new(self.file.directory.again().ok()?, &self.path)
    }

    /// Where the keeper of programs listens: beside the socket.
    pub(super) fn keeper_place(&self) -> Option<KeeperPlace> {
        Some(KeeperPlace::new(self.file.directory.again().ok()?, &self.path))
    }

    /// Where the keeper of the server on this socket listens.
    #[cfg(feature = "cli")]
    pub(super) fn keeper_place_of(socket: &Path) -> Result<KeeperPlace, BindError> {
        let (directory, _) = place(socket)?;
        let failed = |source| BindError::Io { what: "finding", path: socket.to_owned(), source };
        Ok(KeeperPlace::new(directory.again().map_err(failed)?, socket))
    }

    /// Opens a file for adding to its end, whose name is the socket's with `suffix` after it.
    #[cfg(feature = "cli")]
    pub(super) fn open_beside(&self, suffix: &str) -> io::Result<fs::File> {
        let name = with_suffix(&self.file.name, suffix);
        self.file.directory.open_file(&name, rustix::fs::OFlags::APPEND).map(fs::File::from)
    }

    /// The next connection from a process of our own user. Errors are waited out. Without a descriptor for it, a
    /// connection is refused with the reason.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn accept(&mut self) -> UnixStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    self.backoff.reset();
                    if is_ours(&stream) {
                        return stream;
                    }
                }
                Err(error) if is_out_of_descriptors(&error) => self.turn_away(&error).await,
                Err(error) => self.backoff.wait(&error).await,
            }
        }
    }

    /// Tells the next client that there is no descriptor for it, with the one that was kept for that.
    ///
    /// # Cancel safety
    /// Cancel safe: it waits for nothing while it is without the spare.
    async fn turn_away(&mut self, error: &io::Error) {
        drop(self.spare.take());
        let accepted = tokio::select! {
            biased;
            accepted = self.listener.accept() => Some(accepted),
            () = future::ready(()) => None,
        };
        let failed = match accepted {
            Some(Ok((stream, _))) => {
                self.backoff.say(error);
                if is_ours(&stream) {
                    let why = "the server has no file descriptor left for another client; try again later, or end \
                               clients or sessions, or start it with a larger `ulimit -n`";
                    // A new socket takes a few bytes at once; if not, the client sees it close.
                    let _ = stream.try_write(&refusal(why.to_owned()));
                }
                false
            }
            // Another part of the process took the spare.
            Some(Err(_)) => true,
            // The kernel says so even when nobody waits.
            None => false,
        };
        self.spare = self.file.directory.again().ok();
        if failed || self.spare.is_none() {
            self.backoff.wait(error).await;
        }
    }
}

/// A socket's directory, open, and its name in there.
fn place(path: &Path) -> Result<(Directory, &OsStr), BindError> {
    if path.as_os_str().len() > MAX_PATH {
        return Err(BindError::PathTooLong(path.to_owned()));
    }
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(BindError::NoFileName(path.to_owned()));
    };
    // With a slash after it, clients would look for a directory.
    if path.as_os_str().as_bytes().ends_with(b"/") {
        return Err(BindError::NoFileName(path.to_owned()));
    }
    let directory = Directory::open(if above.as_os_str().is_empty() { Path::new(".") } else { above })?;
    Ok((directory, name))
}

/// Whether a server listens there. What is no socket is an error.
fn is_listened_on(directory: &Directory, name: &OsStr, path: &Path) -> Result<bool, BindError> {
    listens(directory, name).map_err(|found| match found {
        Listening::NoSocket => BindError::NotASocket(path.to_owned()),
        Listening::Failed(errno) => {
            BindError::Io { what: "looking at", path: path.to_owned(), source: errno.into() }
        }
    })
}

/// Listens on a new socket of this name, in place of what a dead server left, for who has the lock. With a spare
/// descriptor.
fn listen(
    directory: Directory,
    path: &Path,
    name: &OsStr,
    lock: &Lock,
) -> Result<(SocketFile, UnixListener, OwnedFd), BindError> {
    let failed = |what| move |source| BindError::Io { what, path: path.to_owned(), source };
    // It is made under a name that no other server uses, and takes its own once it listens: so a client that finds it
    // can connect, what a dead server left is replaced, and the name's length does not matter.
    let name_before = OsString::from(format!(".{:x}", lock.number()));
    // An error says that no server died just here.
    let _ = directory.remove(&name_before);
    let socket = UnixSocket::new_stream().map_err(failed("making the socket"))?;
    // Linux gives the file the mode of the socket.
    fchmod(&socket, Mode::RUSR | Mode::WUSR).map_err(|errno| failed("closing to others")(errno.into()))?;
    socket.bind(directory.path_of(&name_before)).map_err(failed("binding"))?;
    let mut file = SocketFile::of(directory, name_before).map_err(|errno| failed("finding")(errno.into()))?;
    let listener = socket.listen(BACKLOG).map_err(failed("listening on"))?;
    file.rename(name).map_err(|errno| failed("naming")(errno.into()))?;
    let spare = file.directory.again().map_err(failed("listening on"))?;
    Ok((file, listener, spare))
}

/// Whether the other end is a process of our own user. Another is told nothing.
fn is_ours(stream: &UnixStream) -> bool {
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == geteuid().as_raw() => return true,
        Ok(peer) => warn!(uid = peer.uid(), "a connection of another user was refused"),
        Err(error) => debug!(%error, "a connection ended before it began"),
    }
    false
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE].into_iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Takes the lock beside a socket, if no other process has it.
fn lock(directory: &Directory, path: &Path, name: &OsStr) -> Result<Result<Lock, LockHeld>, BindError> {
    let name = with_suffix(name, ".lock");
    Lock::take(directory, &name).map_err(|source| BindError::Io {
        what: "locking",
        path: path.with_file_name(&name),
        source,
    })
}

fn with_suffix(name: &OsStr, suffix: &str) -> OsString {
    let mut name = name.to_owned();
    name.push(suffix);
    name
}

/// The socket's file, removed on drop if this process made it and it is still the one of its name.
#[derive(Debug)]
struct SocketFile {
    directory: Directory,
    name: OsString,
    /// Device and inode. No other file gets them while the socket is open, even if this one is removed.
    id: (u64, u64),
    /// This process made it, so it removes it.
    is_ours: bool,
}

impl SocketFile {
    fn of(directory: Directory, name: OsString) -> Result<Self, Errno> {
        let id = directory.id(&name)?;
        Ok(Self { directory, name, id, is_ours: true })
    }

    fn rename(&mut self, name: &OsStr) -> Result<(), Errno> {
        self.directory.rename(&self.name, name)?;
        self.name = name.to_owned();
        Ok(())
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another file of this name is another's business; one that is gone, nobody's.
        if self.is_ours
            && self.directory.id(&self.name) == Ok(self.id)
            && let Err(error) = self.directory.remove(&self.name)
        {
            warn!(%error, socket = ?self.name, "the socket could not be removed");
        }
    }
}

/// What has a socket's name.
enum Listening {
    NoSocket,
    Failed(Errno),
}

/// Whether somebody listens on a socket. Only a refusal says that nobody does; a server whose backlog is full, for one,
/// answers otherwise.
fn listens(directory: &Directory, name: &OsStr) -> Result<bool, Listening> {
    let found = match directory.find(name) {
        Ok(found) => found,
        Err(Errno::NOENT) => return Ok(false),
        Err(errno) => return Err(Listening::Failed(errno)),
    };
    if kind(&fstat(&found).map_err(Listening::Failed)?) != FileType::Socket {
        return Err(Listening::NoSocket);
    }
    Ok(!matches!(probe(&through(&found)), Err(Errno::CONNREFUSED)))
}

/// Connects to the socket, without waiting: a server that is stopped with a full backlog would never let us in.
fn probe(path: &Path) -> Result<(), Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)
}

/// Waits between failing accepts, longer each time: 5 ms, doubling to 1 s. Says so once.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
    said: bool,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(5);
    const LONGEST: Duration = Duration::from_secs(1);

    /// # Cancel safety
    /// Cancel safe: a wait that was cut short counts.
    async fn wait(&mut self, error: &io::Error) {
        self.say(error);
        self.failures += 1;
        tokio::time::sleep(self.pause()).await;
    }

    fn say(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.said, true) {
            warn!(%error, "accepting connections fails; trying again");
        }
    }

    fn pause(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(10);
        (Self::FIRST * 2_u32.pow(doublings)).min(Self::LONGEST)
    }

    fn reset(&mut self) {
        if self.said {
            debug!(failures = self.failures, "accepting connections works again");
        }
        *self = Self::default();
    }
}
