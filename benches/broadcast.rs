//! What the registry costs on top of the channels it sends into: by members, and by shard count.
//!
//! `floor` is a bare loop of `try_send` over a `Vec<Sender>`. Figures per element are per delivery: one message and
//! one client it is for. All of it runs on one thread, so shard counts show what more shards cost, not what they save;
//! `contention` has the threads.

mod common;

use std::hint::black_box;

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_main, measurement::WallTime};
use fugue_server::SessionId;
use tokio::sync::mpsc;

use self::common::{Broadcast, Room, SESSION, registry};

const MEMBERS: [usize; 6] = [1, 4, 5, 64, 1024, 10_000];
const SHARDS: [usize; 5] = [1, 4, 16, 64, 256];
/// The shard count while members vary, and the members while the shard count does.
const FIXED_SHARDS: usize = 16;
const FIXED_MEMBERS: usize = 4;
/// The members while the payload or the share of full queues varies.
const CROWD: usize = 64;
const PAYLOADS: [usize; 3] = [64, 4096, 65_536];
const FULL_PERCENT: [usize; 4] = [0, 10, 50, 100];
/// Clients that are there besides the measured one, so that its shard is not empty.
const BYSTANDERS: usize = 1000;

fn measure<B: Broadcast>(group: &mut BenchmarkGroup<'_, WallTime>, axes: String, mut room: Room<B>) {
    group.throughput(Throughput::Elements(room.deliveries() as u64));
    group.bench_function(axes, |bencher| bencher.iter_custom(|calls| room.time(calls)));
}

fn by_members(criterion: &mut Criterion) {
    let axes = |members| format!("members={members}/shards={FIXED_SHARDS}");

    let mut group = criterion.benchmark_group("floor");
    for members in MEMBERS {
        measure(&mut group, format!("members={members}"), Room::floor(members));
    }
    group.finish();
    let mut group = criterion.benchmark_group("broadcast");
    for members in MEMBERS {
        measure(&mut group, axes(members), Room::by_session(members, FIXED_SHARDS));
    }
    group.finish();
    let mut group = criterion.benchmark_group("publisher");
    for members in MEMBERS {
        measure(&mut group, axes(members), Room::by_publisher(members, FIXED_SHARDS));
    }
    group.finish();
    let mut group = criterion.benchmark_group("publisher_burst_of_32");
    for members in MEMBERS {
        measure(&mut group, axes(members), Room::bursts(members, FIXED_SHARDS));
    }
    group.finish();
}

fn by_payload(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publisher");
    for bytes in PAYLOADS {
        let axes = format!("members={CROWD}/payload={bytes}");
        measure(&mut group, axes, Room::of_size(CROWD, FIXED_SHARDS, bytes));
    }
    group.finish();
}

/// A full member should cost about an atomic load.
fn by_full_share(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publisher");
    for percent in FULL_PERCENT {
        let axes = format!("members={CROWD}/full_percent={percent}");
        measure(&mut group, axes, Room::with_full(CROWD, CROWD * percent / 100, FIXED_SHARDS));
    }
    group.finish();
}

fn by_shards(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("broadcast");
    // The fixed count has its place among the members.
    for shards in SHARDS.into_iter().filter(|shards| *shards != FIXED_SHARDS) {
        let axes = format!("members={FIXED_MEMBERS}/shards={shards}");
        measure(&mut group, axes, Room::by_session(FIXED_MEMBERS, shards));
    }
    group.finish();
}

fn register_and_unregister(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("register_unregister");
    for shards in SHARDS {
        let registry = registry(shards);
        let bystanders: Vec<_> = (0..BYSTANDERS).map(|_| mpsc::channel(1)).collect();
        for (sender, _) in &bystanders {
            registry.register_client(registry.next_client_id(), sender.clone()).expect("an id of its own");
        }
        let id = registry.next_client_id();
        let (sender, _queue) = mpsc::channel(1);
        let mut sender = Some(sender);
        group.bench_function(format!("shards={shards}"), |bencher| {
            bencher.iter(|| {
                registry.register_client(id, sender.take().expect("handed back")).expect("the id is free");
                sender = registry.unregister_client(id).map(|gone| gone.entry.sender);
            });
        });
        assert!(sender.is_some_and(|sender| sender.strong_count() == 1), "the registry kept nothing of it");
        assert_eq!(registry.client_count(), BYSTANDERS);
    }
    group.finish();
}

fn attach_and_detach(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("attach_detach");
    for shards in SHARDS {
        let registry = registry(shards);
        let queues: Vec<_> = (0..BYSTANDERS + 1)
            .map(|_| {
                let (sender, queue) = mpsc::channel(1);
                let client = registry.next_client_id();
                registry.register_client(client, sender).expect("an id of its own");
                registry.attach_to_session(client, SessionId::from(SESSION)).expect("registered");
                (client, queue)
            })
            .collect();
        let (client, _) = queues[BYSTANDERS / 2];
        registry.detach_from_session(client).expect("attached");
        assert_eq!(registry.session_client_count(SessionId::from(SESSION)), BYSTANDERS);
        group.bench_function(format!("members={BYSTANDERS}/shards={shards}"), |bencher| {
            bencher.iter(|| {
                let attached = registry.attach_to_session(client, SessionId::from(SESSION));
                assert_eq!(black_box(attached).map(|attached| attached.members), Ok(BYSTANDERS + 1));
                let detached = registry.detach_from_session(client);
                assert_eq!(black_box(detached).map(|detached| detached.members), Ok(BYSTANDERS));
            });
        });
    }
    group.finish();
}

fn suite() {
    let mut criterion = common::criterion();
    by_members(&mut criterion);
    by_payload(&mut criterion);
    by_full_share(&mut criterion);
    by_shards(&mut criterion);
    register_and_unregister(&mut criterion);
    attach_and_detach(&mut criterion);
    criterion.final_summary();
}

criterion_main!(suite);
