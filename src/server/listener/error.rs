//! Why a socket could not be had.

use std::{io, path::PathBuf};

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
    /// Another server has it and does not listen: it is about to, or it has been told to end.
    #[error(
        "another server{} is starting or ending on {}; try again in a moment{}",
        process.map_or_else(String::new, |process| format!(" (process {process})")),
        socket.display(),
        process.map_or_else(String::new, |process| format!(", or end it with `kill -9 {process}`"))
    )]
    NotListening {
        /// The socket's path.
        socket: PathBuf,
        /// The other server's process, where that is known.
        process: Option<u32>,
    },
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
    /// A directory or link on the way to the socket's directory is neither this user's nor root's.
    #[error(
        "{}, which leads to the socket, belongs to user {owner}, who could lead it elsewhere; choose a place for the \
         socket where you or root own every directory above it",
        path.display()
    )]
    AboveNotOurs {
        /// The directory or link.
        path: PathBuf,
        /// The user id it belongs to.
        owner: u32,
    },
    /// Others can replace the socket's directory.
    #[error(
        "others may write to {} (mode {mode:03o}), which leads to the socket, and could replace its directory; \
         `chmod go-w` it, or choose another place for the socket",
        directory.display()
    )]
    AboveOpen {
        /// The directory above the socket's.
        directory: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Something that is no socket has the path.
    #[error("{} exists and is no socket; move it away, or choose another path", .0.display())]
    NotASocket(PathBuf),
    /// The socket that was handed over is another one, or none that clients can connect to.
    #[error("{}", match listener {
        Some(listener) => format!(
            "the socket that was handed over is {}, and the server's is {}; give both the same path",
            listener.display(),
            socket.display()
        ),
        None => format!(
            "the socket that was handed over does not listen at a path; hand over a Unix stream socket that listens on {}",
            socket.display()
        ),
    })]
    WrongListener {
        /// The server's path.
        socket: PathBuf,
        /// The path of the one that was handed over, if it listens at one.
        listener: Option<PathBuf>,
    },
    /// Another server had the path before the socket that was handed over took it.
    #[error(
        "another server{} had {} before the service manager took it, and can't be reached any more; end it{}, and try \
         again",
        process.map_or_else(String::new, |process| format!(" (process {process})")),
        socket.display(),
        process.map_or_else(String::new, |process| format!(" with `kill {process}`"))
    )]
    Replaced {
        /// The socket's path.
        socket: PathBuf,
        /// The other server's process, where that is known.
        process: Option<u32>,
    },
    /// The socket that was handed over is another user's.
    #[error("the socket {} belongs to user {owner}; have it made by this user's own service manager", socket.display())]
    SocketNotOurs {
        /// The socket's path.
        socket: PathBuf,
        /// The user id it belongs to.
        owner: u32,
    },
    /// Others may connect to the socket that was handed over.
    #[error(
        "the socket {} is open to others (mode {mode:03o}); have it made with mode 600 (SocketMode=0600 in its unit)",
        socket.display()
    )]
    SocketOpen {
        /// The socket's path.
        socket: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
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
