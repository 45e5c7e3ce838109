//! The socket: taken by one server at a time, closed to other users, and gone when its server is.
//!
//! A lock file beside the socket, held for life, decides who is the server. Only its holder touches an existing socket,
//! and removes it only if it is one that nobody listens on. On the way out it removes the socket it made, if that is
//! still the one at its path. The lock file stays: removing it would let two servers hold two files of one name.

use std::{
    env, fs,
    io::{self, ErrorKind},
    os::{
        fd::OwnedFd,
        unix::{
            fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
            net::UnixStream as StdStream,
        },
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{CWD, FlockOperation, Mode, OFlags, flock, fstat, openat},
    io::Errno,
    process::{geteuid, getuid},
};
use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tracing::{debug, warn};

#[cfg(test)]
mod tests;

/// The longest path a Unix socket's address holds, less its closing zero.
const MAX_PATH: usize = 107;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Where a server listens when nobody says: `fugue/server.sock` in `$XDG_RUNTIME_DIR` if that is set, else
/// `/tmp/fugue-UID/server.sock`.
#[must_use]
pub fn default_socket_path() -> PathBuf {
    match env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty()) {
        Some(directory) => Path::new(&directory).join("fugue/server.sock"),
        None => PathBuf::from(format!("/tmp/fugue-{}/server.sock", getuid().as_raw())),
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

/// A socket that is ours alone, until this drops.
#[derive(Debug)]
pub(super) struct BoundSocket {
    path: PathBuf,
    listener: UnixListener,
    /// Device and inode of the socket's file.
    file: (u64, u64),
    backoff: Backoff,
    /// Released last: fields drop in order, after `drop` has removed the socket.
    _lock: OwnedFd,
}

impl BoundSocket {
    /// Binds `path`, after making sure that its directory is ours and no server lives there.
    pub(super) fn bind(path: &Path) -> Result<Self, BindError> {
        if path.as_os_str().len() > MAX_PATH {
            return Err(BindError::PathTooLong(path.to_owned()));
        }
        let (Some(directory), Some(_)) = (path.parent(), path.file_name()) else {
            return Err(BindError::NoFileName(path.to_owned()));
        };
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        make_directory(directory)?;
        check_directory(directory)?;
        let lock = lock(path)?;
        remove_stale(path)?;

        let failed = |what| move |source| BindError::Io { what, path: path.to_owned(), source };
        let socket = UnixSocket::new_stream().map_err(failed("making the socket"))?;
        // The directory keeps others out from the start, so the moment before the mode is set harms nothing.
        socket.bind(path).map_err(failed("binding"))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed("closing to others"))?;
        let listener = socket.listen(BACKLOG).map_err(failed("listening on"))?;
        let file =
            fs::symlink_metadata(path).map(|file| (file.dev(), file.ino())).map_err(failed("finding"))?;
        Ok(Self { path: path.to_owned(), listener, file, backoff: Backoff::default(), _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
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

impl Drop for BoundSocket {
    fn drop(&mut self) {
        let file = fs::symlink_metadata(&self.path).map(|file| (file.dev(), file.ino()));
        // Another file of this name is another's business; one that is gone, nobody's.
        if file.is_ok_and(|file| file == self.file)
            && let Err(error) = fs::remove_file(&self.path)
        {
            warn!(%error, socket = %self.path.display(), "the socket could not be removed");
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

/// Takes the lock that makes this process the server, or says that another has it.
fn lock(socket: &Path) -> Result<OwnedFd, BindError> {
    let mut path = socket.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
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
        // A lock on a file that was removed or replaced meanwhile excludes nobody.
        let ours = fstat(&lock).map_err(|errno| failed("looking at the lock file", errno))?;
        let there = fs::symlink_metadata(&path);
        if there.is_ok_and(|there| (there.dev(), there.ino()) == (ours.st_dev, ours.st_ino)) {
            return Ok(lock);
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
    match StdStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            debug!(socket = %path.display(), "a dead server's socket is replaced");
            fs::remove_file(path).map_err(|source| failed("removing the stale socket", source))
        }
        _ => Err(BindError::AlreadyRunning(path.to_owned())),
    }
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
