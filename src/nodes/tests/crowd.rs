//! Many nodes at once: a cluster of brokers with bounds, sessions of which a few are watched everywhere and most from a
//! few nodes, lost messages, viewers and nodes that come and go, a host that is lost and a broker that is.
//!
//! Viewers are a count at a mirror: what a registry does for them is measured elsewhere. `cargo test` has a small
//! crowd; `FUGUE_NODES=1000` makes it a large one. Either prints what it cost.

mod figures;
mod server;

use std::{collections::HashSet, env, time::Duration};

use self::{
    figures::Figures,
    server::{CrowdServer, Pace},
};
use super::simulation::{Simulation, name, session_id};
use crate::{
    SessionId,
    nodes::{
        bus::{Cluster, Faults},
        core::LocalEvent,
        message::Begin,
    },
    random::Random,
};

/// How many of everything.
#[derive(Clone, Copy, Debug)]
struct CrowdSize {
    nodes: usize,
    brokers: usize,
    sessions: usize,
    viewers: usize,
    /// Sessions of others that each node watches.
    mirrors: usize,
}

impl CrowdSize {
    fn of(nodes: usize) -> Self {
        Self {
            nodes,
            brokers: (nodes / 100).max(2),
            sessions: 10 * nodes,
            viewers: if nodes < 1000 { 20 * nodes } else { 1000 * nodes },
            mirrors: if nodes < 1000 { 10 } else { 100 },
        }
    }
}

const fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A moment of the crowd.
const STEP: Duration = Duration::from_millis(50);

/// Until when all begins, when a broker is lost, when a host is, and when nothing is printed any more.
const BEGUN: Duration = at(10);
const BROKER_LOST: Duration = at(15);
const HOST_LOST: Duration = at(25);
const QUIET: Duration = at(35);

/// That host, with one of the most popular sessions, at another broker than that which is lost.
const LOST_HOST: usize = 1;

/// Long enough to miss a host that nobody watches, and for all that was lost to be sent again.
fn end(size: CrowdSize) -> Duration {
    QUIET + at(10) + Duration::from_secs(size.nodes as u64 * 5 / 2 / 64)
}

/// A session and where it is.
#[derive(Clone, Copy)]
struct Place {
    host: usize,
    session: SessionId,
}

struct Crowd {
    size: CrowdSize,
    simulation: Simulation<CrowdServer>,
    places: Vec<Place>,
    dice: Random,
    figures: Figures,
}

impl Crowd {
    fn new(size: CrowdSize, seed: u64) -> Self {
        let mut faults = Faults::none(size.nodes);
        faults.lost = 1;
        faults.most_waiting = 65_536;
        faults.bytes_per_ms = vec![125_000; size.nodes];
        // 500,000 messages and 500 MiB a second, read and written.
        let grain = Duration::from_micros(500);
        faults.cluster = Cluster { brokers: size.brokers, message_ns: 2000, kib_ns: 2000, grain };
        let names: Vec<_> = (0..size.nodes).map(name).collect();
        let mut dice = Random::new(seed ^ 3);
        let mut simulation: Simulation<CrowdServer> = Simulation::of(&names, faults, seed);
        let mut places = Vec::new();
        for number in 0..size.sessions {
            let (host, session) = (number % size.nodes, session_id(&mut dice));
            // Of a thousand one floods, 20 print all the time, and 180 now and then.
            let pace = match (number * 7919 + number / size.nodes * 37) % 1000 {
                500 => Pace::Flood,
                at if at < 20 => Pace::Steady,
                at if at < 200 => Pace::Some,
                _ => Pace::Little,
            };
            simulation.nodes[host].server.begin(session, pace, dice.ms(1000));
            places.push(Place { host, session });
        }
        Self { size, simulation, places, dice, figures: Figures::default() }
    }

    /// One of the sessions: each is watched as often as it comes early in their list.
    fn popular(&mut self) -> Place {
        let most = (self.places.len() as f64).ln();
        let drawn = (self.dice.below(1 << 32) as f64 / (1_u64 << 32) as f64 * most).exp();
        self.places[(drawn as usize).min(self.places.len()) - 1]
    }

    /// A node begins to watch another session, with one of its viewers.
    fn watch(&mut self, node: usize) {
        for _ in 0..50 {
            let Place { host, session } = self.popular();
            if host == node || self.simulation.nodes[node].server.watches(session) {
                continue;
            }
            let now = self.simulation.now;
            let parts = &mut self.simulation.nodes[node];
            match parts.core.watch(now, &name(host), session, Begin::Screen) {
                Ok(mirror) => {
                    let viewers = self.size.viewers / self.size.nodes / self.size.mirrors;
                    parts.server.expect(mirror, (host, session), viewers, self.dice.one_in(10));
                }
                Err(_) => self.figures.refused += 1,
            }
            break;
        }
        self.simulation.touch(node);
    }

    /// The last viewer of a mirror goes.
    fn leave(&mut self, node: usize) {
        let now = self.simulation.now;
        let parts = &mut self.simulation.nodes[node];
        if let Some(mirror) = parts.server.forget_one(&mut self.dice) {
            parts.core.handle_local(now, LocalEvent::MirrorGone { mirror });
            self.simulation.touch(node);
        }
    }

    fn restart(&mut self, node: usize) {
        self.simulation.restart(node);
        self.simulation.nodes[node].server.node_lost();
        (0..self.size.mirrors).for_each(|_| self.watch(node));
        self.figures.restarts += 1;
    }

    /// What happens in a moment, besides what is printed and typed.
    fn step(&mut self) {
        let now = self.simulation.now;
        if now >= at(2) && now < BEGUN {
            // The machines are not switched on all at once.
            let each = self.size.nodes.div_ceil(100);
            let first = usize::try_from((now - at(2)).as_millis() / STEP.as_millis()).unwrap() * each;
            for node in first.min(self.size.nodes)..(first + each).min(self.size.nodes) {
                (0..self.size.mirrors).for_each(|_| self.watch(node));
            }
        }
        if (BEGUN..QUIET).contains(&now) {
            for _ in 0..self.size.nodes.div_ceil(40) {
                let node = LOST_HOST + 1 + self.dice.index(self.size.nodes - LOST_HOST - 1);
                self.leave(node);
                self.watch(node);
            }
            if self.dice.one_in(40) {
                let node = LOST_HOST + 1 + self.dice.index(self.size.nodes - LOST_HOST - 1);
                self.restart(node);
            }
        }
        if now == BROKER_LOST {
            self.lose_broker();
        }
        if now == HOST_LOST {
            self.simulation.faults.stopped.push((now, at(1_000_000), LOST_HOST));
        }
        self.simulation.go_until(now + STEP);
        self.look();
    }

    /// All nodes of one broker lose their connections, and have others a moment later.
    fn lose_broker(&mut self) {
        let now = self.simulation.now;
        for node in (0..self.size.nodes).step_by(self.size.brokers) {
            let until = now + Duration::from_millis(50) + self.dice.ms(2000);
            self.simulation.bus.borrow_mut().disconnect(node, until);
            self.figures.back_at = self.figures.back_at.max(until);
        }
        // Something that all lack that watch them.
        for Place { host, session } in self.places.clone() {
            self.simulation.nodes[host].server.print(session, 100);
            self.simulation.touch(host);
        }
        for node in &self.simulation.nodes {
            self.figures.behind.extend(node.server.mirrors().map(|(mirror, _)| (node.port.node, mirror)));
        }
    }

    /// How far all are, while that is of interest.
    fn look(&mut self) {
        let now = self.simulation.now;
        if now > BROKER_LOST && now < HOST_LOST {
            let mut behind = std::mem::take(&mut self.figures.behind);
            behind.retain(|(node, mirror)| {
                let Some(mirror) = self.simulation.nodes[*node].server.mirror(*mirror) else { return false };
                let host = &self.simulation.nodes[mirror.host].server;
                let is_behind = mirror.head < host.printed_at_mark(mirror.session);
                if !is_behind {
                    self.figures.caught_up.push(now - BROKER_LOST);
                }
                is_behind
            });
            self.figures.behind = behind;
        }
    }

    /// All that watches a session has all of it, or was told what it has not; what was typed is typed once.
    fn check(&self) {
        let mut checked = 0;
        for node in self.simulation.nodes.iter().filter(|node| node.port.node != LOST_HOST) {
            for (_, mirror) in node.server.mirrors() {
                if mirror.host == LOST_HOST {
                    assert!(mirror.silent_at.is_some(), "n{} was not told", node.port.node);
                    continue;
                }
                let host = &self.simulation.nodes[mirror.host].server;
                assert_eq!(
                    mirror.head,
                    host.printed(mirror.session),
                    "n{} of {}",
                    node.port.node,
                    mirror.session
                );
                assert_eq!(mirror.start + mirror.read + mirror.missed, mirror.head);
                assert_eq!(mirror.typed, mirror.said, "all is typed");
                checked += 1;
            }
        }
        let wanted =
            self.size.mirrors * (self.size.nodes - 1) - usize::try_from(self.figures.refused).unwrap();
        assert!(checked > wanted * 3 / 4, "{checked} of {wanted} mirrors");
    }
}

fn run(size: CrowdSize, seed: u64) -> Crowd {
    let mut crowd = Crowd::new(size, seed);
    (0..size.nodes).for_each(|node| crowd.simulation.touch(node));
    while crowd.simulation.now < QUIET {
        crowd.step();
    }
    crowd.simulation.nodes.iter_mut().for_each(|node| node.server.quiet());
    crowd.simulation.go_until(end(size));
    crowd
}

#[test]
fn a_crowd_of_nodes_sees_all_or_is_told_what_it_missed() {
    let nodes = env::var("FUGUE_NODES").ok().map(|text| text.parse().expect("a number"));
    let size = CrowdSize::of(nodes.unwrap_or(50));
    let begun = std::time::Instant::now();
    let crowd = run(size, 1);
    println!("{}", crowd.figures.report(&crowd.simulation, size, begun.elapsed()));
    crowd.check();
    let lost = crowd.figures.noticed(&crowd.simulation);
    // By its streams: 5 s of silence, and one more message that may be on its way.
    assert!(!lost.is_empty() && lost.iter().all(|took| *took < at(6)), "{lost:?}");
    assert!(crowd.figures.behind.is_empty(), "all are up again ten seconds after a broker is lost");
    assert!(crowd.figures.caught_up.len() > size.nodes);
    let known = crowd.simulation.nodes[0].core.nodes();
    let known: HashSet<_> = known.filter(|(_, known)| known.is_lost).map(|(name, _)| name.clone()).collect();
    assert_eq!(known, HashSet::from([name(LOST_HOST)]));
}
