//! Registries made of somebody's concurrent map.
//!
//! `two-dashmaps` is the feature as it was first sketched: clients by id, ids by session, both with the hasher that
//! comes with the map. `two-dashmaps-ahash` differs in the hasher alone, and so has the one we use; all others have it
//! too. `dashmap-guard` has the same two maps.
//! The others keep each session's senders together and send to them under the map's guard, which is as fast as
//! such a map gets, and makes whoever attaches wait for whoever broadcasts.

use std::{
    collections::{HashMap, HashSet, hash_map},
    hash::BuildHasher,
    sync::{PoisonError, RwLock},
};

use ahash::RandomState;
use bytes::Bytes;
use dashmap::DashMap;
use tokio::sync::mpsc::Sender;

use super::{FanOut, fugue::SESSION};

struct Entry {
    sender: Sender<Bytes>,
    attached: Option<u64>,
}

/// The registry as it was first sketched.
pub(crate) struct TwoDashMaps<S: BuildHasher + Clone = hash_map::RandomState> {
    clients: DashMap<u64, Entry, S>,
    sessions: DashMap<u64, HashSet<u64, S>, S>,
}

impl<S: BuildHasher + Clone + Default> Default for TwoDashMaps<S> {
    fn default() -> Self {
        Self { clients: DashMap::default(), sessions: DashMap::default() }
    }
}

impl<S: BuildHasher + Clone + Default> TwoDashMaps<S> {
    pub(crate) fn with(senders: Vec<Sender<Bytes>>) -> Self {
        let registry = Self::default();
        for (id, sender) in (1..).zip(senders) {
            registry.register(id, sender);
            registry.attach(id, SESSION);
        }
        registry
    }

    pub(crate) fn register(&self, id: u64, sender: Sender<Bytes>) {
        self.clients.insert(id, Entry { sender, attached: None });
    }

    /// Attaches a client to `session`, leaving the one it was in.
    pub(crate) fn attach(&self, id: u64, session: u64) {
        let Some(mut client) = self.clients.get_mut(&id) else { return };
        let previous = client.attached.replace(session);
        drop(client);
        if let Some(previous) = previous {
            self.leave(id, previous);
        }
        self.sessions.entry(session).or_default().insert(id);
    }

    pub(crate) fn detach(&self, id: u64) {
        let session = self.clients.get_mut(&id).and_then(|mut client| client.attached.take());
        if let Some(session) = session {
            self.leave(id, session);
        }
    }

    pub(crate) fn unregister(&self, id: u64) {
        let session = self.clients.remove(&id).and_then(|(_, client)| client.attached);
        if let Some(session) = session {
            self.leave(id, session);
        }
    }

    fn leave(&self, id: u64, session: u64) {
        if let Some(mut members) = self.sessions.get_mut(&session) {
            members.remove(&id);
        }
        self.sessions.remove_if(&session, |_, members| members.is_empty());
    }

    pub(crate) fn members(&self, session: u64) -> usize {
        self.sessions.get(&session).map_or(0, |members| members.len())
    }

    /// Collects the ids, then clones each sender out of its guard: no guard is held while sending.
    pub(crate) fn broadcast(&self, session: u64, message: &Bytes) -> usize {
        let ids: Vec<u64> =
            self.sessions.get(&session).map_or_else(Vec::new, |members| members.iter().copied().collect());
        let mut sent = 0;
        for id in ids {
            let Some(sender) = self.clients.get(&id).map(|client| client.sender.clone()) else { continue };
            sent += usize::from(sender.try_send(message.clone()).is_ok());
        }
        sent
    }
}

impl<S: BuildHasher + Clone + Default> FanOut for TwoDashMaps<S> {
    fn send(&mut self, messages: &[Bytes]) -> usize {
        messages.iter().map(|message| self.broadcast(SESSION, message)).sum()
    }
}

/// The same two maps, sending under their guards: nothing is collected and no sender is cloned.
pub(super) struct DashMapGuard(TwoDashMaps<RandomState>);

impl DashMapGuard {
    pub(super) fn with(senders: Vec<Sender<Bytes>>) -> Self {
        Self(TwoDashMaps::with(senders))
    }
}

impl FanOut for DashMapGuard {
    fn send(&mut self, messages: &[Bytes]) -> usize {
        let mut sent = 0;
        for message in messages {
            let Some(members) = self.0.sessions.get(&SESSION) else { continue };
            for id in members.iter() {
                let Some(client) = self.0.clients.get(id) else { continue };
                sent += usize::from(client.sender.try_send(message.clone()).is_ok());
            }
        }
        sent
    }
}

type Members = Vec<(u64, Sender<Bytes>)>;

fn members(senders: Vec<Sender<Bytes>>) -> Members {
    (1..).zip(senders).collect()
}

fn send_to(members: &Members, message: &Bytes) -> usize {
    members.iter().filter(|(_, sender)| sender.try_send(message.clone()).is_ok()).count()
}

/// One lock for all sessions, which broadcasts share.
pub(super) struct RwLockHashMap(RwLock<HashMap<u64, Members, RandomState>>);

impl RwLockHashMap {
    pub(super) fn with(senders: Vec<Sender<Bytes>>) -> Self {
        Self(RwLock::new(HashMap::from_iter([(SESSION, members(senders))])))
    }
}

impl FanOut for RwLockHashMap {
    fn send(&mut self, messages: &[Bytes]) -> usize {
        let mut sent = 0;
        for message in messages {
            let sessions = self.0.read().unwrap_or_else(PoisonError::into_inner);
            sent += sessions.get(&SESSION).map_or(0, |members| send_to(members, message));
        }
        sent
    }
}

pub(super) struct Papaya(papaya::HashMap<u64, Members, RandomState>);

impl Papaya {
    pub(super) fn with(senders: Vec<Sender<Bytes>>) -> Self {
        Self(papaya::HashMap::from_iter([(SESSION, members(senders))]))
    }
}

impl FanOut for Papaya {
    fn send(&mut self, messages: &[Bytes]) -> usize {
        let mut sent = 0;
        for message in messages {
            sent += self.0.pin().get(&SESSION).map_or(0, |members| send_to(members, message));
        }
        sent
    }
}

pub(super) struct Scc(scc::HashMap<u64, Members, RandomState>);

impl Scc {
    pub(super) fn with(senders: Vec<Sender<Bytes>>) -> Self {
        let sessions = scc::HashMap::with_hasher(RandomState::new());
        // A map that has just been made holds nothing that could refuse this.
        let _ = sessions.insert_sync(SESSION, members(senders));
        Self(sessions)
    }
}

impl FanOut for Scc {
    fn send(&mut self, messages: &[Bytes]) -> usize {
        let mut sent = 0;
        for message in messages {
            sent += self.0.read_sync(&SESSION, |_, members| send_to(members, message)).unwrap_or(0);
        }
        sent
    }
}
