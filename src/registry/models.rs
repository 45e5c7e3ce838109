//! The registry's promises under every interleaving of two or three threads and a few operations each.
//!
//! Each model says what may and what must be seen, by whoever looks at whatever moment. See `sync` for how they run.

use super::*;
use crate::sync::{AtomicBool, Ordering, Receiver, model, queue};

/// Joining, leaving, and moving from one session to another.
mod membership;
/// What removes entries: leaving, closed channels, guards, publishers.
mod removal;
/// More at once than every interleaving could be tried of.
#[cfg(not(fugue_loom))]
mod storm;

type Registry = ClientRegistry<u32>;

const SESSION: SessionId = SessionId::from_bytes([1; 16]);

fn registry(shards: usize) -> Registry {
    Registry::builder().shards(shards).build().unwrap()
}

/// A new client with a queue of this many places.
fn client(registry: &Registry, places: usize) -> (ClientId, Receiver<u32>) {
    let id = registry.next_client_id();
    (id, register(registry, id, places))
}

fn register(registry: &Registry, id: ClientId, places: usize) -> Receiver<u32> {
    let (sender, queue) = queue(places);
    registry.register_client(id, sender).unwrap();
    queue
}

/// A client that watches `session`.
fn member(registry: &Registry, session: SessionId) -> (ClientId, Receiver<u32>) {
    let (id, queue) = client(registry, 4);
    registry.attach_to_session(id, session).unwrap();
    (id, queue)
}

/// Two sessions, of which the first is in the shard of the lower index where there are two shards.
fn two_sessions(registry: &Registry) -> [SessionId; 2] {
    let shard = |session: &SessionId| registry.inner.sessions.index(&registry.inner.sessions.key(*session));
    let ids = || (1_u64..).map(SessionId::from);
    let first = ids().find(|id| shard(id) == 0).unwrap();
    let last = registry.shard_count() - 1;
    let second = ids().find(|id| shard(id) == last && *id != first).unwrap();
    [first, second]
}

fn received(queue: &mut Receiver<u32>) -> Vec<u32> {
    std::iter::from_fn(|| queue.try_recv().ok()).collect()
}

/// Says from one thread to another that something has happened before.
#[derive(Clone)]
struct Flag(Arc<AtomicBool>);

impl Flag {
    fn new() -> Self {
        Self(Arc::new(AtomicBool::new(false)))
    }

    fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

fn assert_empty(registry: &Registry) {
    assert_eq!((registry.client_count(), registry.session_count()), (0, 0));
}
