//! The socket: taken by one server at a time, closed to other users, and gone when its server is.
//!
//! A lock file beside the socket, held for life, decides who is the server. Only its holder touches an existing socket,
//! and removes it only if it is one that nobody listens on. On the way out it removes the socket it made, if that is
//! still the one at its path. The lock file stays: removing it would let two servers hold two files of one name.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    io::{self, ErrorKind},
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{CWD, FlockOperation, Mode, OFlags, flock, fstat, openat},
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with},
    process::geteuid,
};
use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tracing::{debug, warn};

#[cfg(test)]
mod tests;

/// The longest path a Unix socket's address holds, less its closing zero.
const MAX_PATH: usize = 107;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Where a server listens when nobody says: `fugue/server.sock` in `$XDG_RUNTIME_DIR` if that is an
/// absolute path, else `/tmp/fugue-UID/server.sock`.
#[must_use]
pub fn default_socket_path() -> PathBuf {
    socket_path_in(env::var_os("XDG_RUNTIME_DIR"))
}

fn socket_path_in(runtime_directory: Option<OsString>) -> PathBuf {
    // A relative one would lead a server and its clients to different places; the XDG specification ignores it too.
    match runtime_directory.map(PathBuf::from).filter(|directory| directory.is_absolute()) {
        Some(directory) => directory.join("fugue/server.sock"),
        None => PathBuf::from(format!("/tmp/fugue-{}/server.sock", geteuid().as_raw())),
    }
}

/// A socket was not bound. Nothing that stood in the way was touched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The path does not fit a socket's address.
    #[error("the socket path {} is {} bytes long, and 107 are allowed; choose a shorter one", .0.display(), .0.as_os_str().len())]
    PathTooLong(PathBuf),
    /// The path names no file in a directory.
    #[error("{} can't be a socket; give a path to a file in a directory of its own", .0.display())]
    NoFileName(PathBuf),
    /// Another server has it.
    #[error("a server is already running on {}; use it, or choose another socket", .0.display())]
    AlreadyRunning(PathBuf),
    /// The directory is a symbolic link or no directory.
    #[error("{} is not a directory; choose another place for the socket", .0.display())]
    NotADirectory(PathBuf),
    /// The directory is another user's.
    #[error("the directory {} belongs to user {owner}; choose one of your own for the socket", directory.display())]
    DirectoryNotOurs {
        /// The socket's directory.
        directory: PathBuf,
        /// The user id it belongs to.
        owner: u32,
    },
    /// Others can get into the directory.
    #[error(
        "the directory {} is open to others (mode {mode:03o}); `chmod 700` it, or choose another one for the socket",
        directory.display()
    )]
    DirectoryOpen {
        /// The socket's directory.
        directory: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Something that is no socket has the path.
    #[error("{} exists and is no socket; move it away, or choose another path", .0.display())]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("{what} {} failed", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// A socket that is ours alone, until this drops. Fields drop in order: the file goes, then the listener, then the lock.
#[derive(Debug)]
pub(super) struct BoundSocket {
    file: SocketFile,
    listener: UnixListener,
    backoff: Backoff,
    _lock: Lock,
}

impl BoundSocket {
    /// Binds `path`, after making sure that its directory is ours and no server lives there.
    pub(super) fn bind(path: &Path) -> Result<Self, BindError> {
        if path.as_os_str().len() > MAX_PATH {
            return Err(BindError::PathTooLong(path.to_owned()));
        }
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(BindError::NoFileName(path.to_owned()));
        };
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        make_directory(directory)?;
        check_directory(directory)?;
        let lock = Lock::take(path, name)?;
        remove_stale(path)?;

        let failed = |what| move |source| BindError::Io { what, path: path.to_owned(), source };
        let socket = UnixSocket::new_stream().map_err(failed("making the socket"))?;
        socket.bind(path).map_err(failed("binding"))?;
        let file = SocketFile::at(path).map_err(failed("finding"))?;
        // The directory keeps others out from the start, so the moment before the mode is set harms nothing.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed("closing to others"))?;
        let listener = socket.listen(BACKLOG).map_err(failed("listening on"))?;
        Ok(Self { file, listener, backoff: Backoff::default(), _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.file.path
    }

    /// The next connection from a process of our own user. Errors, such as running out of descriptors, are waited out.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn accept(&mut self) -> UnixStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    self.backoff.reset();
                    match stream.peer_cred() {
                        Ok(peer) if peer.uid() == geteuid().as_raw() => return stream,
                        Ok(peer) => warn!(uid = peer.uid(), "a connection of another user was refused"),
                        Err(error) => debug!(%error, "a connection ended before it began"),
                    }
                }
                Err(error) => self.backoff.wait(&error).await,
            }
        }
    }
}

/// The socket's file, removed on drop if it is still the one at its path.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Device and inode. No other file gets them while the socket is open, even if this one is removed.
    id: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        let file = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), id: (file.dev(), file.ino()) })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another file of this name is another's business; one that is gone, nobody's.
        let there = fs::symlink_metadata(&self.path).map(|file| (file.dev(), file.ino()));
        if there.is_ok_and(|there| there == self.id)
            && let Err(error) = fs::remove_file(&self.path)
        {
            warn!(%error, socket = ?self.path, "the socket could not be removed");
        }
    }
}

/// Makes the directory, closed to others from the start, and what it is in.
fn make_directory(directory: &Path) -> Result<(), BindError> {
    match fs::DirBuilder::new().recursive(true).mode(0o700).create(directory) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Err(BindError::NotADirectory(directory.to_owned()))
        }
        Err(source) => {
            Err(BindError::Io { what: "making the directory", path: directory.to_owned(), source })
        }
    }
}

fn check_directory(directory: &Path) -> Result<(), BindError> {
    // The link itself, not what it leads to: whoever owns the link chooses that.
    let found = fs::symlink_metadata(directory).map_err(|source| BindError::Io {
        what: "looking at the directory",
        path: directory.to_owned(),
        source,
    })?;
    let directory = directory.to_owned();
    if !found.is_dir() {
        return Err(BindError::NotADirectory(directory));
    }
    if found.uid() != geteuid().as_raw() {
        return Err(BindError::DirectoryNotOurs { directory, owner: found.uid() });
    }
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(BindError::DirectoryOpen { directory, mode });
    }
    Ok(())
}

/// The lock that makes this process the server.
#[derive(Debug)]
struct Lock(OwnedFd);

impl Lock {
    /// Takes it, or says that another server has it. The file is `name` with `.lock` after it, beside the socket:
    /// `socket` itself may end in a slash, and then anything put after it would land somewhere else.
    fn take(socket: &Path, name: &OsStr) -> Result<Self, BindError> {
        let mut name = name.to_owned();
        name.push(".lock");
        let path = socket.with_file_name(name);
        let failed = |what, errno: Errno| BindError::Io { what, path: path.clone(), source: errno.into() };
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        loop {
            let lock = openat(CWD, &path, flags, Mode::RUSR | Mode::WUSR)
                .map_err(|errno| failed("opening the lock file", errno))?;
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Err(BindError::AlreadyRunning(socket.to_owned())),
                Err(errno) => return Err(failed("locking", errno)),
            }
            let lock = Self(lock);
            // A lock on a file that was removed or replaced meanwhile excludes nobody.
            let ours = fstat(&lock.0).map_err(|errno| failed("looking at the lock file", errno))?;
            let there = fs::symlink_metadata(&path);
            if there.is_ok_and(|there| (there.dev(), there.ino()) == (ours.st_dev, ours.st_ino)) {
                return Ok(lock);
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a child forked by another thread has a copy until it becomes its program, and the
        // lock lasts as long as any copy.
        if let Err(error) = flock(&self.0, FlockOperation::Unlock) {
            debug!(%error, "the lock was left to go with its file");
        }
    }
}

/// Removes what a dead server left. The caller holds the lock.
fn remove_stale(path: &Path) -> Result<(), BindError> {
    let failed = |what, source| BindError::Io { what, path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("looking at", error)),
        Ok(file) if !file.file_type().is_socket() => return Err(BindError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    // A live server may have lost its lock file to somebody's cleaning. Only a refusal says that nobody listens; a
    // server whose backlog is full, for one, answers otherwise.
    match probe(path) {
        Err(Errno::CONNREFUSED) => {}
        Err(Errno::NOENT) => return Ok(()),
        _ => return Err(BindError::AlreadyRunning(path.to_owned())),
    }
    debug!(socket = ?path, "a dead server's socket is replaced");
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("removing the stale socket", error)),
        _ => Ok(()),
    }
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
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(5);
    const LONGEST: Duration = Duration::from_secs(1);

    /// # Cancel safety
    /// Cancel safe: a wait that was cut short counts.
    async fn wait(&mut self, error: &io::Error) {
        if self.failures == 0 {
            warn!(%error, "accepting connections fails; trying again");
        }
        self.failures += 1;
        tokio::time::sleep(self.pause()).await;
    }

    fn pause(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(10);
        (Self::FIRST * 2_u32.pow(doublings)).min(Self::LONGEST)
    }

    fn reset(&mut self) {
        if self.failures > 0 {
            debug!(failures = self.failures, "accepting connections works again");
        }
        self.failures = 0;
    }
}
