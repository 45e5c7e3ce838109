//! Where a keeper listens: beside the socket of its server.

use std::{
    ffi::OsString,
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, unlinkat},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with},
};

/// Where a keeper listens: in a directory that is held open.
#[derive(Debug)]
pub(crate) struct KeeperPlace {
    directory: OwnedFd,
    name: OsString,
    /// For people who look at processes.
    pub(super) path: PathBuf,
}

impl KeeperPlace {
    /// Beside a socket, in its directory.
    pub(crate) fn new(directory: OwnedFd, socket: &Path) -> Self {
        let path = keeper_socket(socket);
        Self { directory, name: path.file_name().unwrap_or_default().to_owned(), path }
    }

    fn socket(&self) -> io::Result<(OwnedFd, SocketAddrUnix)> {
        // Through the descriptor, where the name leads to what it led to before.
        let path = PathBuf::from(format!("/proc/self/fd/{}", self.directory.as_raw_fd())).join(&self.name);
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        Ok((
            socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?,
            SocketAddrUnix::new(&path)?,
        ))
    }

    pub(super) fn connect(&self) -> io::Result<OwnedFd> {
        let (socket, address) = self.socket()?;
        connect(&socket, &address)?;
        Ok(socket)
    }

    /// The same; `None` if nobody listens there.
    pub(super) fn connect_if_any(&self) -> io::Result<Option<OwnedFd>> {
        match self.connect() {
            Err(error)
                if [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused].contains(&error.kind()) =>
            {
                Ok(None)
            }
            connected => connected.map(Some),
        }
    }

    pub(super) fn listen(&self) -> io::Result<OwnedFd> {
        let (socket, address) = self.socket()?;
        self.remove();
        bind(&socket, &address)?;
        listen(&socket, 128)?;
        Ok(socket)
    }

    pub(super) fn remove(&self) {
        // An error says that there is none.
        let _ = unlinkat(&self.directory, &self.name, AtFlags::empty());
    }
}

/// Whether the server on this socket has left a keeper.
#[cfg(feature = "cli")]
pub(crate) fn is_kept(socket: &Path) -> bool {
    use rustix::fs::{Mode, OFlags, open};

    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = socket.parent().map(|parent| open(parent, directory, Mode::empty()));
    let Some(Ok(directory)) = opened else { return false };
    // A keeper whose server lives leaves this one waiting, and then finds that it has gone.
    // One that does not get to accept is there all the same.
    match KeeperPlace::new(directory, socket).connect() {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

/// Where the keeper of the server on this socket listens.
fn keeper_socket(socket: &Path) -> PathBuf {
    let mut path = socket.as_os_str().to_owned();
    path.push(".keeper");
    path.into()
}
