//! Which nodes there are, by the beats that each sends to all.
//!
//! A beat goes from each node to each other one. So that many nodes do not drown in them, each beats less often the
//! more it knows of, and says how often: [`BEATS_PER_SECOND`] come to a node.

use std::{collections::BTreeMap, time::Duration};

use super::{
    message::{Beat, Incarnation},
    subject::NodeName,
};

/// How often a node says that it is there, where there are few.
const BEAT: Duration = Duration::from_secs(2);

/// Beats that come to a node in a second, about, where there are many.
const BEATS_PER_SECOND: u32 = 64;

/// The longest time from one beat to the next that a node is believed.
const LONGEST_BEAT: Duration = Duration::from_secs(MAX_NODES as u64 / BEATS_PER_SECOND as u64);

/// How long a lost node is remembered.
const REMEMBERED_NODE: Duration = Duration::from_secs(600);

/// Nodes that are known at once.
const MAX_NODES: usize = 4096;

/// The nodes that are known.
#[derive(Debug)]
pub(crate) struct Directory {
    own: NodeName,
    incarnation: Incarnation,
    started: Duration,
    nodes: BTreeMap<NodeName, KnownNode>,
    beat_due: Duration,
    /// No node is lost or forgotten before.
    look_due: Duration,
}

/// A node that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownNode {
    pub(crate) beat: Beat,
    /// When it was heard of last.
    pub(crate) heard: Duration,
    pub(crate) is_lost: bool,
}

impl KnownNode {
    /// It is lost when nothing is heard of it until then: two beats missing, and half of the third. Once it is lost:
    /// when it is forgotten.
    fn due(&self) -> Duration {
        let every = Duration::from_millis(self.beat.every_ms.into()).clamp(BEAT, LONGEST_BEAT);
        self.heard + if self.is_lost { REMEMBERED_NODE } else { every * 5 / 2 }
    }
}

/// What a beat tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BeatNews {
    /// What was known.
    Nothing,
    /// The node is there, which it was not, or in another run.
    Came,
    /// It leaves.
    Left,
    /// Another node has this one's name, and came later.
    Younger,
    /// Another node has this one's name, and was there before.
    Elder,
}

impl Directory {
    pub(crate) fn new(now: Duration, own: NodeName, incarnation: Incarnation) -> Self {
        Self { own, incarnation, started: now, nodes: BTreeMap::new(), beat_due: now, look_due: now }
    }

    /// Milliseconds since this node started.
    pub(crate) fn uptime_ms(&self, now: Duration) -> u64 {
        u64::try_from(now.saturating_sub(self.started).as_millis()).unwrap_or(u64::MAX)
    }

    /// Takes in a beat.
    pub(crate) fn hear(&mut self, now: Duration, from: &NodeName, beat: Beat) -> BeatNews {
        if *from == self.own {
            let ours = (self.uptime_ms(now), self.incarnation);
            return match (beat.uptime_ms, beat.incarnation) {
                (_, same) if same == self.incarnation => BeatNews::Nothing,
                _ if beat.is_last => BeatNews::Nothing,
                theirs if theirs > ours => BeatNews::Elder,
                _ => BeatNews::Younger,
            };
        }
        if self.nodes.len() >= MAX_NODES && !self.nodes.contains_key(from) {
            return BeatNews::Nothing;
        }
        let (incarnation, is_lost) = (beat.incarnation, beat.is_last);
        let known = KnownNode { beat, heard: now, is_lost };
        self.look_due = self.look_due.min(known.due());
        let before = self.nodes.insert(from.clone(), known);
        let was_there = before.is_some_and(|known| !known.is_lost && known.beat.incarnation == incarnation);
        match (is_lost, was_there) {
            (true, _) => BeatNews::Left,
            (false, true) => BeatNews::Nothing,
            (false, false) => BeatNews::Came,
        }
    }

    /// How long nothing was heard of a node that is lost.
    pub(crate) fn lost_for(&self, now: Duration, name: &NodeName) -> Option<Duration> {
        self.nodes.get(name).filter(|known| known.is_lost).map(|known| now.saturating_sub(known.heard))
    }

    /// How long it is from one beat of this node to the next.
    fn every(&self) -> Duration {
        let nodes = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        (Duration::from_secs(1) * nodes / BEATS_PER_SECOND).max(BEAT)
    }

    /// The same in milliseconds, as a beat says it.
    pub(crate) fn every_ms(&self) -> u32 {
        u32::try_from(self.every().as_millis()).unwrap_or(u32::MAX)
    }

    /// Whether it is time for a beat. Then the next one is due later.
    pub(crate) fn is_beat_due(&mut self, now: Duration) -> bool {
        let is_due = now >= self.beat_due;
        if is_due {
            self.beat_due = now + self.every();
        }
        is_due
    }

    /// The next beat is due at once.
    pub(crate) fn beat_soon(&mut self, now: Duration) {
        self.beat_due = now;
    }

    /// The nodes that are lost from now on. What is lost for long is forgotten.
    pub(crate) fn lose(&mut self, now: Duration) -> Vec<NodeName> {
        let mut lost = Vec::new();
        if now < self.look_due {
            return lost;
        }
        self.nodes.retain(|_, known| !known.is_lost || now < known.due());
        for (name, known) in self.nodes.iter_mut().filter(|(_, known)| now >= known.due()) {
            known.is_lost = true;
            lost.push(name.clone());
        }
        self.look_due = self.nodes.values().map(KnownNode::due).min().unwrap_or(Duration::MAX);
        lost
    }

    /// When there is something to do though nothing comes.
    pub(crate) fn due(&self) -> Duration {
        self.beat_due.min(self.look_due)
    }

    /// What is known of a node.
    pub(crate) fn get(&self, name: &NodeName) -> Option<&KnownNode> {
        self.nodes.get(name)
    }

    /// All that are known, in the order of their names.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&NodeName, &KnownNode)> {
        self.nodes.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(incarnation: u64, uptime_ms: u64) -> Beat {
        let incarnation = Incarnation(incarnation);
        Beat { incarnation, uptime_ms, every_ms: 2000, sessions: 0, streams: 0, is_last: false }
    }

    fn directory() -> Directory {
        Directory::new(Duration::from_secs(10), "a".parse().unwrap(), Incarnation(7))
    }

    #[test]
    fn a_node_is_lost_after_five_seconds_and_comes_back() {
        let (mut directory, b) = (directory(), "b".parse().unwrap());
        let at = Duration::from_secs;
        assert_eq!(directory.hear(at(10), &b, beat(1, 0)), BeatNews::Came);
        assert_eq!(directory.hear(at(12), &b, beat(1, 2000)), BeatNews::Nothing);
        assert_eq!(directory.lose(at(17) - Duration::from_millis(1)), []);
        assert_eq!(directory.lose(at(17)), std::slice::from_ref(&b));
        assert_eq!(directory.lose(at(18)), []);
        assert!(directory.nodes().all(|(_, known)| known.is_lost));
        assert_eq!(directory.hear(at(20), &b, beat(1, 10_000)), BeatNews::Came);
        assert_eq!(directory.hear(at(21), &b, beat(2, 0)), BeatNews::Came, "another run");
        assert_eq!(directory.hear(at(22), &b, Beat { is_last: true, ..beat(2, 1000) }), BeatNews::Left);
        assert!(directory.nodes().all(|(_, known)| known.is_lost));
    }

    #[test]
    fn of_two_nodes_of_one_name_the_younger_yields() {
        let mut directory = directory();
        let (a, now) = ("a".parse().unwrap(), Duration::from_secs(20));
        assert_eq!(directory.hear(now, &a, beat(7, 9_000)), BeatNews::Nothing, "its own");
        assert_eq!(directory.hear(now, &a, beat(6, 9_000)), BeatNews::Younger);
        assert_eq!(directory.hear(now, &a, beat(6, 11_000)), BeatNews::Elder);
        // At the same moment, one of the two.
        assert_eq!(directory.hear(now, &a, beat(6, 10_000)), BeatNews::Younger);
        assert_eq!(directory.hear(now, &a, beat(8, 10_000)), BeatNews::Elder);
    }

    #[test]
    fn nodes_that_are_known_are_bounded() {
        let mut directory = directory();
        for number in 0..2 * MAX_NODES {
            directory.hear(Duration::ZERO, &format!("n{number}").parse().unwrap(), beat(1, 0));
        }
        assert_eq!(directory.nodes().count(), MAX_NODES);
        directory.lose(BEAT * 5 / 2);
        directory.lose(REMEMBERED_NODE);
        assert_eq!(directory.nodes().count(), 0);
    }

    #[test]
    fn many_nodes_beat_less_often_and_are_missed_later() {
        let (mut directory, at) = (directory(), Duration::from_secs);
        for number in 0..1024 {
            directory.hear(at(10), &format!("n{number}").parse().unwrap(), beat(1, 0));
        }
        assert!(directory.is_beat_due(at(10)));
        assert_eq!((directory.every_ms(), directory.beat_due), (16_000, at(26)));
        let slow = Beat { every_ms: 16_000, ..beat(1, 0) };
        assert_eq!(directory.hear(at(10), &"n7".parse().unwrap(), slow), BeatNews::Nothing);
        let never = Beat { every_ms: u32::MAX, ..beat(1, 0) };
        assert_eq!(directory.hear(at(10), &"n8".parse().unwrap(), never), BeatNews::Nothing);
        assert_eq!([15, 49, 50, 169, 170].map(|second| directory.lose(at(second)).len()), [1022, 0, 1, 0, 1]);
    }
}
