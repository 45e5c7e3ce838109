//! What a node counts, and what it tells of its streams.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{message::Refusal, subject::NodeName};
use crate::{SessionId, SessionName, client::FigureKind};

/// A figure of a node, for people and for monitoring systems.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeFigure {
    /// Without a prefix, and of a counter without `_total`.
    pub(crate) name: String,
    pub(crate) kind: FigureKind,
    pub(crate) help: String,
    /// What tells its samples apart; empty if it has one.
    pub(crate) label: String,
    /// Each with its label's value.
    pub(crate) samples: Vec<(String, u64)>,
}

impl NodeFigure {
    pub(crate) fn counter(name: &str, help: &str, label: &str, samples: &[(&str, u64)]) -> Self {
        Self::new(FigureKind::Counter, name, help, label, samples)
    }

    pub(crate) fn gauge(name: &str, help: &str, label: &str, samples: &[(&str, u64)]) -> Self {
        Self::new(FigureKind::Gauge, name, help, label, samples)
    }

    fn new(kind: FigureKind, name: &str, help: &str, label: &str, samples: &[(&str, u64)]) -> Self {
        let [name, help, label] = [name, help, label].map(str::to_owned);
        let samples = samples.iter().map(|(of, value)| ((*of).to_owned(), *value)).collect();
        Self { name, kind, help, label, samples }
    }
}

/// What the protocol counts: each with one addition where it happens.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NodeCounts {
    /// Streams that were opened for other nodes, and those of them whose watcher was silent for too long.
    pub(crate) opened: u64,
    pub(crate) expired: u64,
    /// What other nodes asked for, and may not do.
    pub(crate) refused: u64,
    /// Streams that this node opened again.
    pub(crate) reopened: [u64; WhyReopened::ALL.len()],
}

/// Why a stream was opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhyReopened {
    /// A message is missing, or does not go on from the one before.
    Hole,
    /// Nothing came for too long.
    Silence,
    /// The connection to the broker is another one.
    Connection,
    /// Its host came back.
    Host,
    /// Its host sent more than it may.
    Credit,
    /// Its host gave it up, and may take it up again.
    Refused,
    /// Nobody here wants every byte any more.
    Lossless,
}

impl WhyReopened {
    pub(crate) const ALL: [Self; 7] = [
        Self::Hole,
        Self::Silence,
        Self::Connection,
        Self::Host,
        Self::Credit,
        Self::Refused,
        Self::Lossless,
    ];
}

impl fmt::Display for WhyReopened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hole => "hole",
            Self::Silence => "silence",
            Self::Connection => "connection",
            Self::Host => "host",
            Self::Credit => "credit",
            Self::Refused => "refused",
            Self::Lossless => "lossless",
        })
    }
}

/// What became of a stream, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StreamReport {
    /// The other node.
    pub(crate) node: NodeName,
    pub(crate) session: SessionId,
    /// What the session is called, once that is known.
    pub(crate) name: Option<SessionName>,
    pub(crate) news: StreamNews,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StreamNews {
    /// Another node is sent the session.
    Sent,
    /// It no longer is, for this reason.
    NotSent(&'static str),
    /// It asked for what it may not do.
    Refused,
    /// The session of another node is shown here.
    Mirrored,
    /// Its stream is opened again.
    Reopened(WhyReopened),
    /// Its host is silent.
    Silent,
    /// Its host is there again, after so long.
    Back(Duration),
    /// It is shown no longer; the reason, unless it ended or nobody watches.
    NotMirrored(Option<Refusal>),
}
