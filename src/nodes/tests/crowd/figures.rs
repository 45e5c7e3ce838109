//! What a crowd costs: messages and bytes by class, at the nodes and at the brokers, and how long things take.

use std::{fmt::Write as _, time::Duration};

use super::{BROKER_LOST, CrowdServer, CrowdSize, HOST_LOST, LOST_HOST, end};
use crate::nodes::{
    bus::{CLASSES, Tally},
    core::{MirrorId, Report},
    message::Refusal,
    tests::simulation::Simulation,
};

/// What was seen on the way.
#[derive(Default)]
pub(super) struct Figures {
    /// Watches that found no window left.
    pub(super) refused: u64,
    pub(super) restarts: u64,
    /// When the last node has another connection, after a broker was lost.
    pub(super) back_at: Duration,
    /// Mirrors that lack what was printed as it was lost, and how long after that the others had it.
    pub(super) behind: Vec<(usize, MirrorId)>,
    pub(super) caught_up: Vec<Duration>,
}

/// The middle and the greatest.
fn middle_and_most(mut times: Vec<Duration>) -> String {
    times.sort();
    let ms = |at: usize| times.get(at).map_or(0, Duration::as_millis);
    format!(
        "p50 {} ms, max {} ms, of {}",
        ms(times.len() / 2),
        ms(times.len().saturating_sub(1)),
        times.len()
    )
}

impl Figures {
    /// How long it took until each mirror of the lost host that had begun said so.
    pub(super) fn noticed(&self, simulation: &Simulation<CrowdServer>) -> Vec<Duration> {
        let mirrors = simulation.nodes.iter().flat_map(|node| node.server.mirrors());
        let lost = mirrors.filter(|(_, mirror)| mirror.host == LOST_HOST && mirror.has_begun);
        lost.filter_map(|(_, mirror)| mirror.silent_at?.checked_sub(HOST_LOST)).collect()
    }

    /// How long it took until each node missed the lost host's beats.
    fn missed(simulation: &Simulation<CrowdServer>) -> Vec<Duration> {
        let is_it = |report: &Report| matches!(report, Report::Lost(name) if *name == super::name(LOST_HOST));
        let reports = simulation.nodes.iter().flat_map(|node| &node.reports);
        reports.filter(|(_, report)| is_it(report)).filter_map(|(at, _)| at.checked_sub(HOST_LOST)).collect()
    }

    pub(super) fn report(
        &self,
        simulation: &Simulation<CrowdServer>,
        size: CrowdSize,
        took: Duration,
    ) -> String {
        let CrowdSize { nodes, brokers, sessions, .. } = size;
        let (bus, seconds) = (simulation.bus.borrow(), end(size).as_secs());
        let mirrors =
            || simulation.nodes.iter().flat_map(|node| node.server.mirrors()).map(|(_, mirror)| mirror);
        let viewers: usize = mirrors().map(|mirror| mirror.viewers).sum();
        let watched = mirrors().count();
        let mut text = format!(
            "{nodes} nodes at {brokers} brokers, {sessions} sessions, {watched} mirrors with {viewers} viewers\n{seconds} s, simulated in {} s\n\n",
            took.as_secs()
        );
        let per_second =
            |tally: Tally| format!("{:>9} {:>9}", tally.messages / seconds, tally.bytes / seconds / 1024);
        let line = |text: &mut String, name: &str, columns: [Tally; 4]| {
            let columns: Vec<_> = columns.into_iter().map(per_second).collect();
            // Writing to a string can't fail.
            let _ = writeln!(text, "{name:<8} {}", columns.join(" "));
        };
        let heads =
            ["all nodes", "node, mean", "node, most", "broker, most"].map(|head| format!("{head:>19}"));
        let _ = writeln!(text, "a second {}\n         {}", heads.join(" "), "messages       KiB ".repeat(4));
        for (class, name) in CLASSES.iter().enumerate() {
            let all = sum(bus.came().map(|came| came[class]));
            let mean = Tally { messages: all.messages / nodes as u64, bytes: all.bytes / nodes as u64 };
            let most = most(bus.came().map(|came| came[class]));
            line(
                &mut text,
                name,
                [all, mean, most, self::most(bus.brokers().iter().map(|broker| broker.passed[class]))],
            );
        }
        let whole = |tallies: &[Tally; 6]| sum(tallies.iter().copied());
        let all = sum(bus.came().map(whole));
        let mean = Tally { messages: all.messages / nodes as u64, bytes: all.bytes / nodes as u64 };
        let broker = most(bus.brokers().iter().map(|broker| whole(&broker.passed)));
        line(&mut text, "all", [all, mean, most(bus.came().map(whole)), broker]);
        let busiest = most(bus.brokers().iter().map(|broker| broker.most));
        let longest = bus.brokers().iter().map(|broker| broker.longest).max().unwrap_or_default();
        let gaps: u64 = mirrors().map(|mirror| mirror.gaps).sum();
        let typed: u64 = mirrors().map(|mirror| mirror.typed).sum();
        let ended = || simulation.nodes.iter().flat_map(|node| &node.server.ended);
        let full = ended().filter(|why| **why == Refusal::TooMany).count();
        let away = ended().count() - full;
        let back = self.back_at.saturating_sub(BROKER_LOST).as_millis();
        let _ = write!(
            text,
            "\na broker's busiest second: {} messages, {} KiB; the longest that something waited for one: {} ms
on its way: at most {} KiB of a stream, {} KiB to a node; {} messages found no room
{gaps} gaps, each told exactly; {typed} bytes typed once; {} node restarts
watches refused: {} for want of a window here, {full} of a stream at the host, {away} as no host was there
a lost host: mirrors say so after {}; nodes miss its beats after {}
a lost broker: the last node is back after {back} ms; mirrors have what was printed meanwhile after {}",
            busiest.messages,
            busiest.bytes / 1024,
            longest.as_millis(),
            bus.most_in_flight / 1024,
            bus.most_in_flight_to_one() / 1024,
            bus.overrun,
            self.restarts,
            self.refused,
            middle_and_most(self.noticed(simulation)),
            middle_and_most(Self::missed(simulation)),
            middle_and_most(self.caught_up.clone()),
        );
        text
    }
}

fn sum(tallies: impl Iterator<Item = Tally>) -> Tally {
    tallies.fold(Tally::default(), |sum, more| Tally {
        messages: sum.messages + more.messages,
        bytes: sum.bytes + more.bytes,
    })
}

/// The most messages and the most bytes, which may be of two.
fn most(tallies: impl Iterator<Item = Tally>) -> Tally {
    tallies.fold(Tally::default(), |most, more| Tally {
        messages: most.messages.max(more.messages),
        bytes: most.bytes.max(more.bytes),
    })
}
