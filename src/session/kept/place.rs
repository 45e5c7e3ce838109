//! Where a keeper listens: beside the socket of its server.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, Mode, OFlags, fstat, openat, renameat, unlinkat},
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with},
};

/// The longest file of links that is read, in bytes: as many links as a server keeps take half of it.
const MAX_LINKS_FILE: u64 = 4 * 1024 * 1024;

/// Where a keeper listens, and what is kept is written: in a directory that is held open.
#[derive(Debug)]
pub(crate) struct KeeperPlace {
    directory: OwnedFd,
    name: OsString,
    /// The file of the links.
    links: OsString,
    /// For people who look at processes.
    pub(super) path: PathBuf,
}

impl KeeperPlace {
    /// Beside a socket, in its directory.
    pub(crate) fn new(directory: OwnedFd, socket: &Path) -> Self {
        let path = keeper_socket(socket);
        let mut links = socket.file_name().unwrap_or_default().to_owned();
        links.push(".links");
        Self { directory, name: path.file_name().unwrap_or_default().to_owned(), links, path }
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

    /// Writes what the next server has to know of links, in place of what was there before; `None` for nothing.
    ///
    /// # Errors
    /// There is no room for it. Then nothing is kept: what was kept before may have been revoked.
    pub(super) fn keep_links(&self, links: Option<&[u8]>) -> io::Result<()> {
        let Some(links) = links else { return self.remove_links() };
        self.replace_links(links).map_err(|error| self.remove_links().err().unwrap_or(error))
    }

    fn replace_links(&self, links: &[u8]) -> io::Result<()> {
        let mut new = self.links.clone();
        new.push(".new");
        // Left by a server that was killed just here, or whatever it is.
        let _ = unlinkat(&self.directory, &new, AtFlags::empty());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.directory, &new, flags, Mode::RUSR | Mode::WUSR)?);
        let written = file.write_all(links);
        let written =
            written.and_then(|()| Ok(renameat(&self.directory, &new, &self.directory, &self.links)?));
        if written.is_err() {
            let _ = unlinkat(&self.directory, &new, AtFlags::empty());
        }
        written
    }

    pub(super) fn remove_links(&self) -> io::Result<()> {
        match unlinkat(&self.directory, &self.links, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What the server before has written of links, if anything.
    pub(super) fn kept_links(&self) -> io::Result<Option<Vec<u8>>> {
        // Without NONBLOCK a pipe in its place would be waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.directory, &self.links, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let length = fstat(&file)?.st_size;
        let mut bytes = Vec::new();
        File::from(file).take(MAX_LINKS_FILE).read_to_end(&mut bytes)?;
        if u64::try_from(length).is_ok_and(|length| length == bytes.len() as u64) {
            Ok(Some(bytes))
        } else {
            Err(io::ErrorKind::InvalidData.into())
        }
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
