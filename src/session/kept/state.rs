//! What the next server is told of a session, in a memory file that the keeper does not look into.

use std::{ffi::CStr, io, os::fd::OwnedFd};

use rustix::{
    fs::{MemfdFlags, memfd_create},
    io::{pread, pwrite},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    SessionName, TerminalSize,
    message::{Pace, Provide, SessionInfo, SizePolicy},
    session::size::SizeLog,
};

/// The longest state of a session that is read, in bytes: the longest history, and some more.
const MAX_STATE: usize = (1024 + 64) * 1024 * 1024;

/// What the next server has to know of a session. Only ever added to, as another version: an older server's is read by
/// a newer one.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::session) enum KeptState {
    First {
        name: SessionName,
        command: String,
        title: Option<String>,
        size_policy: SizePolicy,
        pace: Pace,
        /// In seconds since the machine was started.
        started: u64,
        /// Of a server that hands over.
        log: Option<KeptLog>,
    },
}

/// All that a session's clients can ask for.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::session) struct KeptLog {
    /// The offset of the first byte.
    pub(in crate::session) start: u64,
    pub(in crate::session) bytes: Vec<u8>,
    /// What makes a terminal show what it shows at the head, with the lines above.
    pub(in crate::session) picture: Vec<u8>,
    pub(in crate::session) sizes: SizeLog,
    pub(in crate::session) seen: u64,
    /// Readers that want every byte, and are to come back.
    pub(in crate::session) awaited: usize,
    /// What was taken to be typed, and was not.
    pub(in crate::session) untyped: Vec<u8>,
}

impl KeptLog {
    /// Of a session of this size that has printed nothing yet but what lies before `start`, which is not held.
    pub(in crate::session) fn begin_at(start: u64, size: TerminalSize) -> Self {
        let sizes = SizeLog::new(size);
        Self {
            start,
            bytes: Vec::new(),
            picture: Vec::new(),
            sizes,
            seen: start,
            awaited: 0,
            untyped: Vec::new(),
        }
    }
}

/// What the next server has to know beside the sessions that run. Only ever added to, as another version.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::session) enum KeptServer {
    First {
        /// The one that ended first is the first.
        ended: Vec<KeptEnded>,
    },
    /// With the sessions that clients provide.
    Second { ended: Vec<KeptEnded>, provided: Vec<KeptProvided> },
}

impl KeptServer {
    /// What ended, and what clients provide.
    pub(in crate::session) fn into_parts(self) -> (Vec<KeptEnded>, Vec<KeptProvided>) {
        match self {
            Self::First { ended } => (ended, Vec::new()),
            Self::Second { ended, provided } => (ended, provided),
        }
    }
}

/// A session that a client provides, which is to come back.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::session) struct KeptProvided {
    /// As it was provided, with its name, size and policy now.
    pub(in crate::session) provide: Provide,
    /// In seconds since the machine was started.
    pub(in crate::session) started: u64,
    pub(in crate::session) log: KeptLog,
}

/// A session that ended.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::session) struct KeptEnded {
    /// As it was when it ended.
    pub(in crate::session) info: SessionInfo,
    /// When that was, in seconds since the machine was started.
    pub(in crate::session) at: u64,
    /// What it printed, where that is kept.
    pub(in crate::session) log: Option<KeptLog>,
}

/// What travels to the next server as a file.
pub(in crate::session) trait KeptFile: Serialize + DeserializeOwned {
    /// As a file, for the keeper to hold.
    fn file(&self) -> io::Result<OwnedFd> {
        memory_file(c"fugue-state", &postcard::to_stdvec(self).map_err(io::Error::other)?)
    }

    fn read(file: &OwnedFd) -> io::Result<Self> {
        let length = usize::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(usize::MAX);
        if length > MAX_STATE {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            match pread(file, &mut bytes[filled..], filled as u64)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => filled += read,
            }
        }
        postcard::from_bytes(&bytes).map_err(io::Error::other)
    }
}

impl KeptFile for KeptState {}
impl KeptFile for KeptServer {}

/// Whether there can be a file of this size. Nothing is kept of it.
///
/// # Errors
/// There is a limit to the size of this process's files.
#[cfg(feature = "cli")]
pub(super) fn try_size(bytes: u64) -> io::Result<()> {
    Ok(rustix::fs::ftruncate(memfd_create(c"fugue-state", MemfdFlags::CLOEXEC)?, bytes)?)
}

pub(super) fn memory_file(name: &CStr, bytes: &[u8]) -> io::Result<OwnedFd> {
    let file = memfd_create(name, MemfdFlags::CLOEXEC)?;
    let mut written = 0;
    while written < bytes.len() {
        written += pwrite(&file, &bytes[written..], written as u64)?;
    }
    Ok(file)
}
