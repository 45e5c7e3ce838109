//! Statistics in the text format of Prometheus (version 0.0.4), as the node exporter's text file collector takes it.
//!
//! Each sample says which server it is of, by its socket: a directory of such files may hold those of several users.
//! Clients have no series of their own, because each attach would begin one: a session has that of its client which is
//! furthest behind.

use std::fmt::{Display, Write};

use crate::message::{ServerStats, SessionStats};

/// What a number is.
#[derive(Clone, Copy, Debug)]
enum Metric {
    /// It only grows, while the server runs.
    Counter,
    /// It is what it is now.
    Gauge,
}

/// The whole text.
pub(super) fn text(stats: &ServerStats, socket: &str) -> String {
    let mut text = Exposition { text: String::new(), server: format!("socket=\"{}\"", escaped(socket)) };
    of_server(&mut text, stats);
    of_sessions(&mut text, stats);
    text.text
}

fn of_server(text: &mut Exposition, stats: &ServerStats) {
    use Metric::{Counter, Gauge};

    let sum = |shards: &[usize]| shards.iter().sum::<usize>() as u64;
    for (name, metric, help, value) in [
        ("uptime_seconds", Gauge, "Time since the server started.", stats.uptime_seconds),
        ("clients", Gauge, "Clients that are connected.", sum(&stats.clients_per_shard)),
        ("sessions", Gauge, "Sessions that run.", stats.sessions.len() as u64),
        ("history_bytes", Gauge, "Output that all sessions hold.", stats.history_bytes),
        ("connections_total", Counter, "Connections that completed a handshake.", stats.connections),
        (
            "connections_closed_total",
            Counter,
            "Connections that the server ended for a reason of its own.",
            stats.connections_closed,
        ),
        ("messages_sent_total", Counter, "Messages placed in a client's queue.", stats.messages_sent),
        (
            "messages_skipped_total",
            Counter,
            "Messages for which a client's queue had no room; it reads them from the history.",
            stats.messages_skipped,
        ),
        (
            "replays_total",
            Counter,
            "Times that a client read from the history what it had missed.",
            stats.replays,
        ),
        ("gaps_total", Counter, "Times that what a client needed was no longer held.", stats.gaps),
        (
            "purges_total",
            Counter,
            "Backlogs dropped because their client interrupted the program.",
            stats.purges,
        ),
        (
            "skipped_bytes_total",
            Counter,
            "Output that clients were never sent; a drawn screen stood in for it.",
            stats.skipped_bytes,
        ),
        ("writes_total", Counter, "Writes to clients' sockets.", stats.writes),
        ("written_bytes_total", Counter, "Bytes written to clients' sockets.", stats.bytes_written),
    ] {
        text.family(name, metric, help);
        text.sample(name, "", value);
    }
}

/// Each family with a sample for each session: name, kind, help, and value.
fn of_sessions(text: &mut Exposition, stats: &ServerStats) {
    use Metric::{Counter, Gauge};

    type Value<'a> = &'a dyn Fn(&SessionStats) -> u64;
    let lags = |session: &SessionStats| {
        let watching = stats.clients.iter().filter(move |client| client.session == Some(session.session));
        watching.map(|client| client.lag_bytes).collect::<Vec<_>>()
    };
    let families: [(_, _, _, Value<'_>); 7] = [
        ("session_printed_bytes_total", Counter, "Output of the program.", &|of| of.printed_bytes),
        ("session_clients", Gauge, "Clients that watch the session.", &|of| lags(of).len() as u64),
        (
            "session_lag_bytes",
            Gauge,
            "Output that the client which is furthest behind has yet to take.",
            &|of| lags(of).into_iter().max().unwrap_or(0),
        ),
        ("session_history_bytes", Gauge, "Output that the session holds.", &|of| of.history_bytes),
        ("session_screen_lag_bytes", Gauge, "Output that the model of the screen has yet to take.", &|of| {
            of.screen_lag_bytes
        }),
        (
            "session_screen_waits_total",
            Counter,
            "Times that the program waited for the model of the screen.",
            &|of| of.screen_waits,
        ),
        ("session_screen_failed", Gauge, "Whether the model of the screen failed: 1 or 0.", &|of| {
            u64::from(of.screen_failed)
        }),
    ];
    for (name, metric, help, value) in families {
        // One without samples is allowed, and says nothing.
        if stats.sessions.is_empty() {
            return;
        }
        text.family(name, metric, help);
        for session in &stats.sessions {
            text.sample(name, &format!(",session=\"{}\"", escaped(session.name.as_str())), value(session));
        }
    }
}

struct Exposition {
    text: String,
    /// The label that every sample has.
    server: String,
}

impl Exposition {
    fn family(&mut self, name: &str, metric: Metric, help: &str) {
        let kind = match metric {
            Metric::Counter => "counter",
            Metric::Gauge => "gauge",
        };
        self.line(format_args!("# HELP fugue_{name} {help}\n# TYPE fugue_{name} {kind}"));
    }

    fn sample(&mut self, name: &str, more_labels: &str, value: u64) {
        let server = std::mem::take(&mut self.server);
        self.line(format_args!("fugue_{name}{{{server}{more_labels}}} {value}"));
        self.server = server;
    }

    fn line(&mut self, line: impl Display) {
        // Writing to a string can't fail.
        let _ = writeln!(self.text, "{line}");
    }
}

/// A label's value, as the format wants it between quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_labels_value_may_have_any_character() {
        assert_eq!(escaped("/tmp/a \"b\"\\c\nd/ü"), r#"/tmp/a \"b\"\\c\nd/ü"#);
    }
}
