//! Joining and leaving: ten thousand at once, with and without a broadcast going on, and one at a time.
//!
//! To join is to attach and to leave is to detach; registering, before, and unregistering, after, are measured beside
//! them, and all four as one: a client's life. The channels are made before all of it, and their other ends dropped
//! after.

use std::{
    hash::BuildHasher,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;
use bytes::Bytes;
use fugue_server::{ClientId, ClientRegistry, SessionId};
use tokio::sync::mpsc::Sender;

use crate::{
    contest::Contest,
    peer::{self, SESSION, TwoDashMaps},
    row::Row,
    suite::Scale,
};

const CROWD: usize = 10_000;
/// How many are there already while one comes and goes.
const OTHERS: [usize; 4] = [1, 4, 100, 10_000];
/// The queues of those who join fill while a broadcast goes on: nobody receives.
const DEPTH: usize = 32;

/// What can be joined and left.
trait Membership: Sync {
    fn new() -> Self;
    fn register(&self, id: u64, sender: Sender<Bytes>);
    fn join(&self, id: u64);
    fn leave(&self, id: u64);
    fn unregister(&self, id: u64);
    fn members(&self) -> usize;
    /// Broadcasts until told to stop.
    fn broadcast_until(&self, stop: &AtomicBool, message: &Bytes);
}

impl Membership for ClientRegistry<Bytes> {
    fn new() -> Self {
        Self::new()
    }

    fn register(&self, id: u64, sender: Sender<Bytes>) {
        self.register_client(ClientId::from(id), sender).expect("an id of its own");
    }

    fn join(&self, id: u64) {
        self.attach_to_session(ClientId::from(id), SessionId::from(SESSION)).expect("a registered client");
    }

    fn leave(&self, id: u64) {
        self.detach_from_session(ClientId::from(id)).expect("an attached client");
    }

    fn unregister(&self, id: u64) {
        drop(self.unregister_client(ClientId::from(id)));
    }

    fn members(&self) -> usize {
        self.session_client_count(SessionId::from(SESSION))
    }

    fn broadcast_until(&self, stop: &AtomicBool, message: &Bytes) {
        let mut publisher = self.publisher(SessionId::from(SESSION));
        // Relaxed: nothing else is read on the strength of it.
        while !stop.load(Ordering::Relaxed) {
            let _ = publisher.broadcast(message.clone());
        }
    }
}

impl<S: BuildHasher + Clone + Default + Send + Sync> Membership for TwoDashMaps<S> {
    fn new() -> Self {
        Self::default()
    }

    fn register(&self, id: u64, sender: Sender<Bytes>) {
        self.register(id, sender);
    }

    fn join(&self, id: u64) {
        self.attach(id, SESSION);
    }

    fn leave(&self, id: u64) {
        self.detach(id);
    }

    fn unregister(&self, id: u64) {
        self.unregister(id);
    }

    fn members(&self) -> usize {
        self.members(SESSION)
    }

    fn broadcast_until(&self, stop: &AtomicBool, message: &Bytes) {
        // Relaxed: nothing else is read on the strength of it.
        while !stop.load(Ordering::Relaxed) {
            self.broadcast(SESSION, message);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Register,
    Join,
    Leave,
    Unregister,
    /// All four, which is what a client's life costs.
    Life,
}

type Fugue = ClientRegistry<Bytes>;
type Hashed = TwoDashMaps<ahash::RandomState>;

pub(crate) fn run(scale: Scale) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (case, metric, step) in [
        ("registering", "ns_per_register", Step::Register),
        ("joins", "ns_per_join", Step::Join),
        ("leaving", "ns_per_leave", Step::Leave),
        ("unregistering", "ns_per_unregister", Step::Unregister),
        ("life", "ns_per_life", Step::Life),
    ] {
        let mut contest = Contest::new("membership", case, CROWD, (metric, "ns"), "two-dashmaps");
        contest
            .enter("fugue", || crowd::<Fugue>(step, scale, false))
            .enter("two-dashmaps", || crowd::<TwoDashMaps>(step, scale, false))
            .enter("two-dashmaps-ahash", || crowd::<Hashed>(step, scale, false));
        if step == Step::Join {
            contest
                .enter("fugue-broadcasting", || crowd::<Fugue>(step, scale, true))
                .enter("two-dashmaps-broadcasting", || crowd::<TwoDashMaps>(step, scale, true));
        }
        rows.extend(contest.run(scale.rounds));
    }
    for others in OTHERS {
        let mut churn = Contest::new("membership", "churn", others, ("per_second", "1/s"), "two-dashmaps");
        churn
            .enter("fugue", || churn_of::<Fugue>(others, scale))
            .enter("two-dashmaps", || churn_of::<TwoDashMaps>(others, scale))
            .enter("two-dashmaps-ahash", || churn_of::<Hashed>(others, scale));
        rows.extend(churn.run(scale.rounds));
    }
    Ok(rows)
}

/// Nanoseconds that `step` takes each of a crowd that comes to an empty registry and goes again.
fn crowd<M: Membership>(step: Step, scale: Scale, broadcasting: bool) -> anyhow::Result<f64> {
    let (mut spent, mut crowds) = (Duration::ZERO, 0);
    while spent < scale.at_least() {
        let registry = M::new();
        let (senders, queues) = peer::queues(CROWD, DEPTH);
        let mut time = |this: Step, each: &mut dyn FnMut()| {
            let start = Instant::now();
            each();
            spent += if this == step || step == Step::Life { start.elapsed() } else { Duration::ZERO };
        };
        let mut senders = (1..).zip(senders);
        time(Step::Register, &mut || senders.by_ref().for_each(|(id, sender)| registry.register(id, sender)));
        let (message, stop) = (peer::message(4096), AtomicBool::new(false));
        thread::scope(|scope| {
            if broadcasting {
                scope.spawn(|| registry.broadcast_until(&stop, &message));
            }
            time(Step::Join, &mut || (1..=CROWD as u64).for_each(|id| registry.join(id)));
            // Relaxed: the scope's end is what orders things.
            stop.store(true, Ordering::Relaxed);
        });
        ensure!(registry.members() == CROWD, "{} of {CROWD} are there after joining", registry.members());
        time(Step::Leave, &mut || (1..=CROWD as u64).for_each(|id| registry.leave(id)));
        ensure!(registry.members() == 0, "{} are there after leaving", registry.members());
        time(Step::Unregister, &mut || (1..=CROWD as u64).for_each(|id| registry.unregister(id)));
        drop(queues);
        crowds += 1;
    }
    Ok(spent.as_nanos() as f64 / (crowds * CROWD) as f64)
}

/// How many times in a second one more client joins and leaves.
fn churn_of<M: Membership>(others: usize, scale: Scale) -> anyhow::Result<f64> {
    const BETWEEN_CLOCKS: u64 = 256;
    let registry = M::new();
    let (senders, _queues) = peer::queues(others + 1, DEPTH);
    let one_more = senders.len() as u64;
    for (id, sender) in (1..).zip(senders) {
        registry.register(id, sender);
    }
    (1..one_more).for_each(|id| registry.join(id));
    let (start, mut times) = (Instant::now(), 0);
    while start.elapsed() < scale.at_least() {
        for _ in 0..BETWEEN_CLOCKS {
            registry.join(one_more);
            registry.leave(one_more);
        }
        times += BETWEEN_CLOCKS;
    }
    let rate = times as f64 / start.elapsed().as_secs_f64();
    ensure!(registry.members() == others, "{} are there instead of {others}", registry.members());
    Ok(rate)
}
