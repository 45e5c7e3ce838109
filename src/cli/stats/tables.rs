//! Statistics as tables for people: what is so now, what was counted since the start, and what needs attention.

use std::time::Duration;

use super::json::state;
use crate::{
    cli::{bytes::about, table, time::age},
    message::{ClientStats, ServerStats, SessionStats},
};

/// How long a client may take nothing, with more waiting, before people are told.
const STUCK: Duration = Duration::from_secs(5);

pub(super) fn text(stats: &ServerStats) -> String {
    let mut text = now(stats) + "\n" + &since_start(stats);
    if !stats.sessions.is_empty() {
        text = text + "\n" + &sessions(stats);
    }
    text + "\n" + &clients(stats) + "\n" + &attention(stats)
}

/// Gauges.
fn now(stats: &ServerStats) -> String {
    let sum = |shards: &[usize]| shards.iter().sum::<usize>();
    let fullest = stats.clients_per_shard.iter().max().copied().unwrap_or(0);
    let mut table = table(["NOW", "VALUE", ""]);
    for (name, value, meaning) in [
        ("process", stats.pid.to_string(), "the server's id"),
        ("started", format!("{} ago", age(stats.uptime_seconds)), ""),
        ("sessions", stats.sessions.len().to_string(), "that run"),
        ("clients", sum(&stats.clients_per_shard).to_string(), "connected, this one included"),
        ("histories", about(stats.history_bytes), "of output held for clients that are behind or come late"),
        (
            "shards",
            stats.clients_per_shard.len().to_string(),
            &format!("of the registry; clients in the fullest: {fullest}"),
        ),
    ] {
        table.add_row([name, &value, meaning]);
    }
    table.trim_fmt() + "\n"
}

/// Counters.
fn since_start(stats: &ServerStats) -> String {
    let mut table = table(["SINCE IT STARTED", "VALUE", ""]);
    for (name, value, meaning) in [
        ("connections", stats.connections.to_string(), "that completed a handshake"),
        (
            "closed by it",
            stats.connections_closed.to_string(),
            "connections: detached, too slow, or malformed",
        ),
        ("messages", stats.messages_sent.to_string(), "put into clients' queues"),
        ("skipped messages", stats.messages_skipped.to_string(), "for full queues; read from the history"),
        ("replays", stats.replays.to_string(), "times a client read from the history what it had missed"),
        ("gaps", stats.gaps.to_string(), "times that was no longer held, and a screen stood in"),
        ("purges", stats.purges.to_string(), "backlogs dropped at a ctrl-C"),
        ("skipped output", about(stats.skipped_bytes), "that clients were never sent: a screen stood in"),
        ("writes", stats.writes.to_string(), "to clients' sockets"),
        ("written", about(stats.bytes_written), "to them"),
    ] {
        table.add_row([name, &value, meaning]);
    }
    table.trim_fmt() + "\n"
}

fn sessions(stats: &ServerStats) -> String {
    let mut table = table(["SESSION", "PRINTED", "HISTORY", "SCREEN LAG", "SCREEN WAITS", "SCREEN"]);
    for session in &stats.sessions {
        table.add_row([
            session.name.to_string(),
            about(session.printed_bytes),
            about(session.history_bytes),
            about(session.screen_lag_bytes),
            session.screen_waits.to_string(),
            if session.screen_failed { "failed" } else { "ok" }.to_owned(),
        ]);
    }
    table.trim_fmt() + "\n"
}

fn clients(stats: &ServerStats) -> String {
    let mut table = table([
        "CLIENT",
        "SESSION",
        "STATE",
        "LAG",
        "MAX LAG",
        "REPLAYS",
        "GAPS",
        "PURGES",
        "SKIPPED",
        "MSG/WRITE",
        "IDLE",
    ]);
    for client in &stats.clients {
        table.add_row([
            client.client.0.to_string(),
            session_of(stats, client).map_or_else(|| "-".to_owned(), |session| session.name.to_string()),
            state(client.state).to_owned(),
            about(client.lag_bytes),
            about(client.lag_max_bytes),
            client.replays.to_string(),
            client.gaps.to_string(),
            client.purges.to_string(),
            about(client.skipped_bytes),
            format!("{:.1}", client.messages as f64 / client.writes.max(1) as f64),
            format!("{:.1} s", client.idle_ms as f64 / 1000.0),
        ]);
    }
    table.trim_fmt() + "\n"
}

fn session_of<'a>(stats: &'a ServerStats, client: &ClientStats) -> Option<&'a SessionStats> {
    stats.sessions.iter().find(|session| Some(session.session) == client.session)
}

/// What needs somebody's attention.
fn attention(stats: &ServerStats) -> String {
    let of_sessions = stats.sessions.iter().filter(|session| session.screen_failed).map(|session| {
        format!(
            "session {}: the model of its screen failed, so a terminal that attaches gets the newest lines, not the \
             screen; please report that",
            session.name
        )
    });
    let of_clients = stats.clients.iter().filter_map(|client| {
        let session = &session_of(stats, client)?.name;
        let id = client.client.0;
        if is_stuck(client) {
            let (lag, idle) = (about(client.lag_bytes), client.idle_ms / 1000);
            return Some(format!(
                "client {id} of {session} took nothing for {idle} s, and {lag} wait for it; `fugue-server detach \
                 {session} {id}` ends it"
            ));
        }
        (client.gaps > 0).then(|| {
            format!(
                "client {id} of {session} is too slow: output that it needed was gone, {} times; `serve --history` \
                 holds more, `attach --on-lag lossless` has the program wait",
                client.gaps
            )
        })
    });
    let all: Vec<_> = of_sessions.chain(of_clients).collect();
    if all.is_empty() { "Nothing needs attention.\n".to_owned() } else { all.join("\n") + "\n" }
}

/// Whether a client does not take what waits for it.
pub(super) fn is_stuck(client: &ClientStats) -> bool {
    client.lag_bytes > 0 && u128::from(client.idle_ms) >= STUCK.as_millis()
}
