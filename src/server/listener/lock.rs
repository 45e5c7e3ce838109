//! The lock that makes a process the server of a socket.

use std::{ffi::OsStr, io, os::fd::OwnedFd, process};

use rustix::{
    fs::{FlockOperation, OFlags, flock, fstat, ftruncate},
    io::{Errno, pread, pwrite},
};
use tracing::debug;

use super::directory::{Directory, id};

/// A locked file beside the socket. It says which process has it, for those that find it locked.
#[derive(Debug)]
pub(super) struct Lock {
    /// `None` once another process has it.
    file: Option<OwnedFd>,
    /// Its device and inode.
    id: (u64, u64),
}

/// Another process has the lock: this one, if it said so.
#[derive(Debug)]
pub(super) struct LockHeld(pub(super) Option<u32>);

impl Lock {
    /// Takes the lock, if no other process has it.
    pub(super) fn take(directory: &Directory, name: &OsStr) -> io::Result<Result<Self, LockHeld>> {
        loop {
            let file = directory.open_file(name, OFlags::empty())?;
            if let Some(taken) = Self::take_open(file, directory, name)? {
                return Ok(taken);
            }
        }
    }

    /// Locks an open file, unless another process has. `None` if it is no longer the one of this name: a lock on a file
    /// that was removed or replaced meanwhile excludes nobody.
    fn take_open(
        file: OwnedFd,
        directory: &Directory,
        name: &OsStr,
    ) -> io::Result<Option<Result<Self, LockHeld>>> {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(Some(Err(LockHeld(holder(&file))))),
            Err(errno) => return Err(errno.into()),
        }
        let ours = id(&fstat(&file)?);
        let lock = Self { file: Some(file), id: ours };
        if directory.id(name) != Ok(ours) {
            return Ok(None);
        }
        lock.say_who();
        Ok(Some(Ok(lock)))
    }

    /// The lock that another process had, and has handed over.
    #[cfg(feature = "cli")]
    pub(super) fn of(file: OwnedFd) -> io::Result<Self> {
        let lock = Self { id: id(&fstat(&file)?), file: Some(file) };
        lock.say_who();
        Ok(lock)
    }

    /// As what another process is to have. Nobody can take it in between.
    pub(super) fn into_file(mut self) -> Option<OwnedFd> {
        self.file.take()
    }

    /// A number that no other lock in the directory has at the same time.
    pub(super) fn number(&self) -> u64 {
        self.id.1
    }

    /// Whether it is still the one of this name.
    pub(super) fn is_of(&self, directory: &Directory, name: &OsStr) -> bool {
        directory.id(name) == Ok(self.id)
    }

    /// Names this process in the file. It only explains, so a full disk is no reason to fail.
    fn say_who(&self) {
        let Some(file) = &self.file else { return };
        let said =
            ftruncate(file, 0).and_then(|()| pwrite(file, format!("{}\n", process::id()).as_bytes(), 0));
        if let Err(error) = said {
            debug!(%error, "the lock does not say whose it is");
        }
    }

    #[cfg(test)]
    pub(super) fn copy(&self) -> OwnedFd {
        self.file.as_ref().unwrap().try_clone().unwrap()
    }
}

/// The process that a lock file names.
fn holder(file: &OwnedFd) -> Option<u32> {
    let mut text = [0; 16];
    let read = pread(file, &mut text, 0).ok()?;
    str::from_utf8(&text[..read]).ok()?.trim().parse().ok()
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a child forked by another thread has a copy until it becomes its program, and the
        // lock lasts as long as any copy.
        if let Some(file) = &self.file
            && let Err(error) = flock(file, FlockOperation::Unlock)
        {
            debug!(%error, "the lock was left to go with its file");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_on_a_file_that_was_removed_meanwhile_makes_nobody_the_server() {
        let parent = tempfile::tempdir().unwrap();
        let directory = Directory::open(&parent.path().join("own")).unwrap();
        let name = OsStr::new("server.sock.lock");
        let late = directory.open_file(name, OFlags::empty()).unwrap();
        directory.remove(name).unwrap();
        assert!(Lock::take_open(late, &directory, name).unwrap().is_none(), "nothing has the name");

        let late = directory.open_file(name, OFlags::empty()).unwrap();
        directory.remove(name).unwrap();
        let server = Lock::take(&directory, name).unwrap().unwrap();
        assert!(Lock::take_open(late, &directory, name).unwrap().is_none(), "another has the name");
        assert!(Lock::take(&directory, name).unwrap().is_err());
        drop(server);
    }
}
