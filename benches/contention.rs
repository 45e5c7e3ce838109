//! Which shard count is enough: every kind of operation, by shard count, by threads that are let go together, on
//! sessions of their own or on the same ones. Figures per element are per operation, over all threads.
//!
//! `cargo run --release -p fugue-perf -- shards` has the whole grid, to 4096 shards and 8 threads.

mod common;

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_main};
use fugue_server::{ClientId, ClientRegistry, SessionId};
use tokio::sync::mpsc::{self, Receiver, Sender};

use self::common::{payload, registry};

const SHARDS: [usize; 5] = [1, 4, 16, 64, 256];
const THREADS: [usize; 3] = [1, 2, 4];
/// Sessions that a thread works on, one after the other.
const SESSIONS: usize = 64;
const MEMBERS: usize = 4;
/// What each thread does between two drains, and so what each member's queue must have room for.
const OPERATIONS: usize = 4096;
const DEPTH: usize = THREADS[THREADS.len() - 1] * OPERATIONS / SESSIONS;

#[derive(Clone, Copy, Debug)]
enum Mix {
    Register,
    Attach,
    Broadcast,
    /// Nine broadcasts, then one step of a client that comes, attaches, detaches and goes.
    Mixed,
}

/// A registry and what its threads work on.
struct Load {
    mix: Mix,
    shared: bool,
    registry: ClientRegistry<Bytes>,
    members: Vec<Receiver<Bytes>>,
    /// For each thread: a client that stays, the id of one that comes and goes, and their channel.
    own: Vec<(ClientId, ClientId, Sender<Bytes>)>,
    guests: Vec<Receiver<Bytes>>,
}

impl Load {
    fn new(mix: Mix, shards: usize, threads: usize, shared: bool) -> Self {
        let registry = registry(shards);
        let join = |session: Option<usize>, depth| {
            let (sender, queue) = mpsc::channel(depth);
            let client = registry.next_client_id();
            registry.register_client(client, sender.clone()).expect("an id of its own");
            if let Some(session) = session {
                registry.attach_to_session(client, SessionId::from(session as u64)).expect("registered");
            }
            (client, sender, queue)
        };
        let sessions = SESSIONS * if shared { 1 } else { threads };
        let members = (0..sessions * MEMBERS).map(|member| join(Some(member / MEMBERS), DEPTH).2).collect();
        let (mut own, mut guests) = (Vec::new(), Vec::new());
        for _ in 0..threads {
            // A guest is in one session for a few broadcasts of each thread.
            let (stays, sender, queue) = join(None, THREADS[THREADS.len() - 1] * OPERATIONS);
            own.push((stays, registry.next_client_id(), sender));
            guests.push(queue);
        }
        Self { mix, shared, registry, members, own, guests }
    }

    fn session(&self, thread: usize, turn: usize) -> SessionId {
        // Threads that share sessions begin at different ones, so that they meet by chance and not in step.
        let session = if self.shared {
            (thread * SESSIONS / self.own.len() + turn) % SESSIONS
        } else {
            thread * SESSIONS + turn % SESSIONS
        };
        SessionId::from(session as u64)
    }

    /// One thread's operations; returns how many messages got into queues.
    fn work(&self, thread: usize) -> usize {
        let (stays, guest, sender) = &self.own[thread];
        let registry = &self.registry;
        let attach = |client, turn| {
            registry.attach_to_session(client, self.session(thread, turn)).expect("a registered client");
        };
        let step = |client, step, turn| match step {
            0 => registry.register_client(client, sender.clone()).expect("gone before"),
            1 => attach(client, turn),
            2 => drop(registry.detach_from_session(client).expect("an attached client")),
            _ => drop(registry.unregister_client(client).expect("a registered client")),
        };
        let mut sent = 0;
        for turn in 0..OPERATIONS {
            match self.mix {
                Mix::Register => step(*guest, turn % 2 * 3, turn),
                Mix::Attach => step(*stays, 1 + turn % 2, turn),
                Mix::Mixed if turn % 10 == 9 => step(*guest, turn / 10 % 4, turn),
                Mix::Broadcast | Mix::Mixed => {
                    let delivery = registry.broadcast_to_session(self.session(thread, turn), payload());
                    assert!(delivery.sent as usize >= MEMBERS && delivery.is_complete(), "{delivery:?}");
                    sent += delivery.sent as usize;
                }
            }
        }
        registry.unregister_client(*guest);
        sent
    }

    /// Lets every thread do its operations once; says how long that took them all, and empties the queues.
    fn phase(&mut self) -> Duration {
        let threads = self.own.len();
        let barrier = Barrier::new(threads);
        let load = &*self;
        let work = |thread: usize| {
            barrier.wait();
            let start = Instant::now();
            let sent = load.work(thread);
            (start, Instant::now(), sent)
        };
        let done: Vec<_> = thread::scope(|scope| {
            let work = &work;
            let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
            running.into_iter().map(|thread| thread.join().expect("no worker panics")).collect()
        });
        let first = done.iter().map(|done| done.0).min().expect("a thread");
        let last = done.iter().map(|done| done.1).max().expect("a thread");
        let queues = self.members.iter_mut().chain(&mut self.guests);
        let received: usize = queues.map(|queue| std::iter::from_fn(|| queue.try_recv().ok()).count()).sum();
        assert_eq!(
            received,
            done.iter().map(|done| done.2).sum::<usize>(),
            "everything sent was there to receive"
        );
        last - first
    }
}

fn by_shards(criterion: &mut Criterion) {
    for mix in [Mix::Register, Mix::Attach, Mix::Broadcast, Mix::Mixed] {
        let mut group = criterion.benchmark_group(format!("{mix:?}").to_lowercase());
        for threads in THREADS {
            for (shared, sessions) in [(false, "disjoint"), (true, "shared")] {
                for shards in SHARDS {
                    let axes = format!("shards={shards}/threads={threads}/sessions={sessions}");
                    let mut load = Load::new(mix, shards, threads, shared);
                    // Also checks the answer before anyone asks for the speed.
                    load.phase();
                    let operations = (threads * OPERATIONS) as u64;
                    group.throughput(Throughput::Elements(1));
                    group.bench_function(axes, |bencher| {
                        bencher.iter_custom(|asked| {
                            let phases = asked.div_ceil(operations);
                            let took: Duration = (0..phases).map(|_| load.phase()).sum();
                            took.mul_f64(asked as f64 / (phases * operations) as f64)
                        });
                    });
                }
            }
        }
        group.finish();
    }
}

fn suite() {
    let mut criterion = common::criterion();
    by_shards(&mut criterion);
    criterion.final_summary();
}

criterion_main!(suite);
