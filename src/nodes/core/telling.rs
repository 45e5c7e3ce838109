//! What a node tells of itself: its figures, and what becomes of its streams.

use std::time::Duration;

use super::{LaneState, MirrorId, NodeCore, Report};
use crate::{
    SessionId, SessionName,
    nodes::{
        figure::{NodeFigure, StreamNews, StreamReport, WhyReopened},
        message::Refusal,
        subject::NodeName,
        watch::{WatchNews, WatchOutcome},
    },
};

impl NodeCore {
    /// What the protocol counts, and how it stands.
    pub(crate) fn figures(&self) -> Vec<NodeFigure> {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let all = self.nodes().count();
        let lost = self.nodes().filter(|(_, known)| known.is_lost).count();
        let silent = self.mirrors.values().filter(|mirror| mirror.silent_since.is_some()).count();
        let waiting: usize = self.mirrors.values().map(|mirror| mirror.typing.waiting()).sum();
        let is_up = |lane: &LaneState| u64::from(lane.is_connected && lane.is_up);
        let why = WhyReopened::ALL.map(|why| why.to_string());
        let reopened: Vec<_> = why.iter().map(String::as_str).zip(self.counts.reopened).collect();
        let gauge = NodeFigure::gauge;
        let counter = NodeFigure::counter;
        vec![
            gauge(
                "connected",
                "Whether what is sent over the connection comes back: 1 or 0.",
                "lane",
                &[("bulk", is_up(&self.bulk)), ("quick", is_up(&self.quick))],
            ),
            gauge(
                "nodes",
                "Other nodes; a lost one is remembered for ten minutes.",
                "state",
                &[("there", count(all - lost)), ("lost", count(lost))],
            ),
            gauge(
                "mirrors",
                "Sessions of other nodes that are shown here; silent where their host is.",
                "state",
                &[("live", count(self.mirrors.len() - silent)), ("silent", count(silent))],
            ),
            gauge("streams", "Streams that other nodes are sent.", "", &[("", count(self.hosting.len()))]),
            gauge(
                "typing_waiting_bytes",
                "What was typed and is not typed at its host yet.",
                "",
                &[("", count(waiting))],
            ),
            counter("streams_opened", "Streams that began to other nodes.", "", &[("", self.counts.opened)]),
            counter(
                "streams_expired",
                "Streams whose watching node was silent for too long.",
                "",
                &[("", self.counts.expired)],
            ),
            counter(
                "refused",
                "What other nodes asked for and may not do.",
                "",
                &[("", self.counts.refused)],
            ),
            counter("streams_reopened", "Streams that were opened again, and why.", "why", &reopened),
        ]
    }

    /// Another node asked for what it may not do.
    pub(super) fn tell_refused(&mut self, node: NodeName, session: SessionId) {
        self.counts.refused += 1;
        self.tell(StreamReport { node, session, name: None, news: StreamNews::Refused });
    }

    pub(super) fn tell_sent(&mut self, node: NodeName, session: SessionId, name: SessionName) {
        self.counts.opened += 1;
        self.tell(StreamReport { node, session, name: Some(name), news: StreamNews::Sent });
    }

    /// Counts and tells what a watch has to say, before its mirror is told.
    pub(super) fn tell_watch(&mut self, now: Duration, mirror: MirrorId, outcome: &WatchOutcome) {
        let Some(entry) = self.mirrors.get_mut(&mirror) else { return };
        let mut told = Vec::new();
        if let Some(why) = outcome.reopens {
            self.counts.reopened[why as usize] += 1;
            told.push(StreamNews::Reopened(why));
        }
        for news in &outcome.news {
            match news {
                WatchNews::Begins { name, .. } => {
                    entry.name = Some(name.clone());
                    told.push(StreamNews::Mirrored);
                }
                WatchNews::Silent { silent_for } => {
                    entry.silent_since = Some(now.saturating_sub(*silent_for));
                    told.push(StreamNews::Silent);
                }
                WatchNews::Back => {
                    let since = entry.silent_since.take().unwrap_or(now);
                    told.push(StreamNews::Back(now.saturating_sub(since)));
                }
                WatchNews::Over(why) => entry.why_over = Some(why.clone()),
                WatchNews::Opened | WatchNews::Item(_) => {}
            }
        }
        let (node, session, name) = (entry.watch.host.clone(), entry.watch.session, entry.name.clone());
        for news in told {
            self.tell(StreamReport { node: node.clone(), session, name: name.clone(), news });
        }
    }

    pub(super) fn tell_not_mirrored(
        &mut self,
        node: NodeName,
        session: SessionId,
        name: Option<SessionName>,
        why: Option<Refusal>,
    ) {
        self.tell(StreamReport { node, session, name, news: StreamNews::NotMirrored(why) });
    }

    pub(super) fn tell(&mut self, report: StreamReport) {
        self.reports.push_back(Report::Stream(report));
    }
}
