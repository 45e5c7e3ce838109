//! Joining and leaving: ten thousand clients and one session, alone and while a publisher broadcasts all the time.
//! Figures per element are per join or leave.

mod common;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_main};
use fugue_server::{ClientId, ClientRegistry, SessionId};
use tokio::sync::mpsc::{self, Receiver};

use self::common::{SESSION, payload, registry};

const CROWD: usize = 10_000;
const SHARDS: usize = 16;

/// A registry with clients that are in no session, and their queues, which nobody reads: they fill, and stay full.
fn crowd() -> (ClientRegistry<Bytes>, Vec<ClientId>, Vec<Receiver<Bytes>>) {
    let registry = registry(SHARDS);
    let register = |_| {
        let (sender, queue) = mpsc::channel(1);
        let client = registry.next_client_id();
        registry.register_client(client, sender).expect("an id of its own");
        (client, queue)
    };
    let (clients, queues) = (0..CROWD).map(register).unzip();
    (registry, clients, queues)
}

/// Times `change` as often as asked, each time on a session that `prepare` brought into its state.
fn time(asked: u64, prepare: impl Fn(), change: impl Fn()) -> Duration {
    let mut spent = Duration::ZERO;
    for _ in 0..asked {
        prepare();
        let start = Instant::now();
        change();
        spent += start.elapsed();
    }
    spent
}

fn joining_and_leaving(criterion: &mut Criterion) {
    let session = SessionId::from(SESSION);
    for broadcasting in [false, true] {
        let (registry, clients, _queues) = crowd();
        let count = || registry.session_client_count(session);
        let join = || {
            for client in &clients {
                registry.attach_to_session(*client, session).expect("a registered client");
            }
            assert_eq!(count(), CROWD);
        };
        let leave = || {
            for client in &clients {
                registry.detach_from_session(*client).expect("an attached client");
            }
            assert_eq!(count(), 0);
        };
        let close = || {
            assert_eq!(registry.close_session(session).len(), CROWD);
            assert_eq!(count(), 0);
        };
        let empty = || drop(registry.close_session(session));
        let full = || {
            empty();
            join();
        };
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            if broadcasting {
                scope.spawn(|| {
                    let mut publisher = registry.publisher(session);
                    // Relaxed: nothing else is read on the strength of it.
                    while !stop.load(Ordering::Relaxed) {
                        let _ = publisher.broadcast(payload());
                    }
                });
            }
            let mut group = criterion.benchmark_group("membership");
            group.throughput(Throughput::Elements(CROWD as u64)).sample_size(10);
            let axes = |what| format!("{what}={CROWD}/broadcasting={broadcasting}");
            group.bench_function(axes("join"), |bencher| {
                bencher.iter_custom(|asked| time(asked, empty, join))
            });
            group.bench_function(axes("leave"), |bencher| {
                bencher.iter_custom(|asked| time(asked, full, leave))
            });
            group.bench_function(axes("close"), |bencher| {
                bencher.iter_custom(|asked| time(asked, full, close))
            });
            group.finish();
            stop.store(true, Ordering::Relaxed);
        });
    }
}

fn suite() {
    let mut criterion = common::criterion();
    joining_and_leaving(&mut criterion);
    criterion.final_summary();
}

criterion_main!(suite);
