//! Statistics as a JSON object.

use serde_json::{Value, json};

use crate::message::{ClientState, ClientStats, ServerStats, SessionStats};

/// The object: a count a field, and `by_client` and `by_session`.
pub(super) fn of(stats: &ServerStats) -> Value {
    let sum = |shards: &[usize]| shards.iter().sum::<usize>();
    let fullest = |shards: &[usize]| shards.iter().max().copied().unwrap_or(0);
    json!({
        "pid": stats.pid,
        "uptime_seconds": stats.uptime_seconds,
        "clients": sum(&stats.clients_per_shard),
        "sessions": sum(&stats.sessions_per_shard),
        "shards": stats.clients_per_shard.len(),
        "clients_in_fullest_shard": fullest(&stats.clients_per_shard),
        "connections": stats.connections,
        "connections_closed_by_server": stats.connections_closed,
        "messages_sent": stats.messages_sent,
        "messages_skipped": stats.messages_skipped,
        "replays": stats.replays,
        "gaps": stats.gaps,
        "purges": stats.purges,
        "skipped_bytes": stats.skipped_bytes,
        "writes": stats.writes,
        "bytes_written": stats.bytes_written,
        "history_bytes": stats.history_bytes,
        "by_client": stats.clients.iter().map(client).collect::<Value>(),
        "by_session": stats.sessions.iter().map(session).collect::<Value>(),
    })
}

fn client(client: &ClientStats) -> Value {
    json!({
        "id": client.client.0,
        "session": client.session.map(|session| session.to_string()),
        "state": state(client.state),
        "lag_bytes": client.lag_bytes,
        "lag_max_bytes": client.lag_max_bytes,
        "replays": client.replays,
        "gaps": client.gaps,
        "purges": client.purges,
        "skipped_bytes": client.skipped_bytes,
        "messages": client.messages,
        "writes": client.writes,
        "idle_ms": client.idle_ms,
    })
}

fn session(session: &SessionStats) -> Value {
    json!({
        "id": session.session.to_string(),
        "name": session.name.as_str(),
        "printed_bytes": session.printed_bytes,
        "history_bytes": session.history_bytes,
        "screen_lag_bytes": session.screen_lag_bytes,
        "screen_waits": session.screen_waits,
        "screen_failed": session.screen_failed,
    })
}

/// The word for a client's state.
pub(super) fn state(state: ClientState) -> &'static str {
    match state {
        ClientState::Live => "live",
        ClientState::Behind => "behind",
        ClientState::Gap => "gap",
        ClientState::Closed => "closed",
    }
}
