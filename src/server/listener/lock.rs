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
    file: OwnedFd,
    inode: u64,
}

/// Another process has the lock: this one, if it said so.
#[derive(Debug)]
pub(super) struct Held(pub(super) Option<u32>);

impl Lock {
    /// Takes the lock, if no other process has it.
    pub(super) fn take(directory: &Directory, name: &OsStr) -> io::Result<Result<Self, Held>> {
        loop {
            let file = directory.open_file(name, OFlags::empty())?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(Err(Held(holder(&file)))),
                Err(errno) => return Err(errno.into()),
            }
            let ours = id(&fstat(&file)?);
            let lock = Self { file, inode: ours.1 };
            // A lock on a file that was removed or replaced meanwhile excludes nobody.
            if directory.id(name) == Ok(ours) {
                lock.say_who();
                return Ok(Ok(lock));
            }
        }
    }

    /// A number that no other lock in the directory has at the same time.
    pub(super) fn number(&self) -> u64 {
        self.inode
    }

    /// Names this process in the file. It only explains, so a full disk is no reason to fail.
    fn say_who(&self) {
        let said = ftruncate(&self.file, 0)
            .and_then(|()| pwrite(&self.file, format!("{}\n", process::id()).as_bytes(), 0));
        if let Err(error) = said {
            debug!(%error, "the lock does not say whose it is");
        }
    }

    #[cfg(test)]
    pub(super) fn copy(&self) -> OwnedFd {
        self.file.try_clone().unwrap()
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
        if let Err(error) = flock(&self.file, FlockOperation::Unlock) {
            debug!(%error, "the lock was left to go with its file");
        }
    }
}
