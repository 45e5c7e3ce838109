//! The registry's promises. Every test runs on registries of 1, 2 and 64 shards: with one, all keys share a lock; with
//! two, some do; with 64, hardly any.
//!
//! Threads that have to wait use barriers and channels; nothing here sleeps.

mod big_sessions;
mod cleanup;
mod clients;
mod concurrency;
mod delivery;
mod departures;
mod leaks;
mod locking;
mod machine;
mod membership;
mod misuse;
mod publisher;
mod requested;
mod sessions;
mod stats;

use std::{sync::Barrier, thread};

use fugue_server::{ClientId, ClientRegistry, Delivery, SessionId};
use tokio::{
    runtime::{self, Runtime},
    sync::mpsc::{self, Receiver},
};

/// Runs `test` on a fresh registry of each shard count.
fn with_registries<M>(test: impl Fn(ClientRegistry<M>)) {
    for shards in [1, 2, 64] {
        println!("{shards} shards"); // shown when the test fails
        test(ClientRegistry::builder().shards(shards).build().unwrap());
    }
}

/// A runtime on which tasks run at once, for tests whose clients are tasks.
fn runtime() -> Runtime {
    runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap()
}

/// Registers a client with a queue of `depth`.
fn connect<M>(registry: &ClientRegistry<M>, depth: usize) -> (ClientId, Receiver<M>) {
    let (sender, queue) = mpsc::channel(depth);
    let client = registry.next_client_id();
    registry.register_client(client, sender).unwrap();
    (client, queue)
}

/// Registers a client with a queue of `depth`, and attaches it to `session`.
fn watch<M>(registry: &ClientRegistry<M>, session: SessionId, depth: usize) -> (ClientId, Receiver<M>) {
    let (client, queue) = connect(registry, depth);
    registry.attach_to_session(client, session).unwrap();
    (client, queue)
}

fn session(number: u64) -> SessionId {
    SessionId::from(number)
}

/// Takes out of `queue` all that is in it.
fn drain<M>(queue: &mut Receiver<M>) -> Vec<M> {
    std::iter::from_fn(|| queue.try_recv().ok()).collect()
}

/// Whether every sender of an empty queue is gone.
fn is_freed<M>(queue: &mut Receiver<M>) -> bool {
    matches!(queue.try_recv(), Err(mpsc::error::TryRecvError::Disconnected))
}

fn sorted<T: Ord>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.into_iter().collect();
    items.sort();
    items
}

/// Runs `work` on `threads` threads that start together, and collects what each returns.
fn together<T: Send>(threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(threads);
    thread::scope(|scope| {
        let run = |thread| {
            let (start, work) = (&start, &work);
            scope.spawn(move || {
                start.wait();
                work(thread)
            })
        };
        let running: Vec<_> = (0..threads).map(run).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn counts(sent: usize, full: usize, closed: usize) -> Delivery {
    let mut delivery = Delivery::default();
    (delivery.sent, delivery.full, delivery.closed) = (sent as u64, full as u64, closed as u64);
    delivery
}

fn sent(sent: usize) -> Delivery {
    counts(sent, 0, 0)
}

fn full(full: usize) -> Delivery {
    counts(0, full, 0)
}

fn closed(closed: usize) -> Delivery {
    counts(0, 0, closed)
}
