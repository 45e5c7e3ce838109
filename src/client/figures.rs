//! What monitoring systems are told of a server: each figure of `stats` that has a series, with its name and its help.
//!
//! Clients have no series of their own, because each attach would begin one: a session has that of its client which is
//! furthest behind.

use serde::{Deserialize, Serialize};

use crate::message::{ServerStats, SessionStats};

/// What a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FigureKind {
    /// It only grows, while the server runs.
    Counter,
    /// It is what it is now.
    Gauge,
}

/// A number of the server's, or of each session's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure<Of> {
    /// Without a prefix, and of a counter without `_total`.
    pub(crate) name: &'static str,
    pub(crate) kind: FigureKind,
    pub(crate) help: &'static str,
    pub(crate) value: Of,
}

pub(crate) type OfServer = fn(&ServerStats) -> u64;
pub(crate) type OfSession = fn(&ServerStats, &SessionStats) -> u64;

const fn counter<Of: Copy>(name: &'static str, help: &'static str, value: Of) -> Figure<Of> {
    Figure { name, kind: FigureKind::Counter, help, value }
}

const fn gauge<Of: Copy>(name: &'static str, help: &'static str, value: Of) -> Figure<Of> {
    Figure { name, kind: FigureKind::Gauge, help, value }
}

pub(crate) const SERVER_FIGURES: [Figure<OfServer>; 14] = [
    gauge("uptime_seconds", "Time since the server started.", |stats| stats.uptime_seconds),
    gauge("clients", "Clients that are connected.", |stats| sum(&stats.clients_per_shard)),
    gauge("sessions", "Sessions that run.", |stats| stats.sessions.len() as u64),
    gauge("history_bytes", "Output that all sessions hold.", |stats| stats.history_bytes),
    counter("connections", "Connections that completed a handshake.", |stats| stats.connections),
    counter("connections_closed", "Connections that the server ended for a reason of its own.", |stats| {
        stats.connections_closed
    }),
    counter("messages_sent", "Messages placed in a client's queue.", |stats| stats.messages_sent),
    counter(
        "messages_skipped",
        "Messages for which a client's queue had no room; it reads them from the history.",
        |stats| stats.messages_skipped,
    ),
    counter("replays", "Times that a client read from the history what it had missed.", |stats| {
        stats.replays
    }),
    counter("gaps", "Times that what a client needed was no longer held.", |stats| stats.gaps),
    counter("purges", "Backlogs dropped because their client interrupted the program.", |stats| stats.purges),
    counter(
        "skipped_bytes",
        "Output that clients were never sent; a drawn screen stood in for it.",
        |stats| stats.skipped_bytes,
    ),
    counter("writes", "Writes to clients' sockets.", |stats| stats.writes),
    counter("written_bytes", "Bytes written to clients' sockets.", |stats| stats.bytes_written),
];

pub(crate) const SESSION_FIGURES: [Figure<OfSession>; 7] = [
    counter("session_printed_bytes", "Output of the program.", |_, of| of.printed_bytes),
    gauge("session_clients", "Clients that watch the session.", |stats, of| lags(stats, of).count() as u64),
    gauge(
        "session_lag_bytes",
        "Output that the client which is furthest behind has yet to take.",
        |stats, of| lags(stats, of).max().unwrap_or(0),
    ),
    gauge("session_history_bytes", "Output that the session holds.", |_, of| of.history_bytes),
    gauge("session_screen_lag_bytes", "Output that the model of the screen has yet to take.", |_, of| {
        of.screen_lag_bytes
    }),
    counter("session_screen_waits", "Times that the program waited for the model of the screen.", |_, of| {
        of.screen_waits
    }),
    gauge("session_screen_failed", "Whether the model of the screen failed: 1 or 0.", |_, of| {
        u64::from(of.screen_failed)
    }),
];

fn sum(shards: &[usize]) -> u64 {
    shards.iter().sum::<usize>() as u64
}

fn lags<'a>(stats: &'a ServerStats, of: &'a SessionStats) -> impl Iterator<Item = u64> {
    let watching = stats.clients.iter().filter(|client| client.session == Some(of.session));
    watching.map(|client| client.lag_bytes)
}
