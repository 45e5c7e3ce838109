//! What the benchmarks share: rooms full of receivers, and the ways to broadcast to one, the floor among them.

#![allow(dead_code, reason = "each benchmark needs a part of it")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::Criterion;
use fugue_server::{ClientRegistry, Delivery, Publisher, SessionId};
use tokio::sync::mpsc::{self, Receiver, Sender};

/// What Linux hands out of a PTY in one read, and so the size of most messages.
const PAYLOAD: usize = 4096;
/// Deep enough that reading the clock costs nothing beside the calls between two drains, and small enough that the
/// largest room's queues stay in memory nobody misses.
const DEPTH: usize = 128;
/// Messages in a burst: what the pump gathers in a turn under load.
pub(crate) const BURST: usize = 32;
/// The room's session, and the one an attach and a detach are measured on.
pub(crate) const SESSION: u64 = 1;

/// As every suite is measured: whole, in the time that criterion takes; or with `FUGUE_BENCH=quick` in the environment
/// so shortly that it shows that all works and no more.
pub(crate) fn criterion() -> Criterion {
    let quick = std::env::var_os("FUGUE_BENCH").is_some_and(|profile| profile == "quick");
    let (warm_up, measure) = if quick { (10, 100) } else { (300, 1200) };
    Criterion::default()
        .sample_size(if quick { 10 } else { 20 })
        .warm_up_time(Duration::from_millis(warm_up))
        .measurement_time(Duration::from_millis(measure))
        .without_plots()
        .configure_from_args()
}

pub(crate) fn payload() -> Bytes {
    of_size(PAYLOAD)
}

fn of_size(bytes: usize) -> Bytes {
    Bytes::from(vec![b'x'; bytes])
}

pub(crate) fn registry(shards: usize) -> ClientRegistry<Bytes> {
    ClientRegistry::builder().shards(shards).build().expect("a power of two")
}

/// One way to get messages to everyone in a room.
pub(crate) trait Broadcast {
    /// Messages each member is offered by one call.
    const MESSAGES: usize;

    fn broadcast(&mut self) -> Delivery;
}

/// The floor: what the channels alone cost, with no registry at all.
pub(crate) struct Floor(Vec<Sender<Bytes>>, Bytes);

impl Broadcast for Floor {
    const MESSAGES: usize = 1;

    fn broadcast(&mut self) -> Delivery {
        let mut delivery = Delivery::default();
        for sender in &self.0 {
            match sender.try_send(self.1.clone()) {
                Ok(()) => delivery.sent += 1,
                Err(_) => delivery.full += 1,
            }
        }
        delivery
    }
}

/// A broadcast through the registry: look up, lock, clone the roster's handle, send.
pub(crate) struct BySession(ClientRegistry<Bytes>, Bytes);

impl Broadcast for BySession {
    const MESSAGES: usize = 1;

    fn broadcast(&mut self) -> Delivery {
        self.0.broadcast_to_session(SessionId::from(SESSION), self.1.clone())
    }
}

/// A broadcast through a publisher: one atomic load, send.
pub(crate) struct ByPublisher(Publisher<Bytes>, Bytes);

impl Broadcast for ByPublisher {
    const MESSAGES: usize = 1;

    fn broadcast(&mut self) -> Delivery {
        self.0.broadcast(self.1.clone())
    }
}

/// A burst through a publisher: one reservation in each queue.
pub(crate) struct Bursts(Publisher<Bytes>, Vec<Bytes>);

impl Broadcast for Bursts {
    const MESSAGES: usize = BURST;

    fn broadcast(&mut self) -> Delivery {
        self.0.broadcast_burst(&self.1)
    }
}

/// Receivers, and the way to broadcast to them.
pub(crate) struct Room<B> {
    way: B,
    queues: Vec<Receiver<Bytes>>,
    /// Members whose queues are full, and stay so: the first of them.
    full: usize,
}

impl Room<Floor> {
    pub(crate) fn floor(members: usize) -> Self {
        let (senders, queues) = (0..members).map(|_| mpsc::channel(DEPTH)).unzip();
        Self::checked(Floor(senders, payload()), queues)
    }
}

impl Room<BySession> {
    pub(crate) fn by_session(members: usize, shards: usize) -> Self {
        let (registry, queues) = registry_with(members, shards);
        Self::checked(BySession(registry, payload()), queues)
    }
}

impl Room<ByPublisher> {
    pub(crate) fn by_publisher(members: usize, shards: usize) -> Self {
        Self::of_size(members, shards, PAYLOAD)
    }

    /// With messages of this size, in bytes.
    pub(crate) fn of_size(members: usize, shards: usize, bytes: usize) -> Self {
        let (registry, queues) = registry_with(members, shards);
        Self::checked(ByPublisher(registry.publisher(SessionId::from(SESSION)), of_size(bytes)), queues)
    }

    /// With `full` of the members' queues full, and nobody to drain them.
    pub(crate) fn with_full(members: usize, full: usize, shards: usize) -> Self {
        let mut room = Self::by_publisher(members, shards);
        room.full = full;
        for _ in 0..DEPTH {
            let _ = room.way.broadcast();
        }
        room.drain();
        let delivery = room.way.broadcast();
        assert_eq!((delivery.sent, delivery.full), ((members - full) as u64, full as u64));
        room.drain();
        room
    }

    pub(crate) fn full(members: usize, shards: usize) -> Self {
        Self::with_full(members, members, shards)
    }
}

impl Room<Bursts> {
    pub(crate) fn bursts(members: usize, shards: usize) -> Self {
        let (registry, queues) = registry_with(members, shards);
        let publisher = registry.publisher(SessionId::from(SESSION));
        Self::checked(Bursts(publisher, vec![payload(); BURST]), queues)
    }
}

/// A registry whose session has `members`.
fn registry_with(members: usize, shards: usize) -> (ClientRegistry<Bytes>, Vec<Receiver<Bytes>>) {
    let registry = registry(shards);
    let join = |_| {
        let (sender, queue) = mpsc::channel(DEPTH);
        let client = registry.next_client_id();
        registry.register_client(client, sender).expect("an id of its own");
        registry.attach_to_session(client, SessionId::from(SESSION)).expect("a registered client");
        queue
    };
    let queues = (0..members).map(join).collect();
    (registry, queues)
}

impl<B: Broadcast> Room<B> {
    /// Checks the answer before anyone asks for the speed: every queue holds what was said to be sent, and no more.
    fn checked(way: B, queues: Vec<Receiver<Bytes>>) -> Self {
        let mut room = Self { way, queues, full: 0 };
        let delivery = room.way.broadcast();
        let deliveries = room.deliveries() as u64;
        assert_eq!((delivery.sent, delivery.total()), (deliveries, deliveries));
        for queue in &mut room.queues {
            let received: Vec<Bytes> = std::iter::from_fn(|| queue.try_recv().ok()).collect();
            assert_eq!(received.len(), B::MESSAGES);
            assert!(received.iter().all(|message| message.iter().all(|byte| *byte == b'x')));
        }
        room
    }

    /// Deliveries asked for by one call.
    pub(crate) fn deliveries(&self) -> usize {
        self.queues.len() * B::MESSAGES
    }

    /// Times `calls` broadcasts. The queues are drained, and what came out of them counted, while the clock stands.
    pub(crate) fn time(&mut self, calls: u64) -> Duration {
        let mut spent = Duration::ZERO;
        let mut left = calls;
        while left > 0 {
            let batch = left.min((DEPTH / B::MESSAGES) as u64);
            left -= batch;
            let mut sent = 0;
            let start = Instant::now();
            for _ in 0..batch {
                sent += black_box(self.way.broadcast()).sent;
            }
            spent += start.elapsed();
            let open = self.queues.len() - self.full;
            assert_eq!(sent, batch * (open * B::MESSAGES) as u64, "just those that are to be full are");
            assert_eq!(self.drain() as u64, sent, "everything sent was there to receive");
        }
        spent
    }

    fn drain(&mut self) -> usize {
        self.queues[self.full..]
            .iter_mut()
            .map(|queue| std::iter::from_fn(|| queue.try_recv().ok()).count())
            .sum()
    }
}
