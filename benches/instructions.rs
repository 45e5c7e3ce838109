//! The hot operations, one at a time and as often as told, to count their instructions under callgrind: a count that
//! hardly varies where time does. `.ci/instructions.sh` compares the counts with `benches/instructions.txt`.
//!
//! `instructions OPERATION TIMES` does it; without arguments, as `cargo bench` calls it, there is nothing to do.

mod common;

use std::hint::black_box;

use fugue_server::SessionId;
use tokio::sync::mpsc;

use self::common::{Room, SESSION, registry};

const SHARDS: usize = 16;

/// Broadcasts as often as told, with the queues drained between.
fn broadcasts<B: common::Broadcast>(mut room: Room<B>, times: u64) {
    black_box(room.time(times));
}

fn join_and_leave(times: u64) {
    let registry = registry(SHARDS);
    let (sender, _queue) = mpsc::channel(1);
    let client = registry.next_client_id();
    registry.register_client(client, sender).expect("an id of its own");
    for _ in 0..times {
        registry.attach_to_session(client, SessionId::from(SESSION)).expect("a registered client");
        registry.detach_from_session(client).expect("an attached client");
    }
}

fn register_and_unregister(times: u64) {
    let registry = registry(SHARDS);
    let (sender, _queue) = mpsc::channel(1);
    let client = registry.next_client_id();
    let mut sender = Some(sender);
    for _ in 0..times {
        registry.register_client(client, sender.take().expect("handed back")).expect("the id is free");
        sender = registry.unregister_client(client).map(|gone| gone.entry.sender);
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(operation), Some(times)) = (arguments.next(), arguments.next()) else { return };
    let Ok(times) = times.parse() else { return };
    match operation.as_str() {
        "floor-1" => broadcasts(Room::floor(1), times),
        "publisher-1" => broadcasts(Room::by_publisher(1, SHARDS), times),
        "publisher-64" => broadcasts(Room::by_publisher(64, SHARDS), times),
        "publisher-64-full" => broadcasts(Room::full(64, SHARDS), times),
        "burst32-64" => broadcasts(Room::bursts(64, SHARDS), times),
        "broadcast-1" => broadcasts(Room::by_session(1, SHARDS), times),
        "broadcast-64" => broadcasts(Room::by_session(64, SHARDS), times),
        "join-leave" => join_and_leave(times),
        "register-unregister" => register_and_unregister(times),
        other => panic!("no operation {other}"),
    }
}
