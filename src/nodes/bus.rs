//! The carrier of the tests: in this process, in virtual time, with faults that a seed repeats.
//!
//! What is on its way waits in a queue of its receiver, and each node is woken when something comes for it: so a
//! thousand nodes cost no more than what they say.

use std::{
    cell::RefCell,
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
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
    /// Messages of one lane that a node may have on its way before more are lost: a broker's slow consumer.
    pub(crate) most_waiting: usize,
    pub(crate) cluster: Cluster,
}

/// The brokers, and what a message costs each of them. A node is at the broker of its number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cluster {
    pub(crate) brokers: usize,
    /// Nanoseconds that it takes to read or to write a message, and a KiB.
    pub(crate) message_ns: u64,
    pub(crate) kib_ns: u64,
    /// Messages come at multiples of this, so that a node has fewer turns.
    pub(crate) grain: Duration,
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
            most_waiting: 256,
            cluster: Cluster { brokers: 1, message_ns: 0, kib_ns: 0, grain: Duration::from_nanos(1) },
        }
    }

    /// Until when a node takes nothing, if it does not now.
    pub(crate) fn stopped_until(&self, now: Duration, node: usize) -> Option<Duration> {
        let spans =
            self.stopped.iter().filter(|(from, to, which)| *which == node && (*from..*to).contains(&now));
        spans.map(|(_, to, _)| *to).max()
    }

    fn are_apart(&self, now: Duration, a: usize, b: usize) -> bool {
        let side = |set: u64, node: usize| set >> node & 1;
        self.partitions
            .iter()
            .any(|(from, to, set)| (*from..*to).contains(&now) && side(*set, a) != side(*set, b))
    }
}

/// Messages, and their bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

impl Tally {
    fn add(&mut self, messages: u64, bytes: u64) {
        self.messages += messages;
        self.bytes += messages * bytes;
    }
}

/// Kinds of messages, as they are counted.
pub(crate) const CLASSES: [&str; 6] = ["read", "write", "reply", "stream", "beat", "ask"];

fn class(message: &CarrierMessage) -> usize {
    match message.subject.class {
        Class::Read => 0,
        Class::Write => 1,
        Class::Reply(_) => 2,
        Class::Stream(_) => 3,
        Class::Beat => 4,
        Class::Ask => 5,
    }
}

/// What the protocol of a broker adds to a payload, about: a subject, perhaps another for answers, and a length.
const AROUND: u64 = 64;

/// A broker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Broker {
    /// When it has read and written all that it was given.
    busy: Duration,
    /// What it read and wrote, by class.
    pub(crate) passed: [Tally; 6],
    /// In this second, and the most in any.
    second: u64,
    this: Tally,
    pub(crate) most: Tally,
    /// The longest that something waited for it.
    pub(crate) longest: Duration,
}

/// A node's side of the bus.
#[derive(Default)]
struct Inbox {
    /// By the time that it comes, and a count.
    on_way: BTreeMap<(Duration, u64), (Lane, CarrierEvent)>,
    /// When the node has taken all that was sent to it, of each lane, and how many messages it has not.
    busy: [Duration; 2],
    waiting: [usize; 2],
    /// Bytes of streams that it has not taken, and the most there were.
    bytes: usize,
    most_bytes: usize,
    is_connected: Option<bool>,
    disconnected: Vec<(Duration, Duration)>,
    /// When it is woken next.
    wake: Option<Duration>,
    came: [Tally; 6],
}

/// What is on its way over all.
pub(crate) struct Bus {
    pub(crate) now: Duration,
    names: HashMap<NodeName, Vec<usize>>,
    faults: Faults,
    dice: Random,
    inboxes: Vec<Inbox>,
    brokers: Vec<Broker>,
    /// In the order in which they were asked for, those of one moment.
    wakes: BinaryHeap<Reverse<(Duration, u64, usize)>>,
    count: u64,
    /// Bytes of each stream that are on their way, and the most there were.
    in_flight: HashMap<u64, usize>,
    pub(crate) most_in_flight: usize,
    /// Messages that found no room at their node.
    pub(crate) overrun: u64,
}

impl Bus {
    pub(crate) fn new(names: &[NodeName], faults: Faults, seed: u64) -> Rc<RefCell<Self>> {
        let mut by_name: HashMap<_, Vec<usize>> = HashMap::new();
        let mut inboxes: Vec<Inbox> = names.iter().map(|_| Inbox::default()).collect();
        for (node, name) in names.iter().enumerate() {
            by_name.entry(name.clone()).or_default().push(node);
        }
        for (from, to, node) in &faults.disconnected {
            inboxes[*node].disconnected.push((*from, *to));
        }
        Rc::new(RefCell::new(Self {
            now: Duration::ZERO,
            names: by_name,
            dice: Random::new(seed),
            inboxes,
            brokers: vec![Broker::default(); faults.cluster.brokers],
            faults,
            wakes: BinaryHeap::new(),
            count: 0,
            in_flight: HashMap::new(),
            most_in_flight: 0,
            overrun: 0,
        }))
    }

    /// Wakes a node then, if it is not woken before.
    pub(crate) fn wake(&mut self, node: usize, at: Duration) {
        let wake = &mut self.inboxes[node].wake;
        if wake.is_none_or(|before| at < before) {
            *wake = Some(at);
            self.count += 1;
            self.wakes.push(Reverse((at, self.count, node)));
        }
    }

    /// The next node that is woken, if that is no later than this. It becomes that time.
    pub(crate) fn next_awake(&mut self, until: Duration) -> Option<usize> {
        loop {
            let Reverse((at, _, node)) = *self.wakes.peek().filter(|Reverse((at, ..))| *at <= until)?;
            self.wakes.pop();
            // Another wake may have come before it.
            if self.inboxes[node].wake.take_if(|wake| *wake == at).is_some() {
                self.now = self.now.max(at);
                return Some(node);
            }
        }
    }

    /// When the next message comes to a node, or its connection is lost or made.
    pub(crate) fn due(&self, node: usize) -> Option<Duration> {
        let inbox = &self.inboxes[node];
        let first = inbox.on_way.first_key_value().map(|((at, _), _)| *at);
        let changes = inbox.disconnected.iter().flat_map(|(from, to)| [*from, *to]);
        first.into_iter().chain(changes.filter(|at| *at > self.now)).min()
    }

    /// A node has another connection.
    pub(crate) fn lose_connection(&mut self, node: usize) {
        self.inboxes[node].is_connected = None;
        self.wake(node, self.now);
    }

    /// A node's connection is lost from now on until then.
    pub(crate) fn disconnect(&mut self, node: usize, until: Duration) {
        let now = self.now;
        self.inboxes[node].disconnected = vec![(now, until)];
        self.wake(node, now);
    }

    /// Bytes of streams that are on their way to a node.
    pub(crate) fn in_flight_to(&self, node: usize) -> usize {
        self.inboxes[node].bytes
    }

    /// The most bytes of streams that were on their way to one node.
    pub(crate) fn most_in_flight_to_one(&self) -> usize {
        self.inboxes.iter().map(|inbox| inbox.most_bytes).max().unwrap_or(0)
    }

    pub(crate) fn brokers(&self) -> &[Broker] {
        &self.brokers
    }

    /// What came to each node, by class.
    pub(crate) fn came(&self) -> impl Iterator<Item = &[Tally; 6]> {
        self.inboxes.iter().map(|inbox| &inbox.came)
    }

    fn publish(&mut self, from: usize, message: &CarrierMessage) {
        let receivers = match &message.subject.to {
            Some(to) => self.names.get(to).cloned().unwrap_or_default(),
            None => (0..self.inboxes.len()).collect(),
        };
        let is_there = |node: &usize| self.inboxes[*node].is_connected == Some(true);
        if let (Some(to), Some(reply), false) =
            (&message.subject.to, message.reply, receivers.iter().any(is_there))
        {
            let event = CarrierEvent::NobodyThere { to: to.clone(), reply };
            return self.schedule(self.now, from, Lane::Quick, event);
        }
        let receivers: Vec<_> = receivers.into_iter().filter(is_there).collect();
        let passed = self.pass(from, &receivers, message);
        for to in receivers {
            let is_lost = self.dice.percent(self.faults.lost) && to != from;
            if is_lost || self.faults.are_apart(self.now, from, to) {
                continue;
            }
            let at = self.carry(passed[to % self.brokers.len()], to, message);
            if self.dice.percent(self.faults.twice) {
                // Not before the first: a carrier may repeat, and does not overtake itself.
                let late = at + self.dice.ms(1000);
                self.deliver(late, to, message.clone());
            }
        }
    }

    /// Each broker reads a message once, and writes it to those of its nodes that it is for. When each has.
    fn pass(&mut self, from: usize, receivers: &[usize], message: &CarrierMessage) -> Vec<Duration> {
        let Cluster { brokers, message_ns, kib_ns, .. } = self.faults.cluster;
        let bytes = AROUND + message.payload.len() as u64;
        let mut copies = vec![0; brokers];
        receivers.iter().for_each(|to| copies[to % brokers] += 1);
        let own = from % brokers;
        let others: Vec<_> = (0..brokers).filter(|broker| *broker != own && copies[*broker] > 0).collect();
        copies[own] += others.len() as u64;
        let mut passed = vec![self.now; brokers];
        for broker in std::iter::once(own).chain(others) {
            let parts = copies[broker] + 1;
            let entry = &mut self.brokers[broker];
            let cost = Duration::from_nanos(parts * (message_ns + kib_ns * bytes / 1024));
            entry.busy = entry.busy.max(self.now) + cost;
            entry.longest = entry.longest.max(entry.busy - self.now);
            entry.passed[class(message)].add(parts, bytes);
            if std::mem::replace(&mut entry.second, self.now.as_secs()) != self.now.as_secs() {
                entry.this = Tally::default();
            }
            entry.this.add(parts, bytes);
            entry.most.messages = entry.most.messages.max(entry.this.messages);
            entry.most.bytes = entry.most.bytes.max(entry.this.bytes);
            // Another one gets it from the first, and does other things until then.
            passed[broker] = entry.busy.max(passed[own]);
        }
        passed
    }

    /// A message comes after those of its lane before it, and once its node has taken them. When that is.
    fn carry(&mut self, passed: Duration, to: usize, message: &CarrierMessage) -> Duration {
        let lane = message.subject.class.lane();
        let delay = self.dice.ms(self.faults.delay_ms);
        let took = Duration::from_millis(message.payload.len() as u64 / self.faults.bytes_per_ms[to]);
        let grain = self.faults.cluster.grain.as_nanos();
        let busy = &mut self.inboxes[to].busy[lane as usize];
        let at = (passed + delay).max(*busy + took).as_nanos().div_ceil(grain) * grain;
        *busy = Duration::from_nanos(u64::try_from(at).expect("some hundred years"));
        let at = *busy;
        self.deliver(at, to, message.clone());
        at
    }

    fn deliver(&mut self, at: Duration, to: usize, message: CarrierMessage) {
        let lane = message.subject.class.lane();
        let inbox = &mut self.inboxes[to];
        if inbox.waiting[lane as usize] == self.faults.most_waiting {
            self.overrun += 1;
            return;
        }
        inbox.waiting[lane as usize] += 1;
        inbox.came[class(&message)].add(1, AROUND + message.payload.len() as u64);
        if let Class::Stream(number) = message.subject.class {
            let in_flight = self.in_flight.entry(number).or_default();
            *in_flight += message.payload.len();
            self.most_in_flight = self.most_in_flight.max(*in_flight);
            inbox.bytes += message.payload.len();
            inbox.most_bytes = inbox.most_bytes.max(inbox.bytes);
        }
        self.schedule(at, to, lane, CarrierEvent::Message(message));
    }

    fn schedule(&mut self, at: Duration, to: usize, lane: Lane, event: CarrierEvent) {
        self.count += 1;
        self.inboxes[to].on_way.insert((at, self.count), (lane, event));
        self.wake(to, at);
    }

    /// The next thing for a node.
    fn next(&mut self, node: usize) -> Option<CarrierEvent> {
        let now = self.now;
        let inbox = &self.inboxes[node];
        let is_connected = !inbox.disconnected.iter().any(|(from, to)| (*from..*to).contains(&now));
        if inbox.is_connected != Some(is_connected) {
            self.connect(node, is_connected);
        }
        let inbox = &mut self.inboxes[node];
        let first = inbox.on_way.first_entry().filter(|entry| entry.key().0 <= now)?;
        let (lane, event) = first.remove();
        if let CarrierEvent::Message(message) = &event {
            inbox.waiting[lane as usize] -= 1;
            self.arrived(node, message);
        }
        Some(event)
    }

    /// It is on its way no longer.
    fn arrived(&mut self, node: usize, message: &CarrierMessage) {
        if let Class::Stream(number) = message.subject.class
            && let Some(in_flight) = self.in_flight.get_mut(&number)
        {
            self.inboxes[node].bytes -= message.payload.len();
            *in_flight -= message.payload.len();
            if *in_flight == 0 {
                self.in_flight.remove(&number);
            }
        }
    }

    /// What was on its way to a node whose connection is another one is lost.
    fn connect(&mut self, node: usize, is_connected: bool) {
        let inbox = &mut self.inboxes[node];
        let (messages, others) = std::mem::take(&mut inbox.on_way)
            .into_iter()
            .partition(|(_, (_, event))| matches!(event, CarrierEvent::Message(_)));
        inbox.on_way = others;
        (inbox.is_connected, inbox.waiting) = (Some(is_connected), [0; 2]);
        let messages: BTreeMap<_, _> = messages;
        for (_, event) in messages.into_values() {
            if let CarrierEvent::Message(message) = event {
                self.arrived(node, &message);
            }
        }
        for lane in Lane::ALL {
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
        self.bus.borrow_mut().publish(self.node, &message);
    }

    fn poll_event(&mut self, _context: &mut Context<'_>) -> Poll<CarrierEvent> {
        self.bus.borrow_mut().next(self.node).map_or(Poll::Pending, Poll::Ready)
    }
}
