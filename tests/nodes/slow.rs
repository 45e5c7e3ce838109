//! A node that is slow or stopped: what becomes of it, and what that costs the others.

use std::{
    env,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use fugue_server::{
    SessionId,
    message::{ExitStatus, OnLag},
};
use rustix::process::Signal;
use tokio::{runtime::Runtime, task::JoinHandle};

use crate::{
    chaos::begin,
    machine::{Broker, Machine, PATIENCE, eventually},
    proxy::{Line, Speed},
    viewer::{Counts, Viewer},
};

/// For how long a node is stopped: longer than its streams are kept. `FUGUE_STOPPED_SECONDS` says otherwise.
const STOPPED: u64 = 8;

/// A viewer at a machine of a session of `h0`.
fn view(
    runtime: &Runtime,
    machine: &Machine,
    session: SessionId,
    on_lag: OnLag,
) -> (Arc<Counts>, JoinHandle<(u64, ExitStatus)>) {
    let counts = Arc::new(Counts::default());
    let mut viewer = Viewer::new(machine.socket(), session, on_lag, Arc::clone(&counts));
    let address = machine.address();
    viewer.watch = Some(Box::new(move || address.command(&["screen", "s0@h0"])));
    (counts, runtime.spawn(viewer.watch()))
}

fn ended(runtime: &Runtime, viewer: JoinHandle<(u64, ExitStatus)>) -> (u64, ExitStatus) {
    runtime.block_on(async { tokio::time::timeout(PATIENCE, viewer).await }).expect("its end").unwrap()
}

/// Waits until a viewer has seen so much more.
fn see(counts: &Counts, more: u64) {
    let until = counts.seen.load(Ordering::Relaxed) + more;
    eventually("output", || (counts.seen.load(Ordering::Relaxed) >= until).then_some(()));
}

#[test]
fn a_watcher_that_is_stopped_costs_the_others_nothing_and_comes_back() {
    let Some(broker) = Broker::start("") else { return };
    let machines: Vec<_> = (0..3)
        .map(|node| {
            let mut machine = Machine::new();
            machine.start_node(&format!("h{node}"), &broker.url(None), &[]);
            machine
        })
        .collect();
    let session = begin(&machines[0], 0);
    let runtime = Runtime::new().unwrap();
    let (stopped, stopped_viewer) = view(&runtime, &machines[1], session, OnLag::Resync);
    let (other, other_viewer) = view(&runtime, &machines[2], session, OnLag::Lossless);
    see(&stopped, 100_000);
    see(&other, 100_000);
    machines[1].node().signal(Signal::STOP);
    let seconds = env::var("FUGUE_STOPPED_SECONDS").map_or(STOPPED, |text| text.parse().unwrap());
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        see(&other, 100_000);
        assert!(machines[2].send("s0@h0", "key\n").status.success());
    }
    machines[1].node().signal(Signal::CONT);
    see(&stopped, 100_000);
    assert!(machines[1].send("s0@h0", "end\n").status.success());
    let end = ended(&runtime, other_viewer);
    assert_eq!(end.1, ExitStatus::Code(7));
    assert_eq!(ended(&runtime, stopped_viewer), end);
    assert_eq!(other.gaps.load(Ordering::Relaxed), 0, "the other one missed nothing");
}

#[test]
fn a_slow_line_brings_a_flood_and_the_keys_between_it() {
    let Some(broker) = Broker::start("") else { return };
    let speed = Speed { bytes_per_second: 1_000_000, delay: Duration::from_millis(25) };
    let line = Line::slow(broker.port, speed);
    let (mut host, mut watcher) = (Machine::new(), Machine::new());
    host.start_node("h0", &broker.url(None), &[]);
    watcher.start_node("h1", &line.url(), &[]);
    let session = begin(&host, 0);
    let runtime = Runtime::new().unwrap();
    let (counts, viewer) = view(&runtime, &watcher, session, OnLag::Resync);
    for _ in 0..20 {
        see(&counts, 100_000);
        assert!(watcher.send("s0@h0", "key\n").status.success());
    }
    assert!(watcher.send("s0@h0", "end\n").status.success());
    assert_eq!(ended(&runtime, viewer).1, ExitStatus::Code(7));
    let typed = std::fs::read_to_string(host.directory.path().join("typed")).unwrap();
    assert_eq!(typed, "key\n".repeat(20) + "end\n");
}
