//! Where a session is used from now: the environment of the client that was used last, and a link to its agent.
//!
//! A program keeps the environment that it was started with, while the people who use it come and go. So its
//! `SSH_AUTH_SOCK` is a path of ours that stays: a symbolic link in the server's own directory, which points at the
//! socket of the client that attached or typed last, of those that have one. It is replaced in one step. With nobody
//! attached it stays as it is. Read-only clients, and those that are no terminal, change nothing.

use std::{
    ffi::OsString,
    os::{
        fd::OwnedFd,
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{AtFlags, Dir, Mode, OFlags, openat, readlinkat, renameat, symlinkat, unlinkat},
    io::Errno,
};
use tracing::warn;

use super::size::Claim;
use crate::{
    SessionId,
    message::ClientEnvironment,
    sync::{Mutex, Rank},
};

/// The variable whose value is kept right.
const AGENT: &str = "SSH_AUTH_SOCK";

/// The longest path that a socket's address holds, less its closing zero.
const MAX_PATH: usize = 107;

/// Links to links of ours that are followed: more than sessions are nested.
const MAX_LINKS: usize = 40;

/// The directory that a server's links are in, which is held open: the one of its socket.
#[derive(Clone, Debug)]
pub(crate) struct LinkDirectory {
    directory: Arc<OwnedFd>,
    path: PathBuf,
    /// What the names of this server's links begin with, and no other server's.
    prefix: OsString,
}

impl LinkDirectory {
    /// The directory of a socket that is ours alone. `None` where paths in it are too long for sockets.
    pub(crate) fn new(directory: OwnedFd, socket: &Path) -> Option<Self> {
        let socket = std::path::absolute(socket).ok()?;
        let mut prefix = socket.file_name()?.to_owned();
        prefix.push(".agent-");
        let path = socket.parent()?.to_owned();
        let links = Self { directory: Arc::new(directory), path, prefix };
        let longest = links.path.join(links.name(SessionId::from(u64::MAX)));
        if longest.as_os_str().len() > MAX_PATH {
            return None;
        }
        Some(links)
    }

    /// A session's link: the beginning of its random id tells it from others.
    fn name(&self, session: SessionId) -> OsString {
        let mut name = self.prefix.clone();
        name.push(&session.to_string().replace('-', "")[..12]);
        name
    }

    /// Removes what a dead server left, but for what is of these sessions.
    pub(super) fn remove_leftovers(&self, kept: &[SessionId]) {
        let kept: Vec<_> = kept.iter().map(|session| self.name(*session)).collect();
        // The descriptor that is held is not for reading.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = openat(&self.directory, ".", flags, Mode::empty());
        let Ok(entries) = opened.and_then(Dir::new) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name().to_bytes();
            let is_kept = kept.iter().any(|kept| kept.as_bytes() == name);
            if name.starts_with(self.prefix.as_bytes()) && !is_kept {
                // An error says that it stays where it hurts nobody.
                let _ = unlinkat(&self.directory, entry.file_name(), AtFlags::empty());
            }
        }
    }

    /// Where a link of this server's points, if that is what a path names.
    fn resolve(&self, path: &Path) -> Option<PathBuf> {
        let name = path.file_name().filter(|name| name.as_bytes().starts_with(self.prefix.as_bytes()))?;
        if path.parent() != Some(&self.path) {
            return None;
        }
        let target = readlinkat(&self.directory, name, Vec::new()).ok()?;
        Some(OsString::from_vec(target.into_bytes()).into())
    }
}

/// A session's link, once it is there.
#[derive(Debug)]
struct Link {
    links: LinkDirectory,
    name: OsString,
    target: Option<PathBuf>,
}

impl Link {
    fn path(&self) -> PathBuf {
        self.links.path.join(&self.name)
    }

    /// Points it at a socket, in one step. Nothing happens where the socket is itself, by whatever way of ours.
    fn point_at(&mut self, socket: &str) -> Result<(), Errno> {
        let target = Path::new(socket);
        let way = std::iter::successors(Some(target.to_owned()), |path| self.links.resolve(path));
        let own = self.path();
        if !target.is_absolute() || way.take(MAX_LINKS).any(|path| path == own) {
            return Ok(());
        }
        if self.target.as_deref() == Some(target) {
            return Ok(());
        }
        let mut new = self.name.clone();
        new.push(".new");
        let directory = &self.links.directory;
        // Left by a server that was killed just here.
        let _ = unlinkat(directory, &new, AtFlags::empty());
        symlinkat(target, directory, &new)?;
        renameat(directory, &new, directory, &self.name)?;
        self.target = Some(target.to_owned());
        Ok(())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if self.target.is_some() {
            // It may have been cleaned away.
            let _ = unlinkat(&self.links.directory, &self.name, AtFlags::empty());
        }
    }
}

/// Where a session is used from.
#[derive(Debug)]
pub(super) struct Surroundings {
    /// A leaf lock. The link is replaced under it, so that the latest decision is the last; that waits for nobody.
    state: Mutex<ClientList>,
}

#[derive(Debug, Default)]
struct ClientList {
    /// Those of the clients that count; the latest to type or attach comes last.
    clients: Vec<(Claim, ClientEnvironment)>,
    /// That of the client that counted last, or of the creator.
    last: ClientEnvironment,
    link: Option<Link>,
}

impl Surroundings {
    /// Nobody's, without a link.
    pub(super) fn none() -> Self {
        Self { state: Mutex::new(Rank::Leaf, ClientList::default()) }
    }

    /// Those of a session that is to be created with this environment. Where it has an agent, it gets the link instead.
    pub(super) fn of(
        session: SessionId,
        environment: &mut [(Vec<u8>, Vec<u8>)],
        links: Option<&LinkDirectory>,
    ) -> Self {
        let last = ClientEnvironment::of(environment.iter().map(|(name, value)| (&name[..], &value[..])));
        let link = links.map(|links| Link { links: links.clone(), name: links.name(session), target: None });
        let mut state = ClientList { clients: Vec::new(), last, link };
        if let Some(agent) = state.last.get(AGENT).map(str::to_owned) {
            state.point_at(&agent);
        }
        if let Some(path) = state.link_path() {
            for (_, value) in environment.iter_mut().filter(|(name, _)| name == AGENT.as_bytes()) {
                *value = path.as_os_str().as_bytes().to_vec();
            }
        }
        Self { state: Mutex::new(Rank::Leaf, state) }
    }

    /// Those of a session that an earlier server had: with the link that it left, if it left one.
    pub(super) fn found(session: SessionId, links: Option<&LinkDirectory>) -> Self {
        let link = links.map(|links| {
            let name = links.name(session);
            let target = links.resolve(&links.path.join(&name));
            Link { links: links.clone(), name, target }
        });
        let state = ClientList { clients: Vec::new(), last: ClientEnvironment::default(), link };
        Self { state: Mutex::new(Rank::Leaf, state) }
    }

    /// A client that counts is used from here.
    pub(super) fn join(&self, claim: Claim, environment: ClientEnvironment) {
        self.state.with(|state| {
            state.clients.push((claim, environment));
            state.update();
        });
    }

    /// A client was used.
    pub(super) fn used(&self, claim: Claim) {
        self.state.with(|state| {
            let at = state.clients.iter().position(|(other, _)| *other == claim);
            if let Some(at) = at.filter(|at| at + 1 < state.clients.len()) {
                let client = state.clients.remove(at);
                state.clients.push(client);
                state.update();
            }
        });
    }

    /// A client is gone.
    pub(super) fn leave(&self, claim: Claim) {
        self.state.with(|state| {
            let Some(at) = state.clients.iter().position(|(other, _)| *other == claim) else { return };
            let (_, environment) = state.clients.remove(at);
            if state.clients.is_empty() {
                state.last = environment;
            }
            state.update();
        });
    }

    /// The environment of the client that was used last. Its agent is the link, which stays right.
    pub(super) fn environment(&self) -> ClientEnvironment {
        self.state.with(|state| {
            let newest = state.clients.last().map_or(&state.last, |(_, environment)| environment).clone();
            match state.link_path() {
                Some(path) => newest.with(AGENT, &path.to_string_lossy()),
                None => newest,
            }
        })
    }

    /// The session ended: its link is removed.
    pub(super) fn end(&self) {
        let link = self.state.with(|state| state.link.take());
        drop(link);
    }
}

impl ClientList {
    fn link_path(&self) -> Option<PathBuf> {
        self.link.as_ref().filter(|link| link.target.is_some()).map(Link::path)
    }

    /// Points the link at the newest client's agent. Where none has one, it stays as it is.
    fn update(&mut self) {
        let mut agents = self.clients.iter().rev().filter_map(|(_, environment)| environment.get(AGENT));
        if let Some(agent) = agents.next().map(str::to_owned) {
            self.point_at(&agent);
        }
    }

    fn point_at(&mut self, agent: &str) {
        let Some(link) = &mut self.link else { return };
        if let Err(errno) = link.point_at(agent) {
            warn!(link = ?link.path(), %errno, "the link to the agent could not be replaced");
        }
    }
}
