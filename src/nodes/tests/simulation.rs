//! Nodes with their servers, on one bus. Each has its turn when something is due for it.

use std::{cell::RefCell, rc::Rc, task::Poll, time::Duration};

use super::model::{ModelServer, ModelSession};
use crate::{
    SessionId,
    nodes::{
        allow::AllowList,
        bus::{Bus, BusPort, Faults},
        carrier::Carrier,
        core::{LocalCommand, NodeCore, Report},
        message::Incarnation,
        subject::{Lane, NodeName},
        window::POOL,
    },
    random::Random,
};

/// A server as a node sees it.
pub(super) trait SimulatedServer: Default {
    /// When it has something to say.
    fn due(&self) -> Option<Duration>;

    /// Does what its node says.
    fn command(&mut self, now: Duration, command: LocalCommand, dice: &mut Random);

    /// Says what is due, and what its node wants to read. Whether there was anything.
    fn speak(&mut self, now: Duration, core: &mut NodeCore) -> bool;
}

impl SimulatedServer for ModelServer {
    fn due(&self) -> Option<Duration> {
        self.due()
    }

    fn command(&mut self, now: Duration, command: LocalCommand, dice: &mut Random) {
        self.command(now, command, dice);
    }

    fn speak(&mut self, now: Duration, core: &mut NodeCore) -> bool {
        self.speak(now, core)
    }
}

/// A node and its server.
pub(super) struct SimulatedNode<S> {
    pub(super) core: NodeCore,
    pub(super) port: BusPort,
    pub(super) server: S,
    pub(super) reports: Vec<(Duration, Report)>,
    /// When it had its last turn.
    turn: Option<Duration>,
}

/// All nodes.
pub(super) struct Simulation<S = ModelServer> {
    pub(super) now: Duration,
    pub(super) bus: Rc<RefCell<Bus>>,
    pub(super) nodes: Vec<SimulatedNode<S>>,
    pub(super) faults: Faults,
    pub(super) dice: Random,
}

pub(super) fn name(node: usize) -> NodeName {
    format!("n{node}").parse().unwrap()
}

/// The id of a session as a server draws it, and the same for one seed.
pub(super) fn session_id(dice: &mut Random) -> SessionId {
    let bits = u128::from(dice.number()) << 64 | u128::from(dice.number());
    SessionId::from(uuid::Builder::from_u128(bits).with_version(uuid::Version::Random).into_uuid())
}

impl Simulation {
    pub(super) fn new(nodes: usize, faults: Faults, seed: u64) -> Self {
        let names: Vec<_> = (0..nodes).map(name).collect();
        Self::of(&names, faults, seed)
    }

    /// A session on a node.
    pub(super) fn session(&mut self, node: usize, is_lossless: bool) -> SessionId {
        let id = session_id(&mut self.dice);
        self.nodes[node].server.sessions.push(ModelSession::new(id, is_lossless));
        id
    }

    /// Lets all have a turn, and goes on until then.
    pub(super) fn run_until(&mut self, until: Duration) {
        (0..self.nodes.len()).for_each(|node| self.touch(node));
        self.go_until(until);
    }
}

impl<S: SimulatedServer> Simulation<S> {
    pub(super) fn of(names: &[NodeName], faults: Faults, seed: u64) -> Self {
        let bus = Bus::new(names, faults.clone(), seed ^ 1);
        let mut dice = Random::new(seed);
        let node = |(at, name): (usize, &NodeName)| SimulatedNode {
            core: NodeCore::new(
                Duration::ZERO,
                name.clone(),
                Incarnation(dice.number()),
                AllowList::everything(),
            ),
            port: BusPort { bus: Rc::clone(&bus), node: at, room: 0 },
            server: S::default(),
            reports: Vec::new(),
            turn: None,
        };
        let nodes = names.iter().enumerate().map(node).collect();
        Self { now: Duration::ZERO, bus, nodes, faults, dice }
    }

    /// Another run of a node, without what it knew.
    pub(super) fn restart(&mut self, node: usize) {
        let incarnation = Incarnation(self.dice.number());
        let core = NodeCore::new(self.now, name(node), incarnation, AllowList::everything());
        self.nodes[node].core = core;
        self.bus.borrow_mut().lose_connection(node);
    }

    /// A node has a turn, because it was told something from outside.
    pub(super) fn touch(&mut self, node: usize) {
        self.bus.borrow_mut().wake(node, self.now);
    }

    /// Goes on until then, from one thing that is due to the next.
    pub(super) fn go_until(&mut self, until: Duration) {
        loop {
            let next = self.bus.borrow_mut().next_awake(until);
            let Some(node) = next else { break };
            self.now = self.bus.borrow().now;
            self.turn(node);
        }
        self.now = until;
        self.bus.borrow_mut().now = until;
    }

    /// A node does what it can at this moment.
    fn turn(&mut self, at: usize) {
        let Self { now, ref bus, ref mut nodes, ref faults, ref mut dice } = *self;
        let is_small = nodes.len() < 100;
        let node = &mut nodes[at];
        if let Some(until) = faults.stopped_until(now, at) {
            return bus.borrow_mut().wake(at, until);
        }
        if node.turn.replace(now) != Some(now) {
            node.port.room = 100;
        }
        let is_busy = node.do_some(now, dice);
        // Of many nodes, now and then: one may send a thousand streams.
        let is_looked_at = is_small || now.as_millis().is_multiple_of(100);
        for stream in node.core.hosted_streams().take_while(|_| is_looked_at) {
            let (sent, limit) = stream.sent_and_limit();
            assert!(sent <= limit, "a host keeps to its credit");
        }
        assert!(node.core.pool_left() <= POOL);
        let mut bus = bus.borrow_mut();
        let due = bus.due(at).into_iter().chain(node.server.due()).fold(node.core.due(), Duration::min);
        // What is due and can't be done has no room: it is tried again a moment later.
        let next = if is_busy { now } else { due.max(now + Duration::from_millis(1)) };
        bus.wake(at, next);
    }
}

impl<S: SimulatedServer> SimulatedNode<S> {
    /// Whether there was anything to do.
    fn do_some(&mut self, now: Duration, dice: &mut Random) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let mut is_busy = false;
        while let Poll::Ready(event) = self.port.poll_event(&mut context) {
            is_busy = true;
            self.core.handle_carrier(now, event);
        }
        self.core.tick(now);
        while let Some(command) = self.core.next_local() {
            is_busy = true;
            self.server.command(now, command, dice);
        }
        self.reports.extend(std::iter::from_fn(|| Some((now, self.core.next_report()?))));
        is_busy |= self.server.speak(now, &mut self.core);
        for lane in Lane::ALL {
            while self.port.has_room(lane)
                && let Some(message) = self.core.poll_publish(now, lane)
            {
                is_busy = true;
                self.port.publish(message);
            }
        }
        is_busy
    }
}
