//! What a node logs of the others and of its streams. In a network that comes and goes, so many lines a minute.

use std::time::Duration;

use super::{
    figure::{StreamNews, StreamReport},
    subject::NodeName,
};

/// Lines about streams, at most, in so long.
const MAX_LINES: u32 = 60;
const LINES_TIME: Duration = Duration::from_secs(60);

/// The log of a node.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// When lines were counted from, and how many there were and would have been.
    since: Duration,
    lines: u32,
    left_out: u64,
}

impl Journal {
    pub(super) fn came(node: &NodeName, after: Option<Duration>) {
        match after {
            Some(after) => tracing::info!(%node, lost_seconds = after.as_secs(), "a lost node is back"),
            None => tracing::info!(%node, "a node is there"),
        }
    }

    pub(super) fn lost(node: &NodeName) {
        tracing::info!(%node, "a node is lost");
    }

    /// Logs what became of a stream, unless there is too much of that.
    pub(super) fn stream(&mut self, now: Duration, report: StreamReport) {
        if !self.has_room(now) {
            return;
        }
        let StreamReport { node, session, name, news } = report;
        let name = name.as_ref().map(tracing::field::display);
        match news {
            StreamNews::Sent => tracing::info!(%node, %session, name, "a node is sent a session"),
            StreamNews::NotSent(why) => {
                tracing::info!(%node, %session, name, why, "a node is not sent a session any more");
            }
            StreamNews::Refused => tracing::info!(%node, %session, "a node asked for what it may not do"),
            StreamNews::Mirrored => tracing::info!(%node, %session, name, "a mirror begins"),
            StreamNews::Reopened(why) => {
                tracing::info!(%node, %session, name, %why, "a mirror's stream is opened again");
            }
            StreamNews::Silent => tracing::info!(%node, %session, name, "a mirror's host is silent"),
            StreamNews::Back(after) => {
                let silent_seconds = after.as_secs();
                tracing::info!(%node, %session, name, silent_seconds, "a mirror's host is back");
            }
            StreamNews::NotMirrored(why) => {
                let why = why.map(tracing::field::display);
                tracing::info!(%node, %session, name, why, "a mirror ends");
            }
        }
    }

    /// Whether another line may be written.
    fn has_room(&mut self, now: Duration) -> bool {
        if now >= self.since + LINES_TIME {
            if self.left_out > 0 {
                tracing::info!(lines = self.left_out, "lines about streams were left out");
            }
            *self = Self { since: now, ..Self::default() };
        }
        let has_room = self.lines < MAX_LINES;
        self.lines += u32::from(has_room);
        self.left_out += u64::from(!has_room);
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_lines_are_written_a_minute() {
        let mut journal = Journal::default();
        let written = |journal: &mut Journal, second| {
            (0..200).filter(|_| journal.has_room(Duration::from_secs(second))).count()
        };
        assert_eq!([0, 59, 60, 119, 300].map(|second| written(&mut journal, second)), [60, 0, 60, 0, 60]);
        assert_eq!(journal.left_out, 140);
    }
}
