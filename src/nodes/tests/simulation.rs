//! Nodes with their servers, on one bus.

use std::{cell::RefCell, rc::Rc, task::Poll, time::Duration};

use super::model::{ModelServer, ModelSession};
use crate::{
    SessionId,
    nodes::{
        allow::AllowList,
        bus::{Bus, BusPort, Faults},
        carrier::Carrier,
        core::{NodeCore, Report},
        message::Incarnation,
        subject::{Lane, NodeName},
        window::POOL,
    },
    random::Random,
};

/// A node and its server.
pub(super) struct SimulatedNode {
    pub(super) core: NodeCore,
    pub(super) port: BusPort,
    pub(super) server: ModelServer,
    pub(super) reports: Vec<Report>,
}

/// All nodes.
pub(super) struct Simulation {
    pub(super) now: Duration,
    pub(super) bus: Rc<RefCell<Bus>>,
    pub(super) nodes: Vec<SimulatedNode>,
    pub(super) faults: Faults,
    pub(super) dice: Random,
}

pub(super) fn name(node: usize) -> NodeName {
    format!("n{node}").parse().unwrap()
}

impl Simulation {
    pub(super) fn new(nodes: usize, faults: Faults, seed: u64) -> Self {
        let names: Vec<_> = (0..nodes).map(name).collect();
        Self::of(&names, faults, seed)
    }

    pub(super) fn of(names: &[NodeName], faults: Faults, seed: u64) -> Self {
        let bus = Bus::new(names.to_vec(), faults.clone(), seed ^ 1);
        let mut dice = Random::new(seed);
        let node = |(at, name): (usize, &NodeName)| SimulatedNode {
            core: NodeCore::new(
                Duration::ZERO,
                name.clone(),
                Incarnation(dice.number()),
                AllowList::everything(),
            ),
            port: BusPort { bus: Rc::clone(&bus), node: at, room: 0 },
            server: ModelServer::default(),
            reports: Vec::new(),
        };
        let nodes = names.iter().enumerate().map(node).collect();
        Self { now: Duration::ZERO, bus, nodes, faults, dice }
    }

    /// A session on a node.
    pub(super) fn session(&mut self, node: usize, is_lossless: bool) -> SessionId {
        // As a server draws it, and the same for one seed.
        let bits = u128::from(self.dice.number()) << 64 | u128::from(self.dice.number());
        let id =
            SessionId::from(uuid::Builder::from_u128(bits).with_version(uuid::Version::Random).into_uuid());
        self.nodes[node].server.sessions.push(ModelSession::new(id, is_lossless));
        id
    }

    /// Another run of a node, without what it knew.
    pub(super) fn restart(&mut self, node: usize) {
        let incarnation = Incarnation(self.dice.number());
        let core = NodeCore::new(self.now, name(node), incarnation, AllowList::everything());
        self.nodes[node].core = core;
        self.bus.borrow_mut().lose_connection(node);
    }

    /// Lets all nodes do what they can at this moment.
    fn settle(&mut self) {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        for node in &mut self.nodes {
            node.port.room = 100;
        }
        let mut is_busy = true;
        while is_busy {
            is_busy = false;
            for (at, node) in self.nodes.iter_mut().enumerate() {
                if self.faults.is_stopped(self.now, at) {
                    continue;
                }
                while let Poll::Ready(event) = node.port.poll_event(&mut context) {
                    is_busy = true;
                    node.core.handle_carrier(self.now, event);
                }
                node.core.tick(self.now);
                while let Some(command) = node.core.next_local() {
                    is_busy = true;
                    node.server.command(self.now, command, &mut self.dice);
                }
                node.reports.extend(std::iter::from_fn(|| node.core.next_report()));
                is_busy |= node.server.speak(self.now, &mut node.core);
                for lane in Lane::ALL {
                    while node.port.has_room(lane)
                        && let Some(message) = node.core.poll_publish(self.now, lane)
                    {
                        is_busy = true;
                        node.port.publish(message);
                    }
                }
                for stream in node.core.hosted_streams() {
                    let (sent, limit) = stream.sent_and_limit();
                    assert!(sent <= limit, "a host keeps to its credit");
                }
                assert!(node.core.pool_left() <= POOL);
            }
        }
    }

    /// Goes on to the next moment at which anything happens, or until then.
    pub(super) fn step(&mut self, until: Duration) {
        self.settle();
        let due = |(at, node): (usize, &SimulatedNode)| {
            let due = Some(node.core.due()).into_iter().chain(node.server.due()).min();
            due.filter(|_| !self.faults.is_stopped(self.now, at))
        };
        let next = self.nodes.iter().enumerate().filter_map(due).chain(self.bus.borrow().due()).min();
        // What is due and can't be done has no room: it is tried again a moment later.
        let next = next.unwrap_or(until).max(self.now + Duration::from_millis(1)).min(until);
        self.now = next.max(self.now);
        self.bus.borrow_mut().now = self.now;
    }

    pub(super) fn run_until(&mut self, until: Duration) {
        while self.now < until {
            self.step(until);
        }
        self.settle();
    }
}
