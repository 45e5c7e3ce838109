//! Which nodes there are, by the beats that each sends to all every two seconds.

use std::{collections::BTreeMap, time::Duration};

use super::{
    message::{Beat, Incarnation},
    subject::NodeName,
};

/// How often a node says that it is there.
const BEAT: Duration = Duration::from_secs(2);

/// A node is lost when nothing is heard of it for so long: two beats missing, and half of the third.
pub(crate) const LOST: Duration = Duration::from_secs(5);

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
}

/// A node that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownNode {
    pub(crate) beat: Beat,
    /// When it was heard of last.
    pub(crate) heard: Duration,
    pub(crate) is_lost: bool,
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
        Self { own, incarnation, started: now, nodes: BTreeMap::new(), beat_due: now }
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
        let before = self.nodes.insert(from.clone(), KnownNode { beat, heard: now, is_lost });
        let was_there = before.is_some_and(|known| !known.is_lost && known.beat.incarnation == incarnation);
        match (is_lost, was_there) {
            (true, _) => BeatNews::Left,
            (false, true) => BeatNews::Nothing,
            (false, false) => BeatNews::Came,
        }
    }

    /// Whether it is time for a beat. Then the next one is due later.
    pub(crate) fn is_beat_due(&mut self, now: Duration) -> bool {
        let is_due = now >= self.beat_due;
        if is_due {
            self.beat_due = now + BEAT;
        }
        is_due
    }

    /// The next beat is due at once.
    pub(crate) fn beat_soon(&mut self, now: Duration) {
        self.beat_due = now;
    }

    /// The nodes that are lost from now on. What is lost for long is forgotten.
    pub(crate) fn lose(&mut self, now: Duration) -> Vec<NodeName> {
        self.nodes.retain(|_, known| !known.is_lost || now < known.heard + REMEMBERED_NODE);
        let mut lost = Vec::new();
        for (name, known) in &mut self.nodes {
            if !known.is_lost && now >= known.heard + LOST {
                known.is_lost = true;
                lost.push(name.clone());
            }
        }
        lost
    }

    /// When there is something to do though nothing comes.
    pub(crate) fn due(&self) -> Duration {
        let lost = self.nodes.values().filter(|known| !known.is_lost).map(|known| known.heard + LOST);
        lost.fold(self.beat_due, Duration::min)
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
        Beat { incarnation: Incarnation(incarnation), uptime_ms, sessions: 0, streams: 0, is_last: false }
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
        directory.lose(LOST);
        directory.lose(REMEMBERED_NODE);
        assert_eq!(directory.nodes().count(), 0);
    }
}
