//! A delivery's cost as one thing grows by powers of ten: a session's members, the sessions, the registered clients.
//!
//! A session's members have queues of their own. The crowds beside them, which a broadcast should not notice, share a
//! few queues, so that a million of them are a million entries and not a million channels.

use std::time::{Duration, Instant};

use anyhow::ensure;
use bytes::Bytes;
use fugue_server::{ClientRegistry, SessionId};
use tokio::sync::mpsc::{Receiver, Sender};

use crate::{
    contest::Contest,
    peer::{self, ByPublisher, BySession, DEPTH, Floor, Measured, Room, SESSION, TwoDashMaps},
    row::Row,
    suite::Scale,
};

const METRIC: (&str, &str) = ("ns_per_delivery", "ns");
const MEMBERS: [usize; 6] = [1, 10, 100, 1000, 10_000, 100_000];
const MANY: [usize; 7] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000];
/// Members of the session that is measured while others grow.
const FEW: usize = 10;
/// Between two drains: what fits in the first block of a hundred thousand queues, three times over.
const CALLS: usize = 16;

pub(crate) fn run(scale: Scale) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for members in scale.pick(&MEMBERS) {
        rows.extend(in_one_session("growing=members", members, members, 0, scale)?);
    }
    for clients in scale.pick(&MANY) {
        rows.extend(in_one_session("growing=clients", clients, FEW, clients, scale)?);
    }
    for sessions in scale.pick(&MANY) {
        rows.extend(in_turn(sessions, scale)?);
    }
    Ok(rows)
}

/// Deliveries to one session of `members`, with `others` registered beside them.
fn in_one_session(
    case: &str,
    n: usize,
    members: usize,
    others: usize,
    scale: Scale,
) -> anyhow::Result<Vec<Row>> {
    let mut contest = Contest::new("scale", case, n, METRIC, "floor");
    let messages = || vec![peer::message(4096)];
    let (senders, queues) = peer::queues(members, DEPTH);
    let mut floor = Room::new(Floor(senders), queues, messages()).draining_after(CALLS);
    contest.enter("floor", move || floor.sample(scale.at_least()));

    let (senders, queues) = peer::queues(members, DEPTH);
    let registry = peer::registry_with(senders);
    let _idle = crowd(&registry, others)?;
    let mut publisher =
        Room::new(ByPublisher(registry.publisher(SessionId::from(SESSION))), queues, messages())
            .draining_after(CALLS);
    contest.enter("fugue-publisher", move || publisher.sample(scale.at_least()));

    let (senders, queues) = peer::queues(members, DEPTH);
    let registry = peer::registry_with(senders);
    let _idle_too = crowd(&registry, others)?;
    let mut broadcast = Room::new(BySession(registry), queues, messages()).draining_after(CALLS);
    contest.enter("fugue-broadcast", move || broadcast.sample(scale.at_least()));

    let (senders, queues) = peer::queues(members, DEPTH);
    let maps = <TwoDashMaps>::with(senders);
    let (sender, _idle_as_well) = tokio::sync::mpsc::channel(1);
    for id in (1_u64 << 32..).take(others) {
        maps.register(id, sender.clone());
    }
    let mut maps = Room::new(maps, queues, messages()).draining_after(CALLS);
    contest.enter("two-dashmaps", move || maps.sample(scale.at_least()));
    Ok(contest.run(scale.rounds))
}

/// Registers `others`, attached to nothing, and hands back the queue they share.
fn crowd(registry: &ClientRegistry<Bytes>, others: usize) -> anyhow::Result<Receiver<Bytes>> {
    let (sender, queue) = tokio::sync::mpsc::channel(1);
    for _ in 0..others {
        registry.register_client(registry.next_client_id(), sender.clone())?;
    }
    Ok(queue)
}

/// Deliveries to many sessions in turn, each of one member.
fn in_turn(sessions: usize, scale: Scale) -> anyhow::Result<Vec<Row>> {
    let mut contest = Contest::new("scale", "growing=sessions", sessions, METRIC, "floor");
    let message = peer::message(4096);

    let mut turn = Turn::new(sessions);
    let (senders, mut queues) = peer::queues(turn.queues(), DEPTH);
    // A sender for each session, as the registries have.
    let each: Vec<Sender<Bytes>> = senders.iter().cycle().take(sessions).cloned().collect();
    let offered = message.clone();
    contest.enter("floor", move || {
        turn.sample(&mut queues, scale, |session| {
            usize::from(each[session].try_send(offered.clone()).is_ok())
        })
    });

    let mut turn = Turn::new(sessions);
    let (senders, mut queues) = peer::queues(turn.queues(), DEPTH);
    let maps = <TwoDashMaps>::default();
    for session in 0..sessions {
        maps.register(session as u64, senders[session % senders.len()].clone());
        maps.attach(session as u64, session as u64);
    }
    let offered = message.clone();
    contest.enter("two-dashmaps", move || {
        turn.sample(&mut queues, scale, |session| maps.broadcast(session as u64, &offered))
    });

    let mut turn = Turn::new(sessions);
    let (senders, mut queues) = peer::queues(turn.queues(), DEPTH);
    let registry = ClientRegistry::new();
    for session in 0..sessions {
        let client = registry.next_client_id();
        registry.register_client(client, senders[session % senders.len()].clone())?;
        registry.attach_to_session(client, SessionId::from(session as u64))?;
    }
    contest.enter("fugue-broadcast", move || {
        turn.sample(&mut queues, scale, |session| {
            registry.broadcast_to_session(SessionId::from(session as u64), message.clone()).sent as usize
        })
    });
    Ok(contest.run(scale.rounds))
}

/// Sessions one after another, in an order that no cache can guess.
struct Turn {
    sessions: usize,
    next: usize,
}

impl Turn {
    /// Odd and not a multiple of five, so it has no factor in common with a power of ten and meets every session.
    const STRIDE: usize = 618_033_989;
    /// Sessions share queues beyond this many.
    const QUEUES: usize = 1000;

    fn new(sessions: usize) -> Self {
        Self { sessions, next: 0 }
    }

    fn queues(&self) -> usize {
        self.sessions.min(Self::QUEUES)
    }

    /// Nanoseconds per delivery of `send`, called with one session after another.
    fn sample(
        &mut self,
        queues: &mut [Receiver<Bytes>],
        scale: Scale,
        send: impl Fn(usize) -> usize,
    ) -> anyhow::Result<f64> {
        let (mut spent, mut made) = (Duration::ZERO, 0);
        while spent < scale.at_least() {
            // The stride meets every residue equally often, so each queue gets half of what it has room for.
            let calls = DEPTH / 2 * queues.len();
            let mut sent = 0;
            let start = Instant::now();
            for _ in 0..calls {
                sent += send(self.next);
                self.next = (self.next + Self::STRIDE) % self.sessions;
            }
            spent += start.elapsed();
            made += sent;
            let received: usize =
                queues.iter_mut().map(|queue| std::iter::from_fn(|| queue.try_recv().ok()).count()).sum();
            ensure!(
                sent == calls && received == calls,
                "{calls} asked for, {sent} sent, {received} received"
            );
        }
        Ok(spent.as_nanos() as f64 / made as f64)
    }
}
