//! The carrier of the tests: in this process, in virtual time, with faults that a seed repeats.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use super::{
    carrier::{Carrier, CarrierEvent, CarrierMessage},
    subject::{Class, Lane, NodeName},
};
use crate::random::Random;

/// What goes wrong.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    /// Percent of messages that are lost, and that come twice.
    pub(crate) lost: u64,
    pub(crate) twice: u64,
    /// The most that one is delayed, in milliseconds. Lanes are delayed by themselves, so that one overtakes the other.
    pub(crate) delay_ms: u64,
    /// From when to when the nodes are in two parts: those of the set, as bits, and the others.
    pub(crate) partitions: Vec<(Duration, Duration, u64)>,
    /// From when to when a node takes nothing.
    pub(crate) stopped: Vec<(Duration, Duration, usize)>,
    /// When a node's connection is lost, and when it has another one.
    pub(crate) disconnected: Vec<(Duration, Duration, usize)>,
    /// How many bytes a node takes in a millisecond.
    pub(crate) bytes_per_ms: Vec<u64>,
    pub(crate) max_payload: usize,
}

impl Faults {
    /// Nothing goes wrong.
    pub(crate) fn none(nodes: usize) -> Self {
        Self {
            lost: 0,
            twice: 0,
            delay_ms: 0,
            partitions: Vec::new(),
            stopped: Vec::new(),
            disconnected: Vec::new(),
            bytes_per_ms: vec![1_000_000; nodes],
            max_payload: 1024 * 1024,
        }
    }

    fn is_in(spans: &[(Duration, Duration, usize)], now: Duration, node: usize) -> bool {
        spans.iter().any(|(from, to, which)| *which == node && (*from..*to).contains(&now))
    }

    pub(crate) fn is_stopped(&self, now: Duration, node: usize) -> bool {
        Self::is_in(&self.stopped, now, node)
    }

    fn are_apart(&self, now: Duration, a: usize, b: usize) -> bool {
        let side = |set: u64, node: usize| set >> node & 1;
        self.partitions
            .iter()
            .any(|(from, to, set)| (*from..*to).contains(&now) && side(*set, a) != side(*set, b))
    }
}

/// Messages of one lane that a node may have on its way to another before they are lost: a broker's slow consumer.
const MAX_ON_WAY: usize = 256;

/// What is on its way over all.
pub(crate) struct Bus {
    pub(crate) now: Duration,
    names: Vec<NodeName>,
    faults: Faults,
    dice: Random,
    /// By the time that it comes, and a count.
    on_way: BTreeMap<(Duration, u64), (usize, Lane, CarrierEvent)>,
    count: u64,
    /// When the last message of a lane from one to another comes; when a node has taken all that was sent to it.
    last: HashMap<(usize, usize, Lane), Duration>,
    busy: HashMap<(usize, Lane), Duration>,
    waiting: HashMap<(usize, Lane), usize>,
    connected: Vec<Option<bool>>,
    /// Bytes of each stream that are on their way, and the most there were.
    in_flight: HashMap<u64, usize>,
    pub(crate) most_in_flight: usize,
    /// Messages of each class, by name.
    pub(crate) counts: BTreeMap<&'static str, u64>,
}

impl Bus {
    pub(crate) fn new(names: Vec<NodeName>, faults: Faults, seed: u64) -> Rc<RefCell<Self>> {
        let connected = vec![None; names.len()];
        Rc::new(RefCell::new(Self {
            now: Duration::ZERO,
            names,
            faults,
            dice: Random::new(seed),
            on_way: BTreeMap::new(),
            count: 0,
            last: HashMap::new(),
            busy: HashMap::new(),
            waiting: HashMap::new(),
            connected,
            in_flight: HashMap::new(),
            most_in_flight: 0,
            counts: BTreeMap::new(),
        }))
    }

    /// When the next message comes, or a connection is lost or made.
    pub(crate) fn due(&self) -> Option<Duration> {
        let first = self.on_way.first_key_value().map(|((at, _), _)| *at);
        let changes = self.faults.disconnected.iter().flat_map(|(from, to, _)| [*from, *to]);
        let stops = self.faults.stopped.iter().map(|(_, to, _)| *to);
        first.into_iter().chain(changes.chain(stops).filter(|at| *at > self.now)).min()
    }

    /// A node has another connection.
    pub(crate) fn lose_connection(&mut self, node: usize) {
        self.connected[node] = None;
    }

    /// Bytes of streams that are on their way to a node.
    pub(crate) fn in_flight_to(&self, node: usize) -> usize {
        let bytes = |(to, lane, event): &(usize, Lane, CarrierEvent)| match event {
            CarrierEvent::Message(message) if *to == node && *lane == Lane::Bulk => message.payload.len(),
            _ => 0,
        };
        self.on_way.values().map(bytes).sum()
    }

    fn publish(&mut self, from: usize, message: CarrierMessage) {
        let class = match message.subject.class {
            Class::Read => "read",
            Class::Write => "write",
            Class::Reply(_) => "reply",
            Class::Stream(_) => "stream",
            Class::Beat => "beat",
            Class::Ask => "ask",
        };
        *self.counts.entry(class).or_default() += 1;
        let receivers: Vec<_> = match &message.subject.to {
            Some(to) => (0..self.names.len()).filter(|node| self.names[*node] == *to).collect(),
            None => (0..self.names.len()).collect(),
        };
        let is_there = |node: &usize| self.connected[*node] == Some(true);
        if let (Some(to), Some(reply), false) =
            (&message.subject.to, message.reply, receivers.iter().any(is_there))
        {
            let event = CarrierEvent::NobodyThere { to: to.clone(), reply };
            return self.schedule(self.now, from, Lane::Quick, event);
        }
        for to in receivers {
            let is_lost = self.dice.percent(self.faults.lost) && to != from;
            if is_lost || self.faults.are_apart(self.now, from, to) || self.connected[to] != Some(true) {
                continue;
            }
            self.carry(from, to, &message);
            if self.dice.percent(self.faults.twice) {
                let late = self.now + self.dice.ms(1000);
                self.deliver(late, to, message.clone());
            }
        }
    }

    /// A message comes after those of its lane before it, and once its node has taken them.
    fn carry(&mut self, from: usize, to: usize, message: &CarrierMessage) {
        let lane = message.subject.class.lane();
        let delay = self.dice.ms(self.faults.delay_ms);
        let last = self.last.entry((from, to, lane)).or_default();
        let busy = self.busy.entry((to, lane)).or_default();
        let took = Duration::from_millis(message.payload.len() as u64 / self.faults.bytes_per_ms[to]);
        let at = (self.now + delay).max(*last).max(*busy + took);
        (*last, *busy) = (at, at);
        self.deliver(at, to, message.clone());
    }

    fn deliver(&mut self, at: Duration, to: usize, message: CarrierMessage) {
        let lane = message.subject.class.lane();
        let waiting = self.waiting.entry((to, lane)).or_default();
        if *waiting == MAX_ON_WAY {
            return;
        }
        *waiting += 1;
        if let Class::Stream(number) = message.subject.class {
            let in_flight = self.in_flight.entry(number).or_default();
            *in_flight += message.payload.len();
            self.most_in_flight = self.most_in_flight.max(*in_flight);
        }
        self.schedule(at, to, lane, CarrierEvent::Message(message));
    }

    fn schedule(&mut self, at: Duration, to: usize, lane: Lane, event: CarrierEvent) {
        self.count += 1;
        self.on_way.insert((at, self.count), (to, lane, event));
    }

    /// The next thing for a node.
    fn next(&mut self, node: usize) -> Option<CarrierEvent> {
        let is_connected = !Faults::is_in(&self.faults.disconnected, self.now, node);
        if self.connected[node] != Some(is_connected) {
            self.connect(node, is_connected);
        }
        let now = self.now;
        let mut due = self.on_way.iter().take_while(|((at, _), _)| *at <= now);
        let key = *due.find(|(_, (to, ..))| *to == node)?.0;
        let (_, lane, event) = self.on_way.remove(&key)?;
        if let CarrierEvent::Message(message) = &event {
            if let Some(waiting) = self.waiting.get_mut(&(node, lane)) {
                *waiting -= 1;
            }
            if let Class::Stream(number) = message.subject.class
                && let Some(in_flight) = self.in_flight.get_mut(&number)
            {
                *in_flight -= message.payload.len();
            }
        }
        Some(event)
    }

    /// What was on its way to a node whose connection is another one is lost.
    fn connect(&mut self, node: usize, is_connected: bool) {
        self.on_way.retain(|_, (to, _, event)| *to != node || !matches!(event, CarrierEvent::Message(_)));
        let on_way = self.on_way.values().filter_map(|(_, _, event)| match event {
            CarrierEvent::Message(message) => Some(message),
            _ => None,
        });
        self.in_flight.clear();
        for message in on_way {
            if let Class::Stream(number) = message.subject.class {
                *self.in_flight.entry(number).or_default() += message.payload.len();
            }
        }
        self.connected[node] = Some(is_connected);
        for lane in Lane::ALL {
            self.waiting.insert((node, lane), 0);
            let max_payload = self.faults.max_payload;
            let event = match is_connected {
                true => CarrierEvent::Connected { lane, max_payload },
                false => CarrierEvent::Disconnected { lane },
            };
            self.schedule(self.now, node, lane, event);
        }
    }
}

/// A node's place on the bus.
pub(crate) struct BusPort {
    pub(crate) bus: Rc<RefCell<Bus>>,
    pub(crate) node: usize,
    /// How many messages it may send at one moment.
    pub(crate) room: usize,
}

impl Carrier for BusPort {
    fn has_room(&self, _lane: Lane) -> bool {
        self.room > 0
    }

    fn publish(&mut self, message: CarrierMessage) {
        self.room -= 1;
        self.bus.borrow_mut().publish(self.node, message);
    }

    fn poll_event(&mut self, _context: &mut Context<'_>) -> Poll<CarrierEvent> {
        self.bus.borrow_mut().next(self.node).map_or(Poll::Pending, Poll::Ready)
    }
}
