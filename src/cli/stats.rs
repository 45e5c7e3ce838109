//! `stats`: what the server counts, and how each session and client fares.

use std::time::Duration;

use serde_json::json;

use super::{Exit, Globals, block_on, print, print_json};
use crate::message::{ClientState, ClientStats, ServerStats, SessionStats};

/// Shows what the server counts, and how far behind each client is
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print a JSON object instead of tables
    #[arg(long)]
    json: bool,
    /// Again every second, until interrupted
    #[arg(long)]
    watch: bool,
}

pub(super) fn run(common: &Globals, args: Args) -> anyhow::Result<Exit> {
    block_on(async {
        let mut client = common.connect().await?;
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        loop {
            ticks.tick().await;
            let stats = client.stats().await?;
            if args.json {
                print_json(&as_json(&stats))?
            } else {
                print(&table(&stats))?
            }
            if !args.watch {
                return Ok(Exit::SUCCESS);
            }
        }
    })
}

/// The counts by the names they have in JSON and in the table.
fn rows(stats: &ServerStats) -> [(&'static str, u64); 13] {
    let sum = |shards: &[usize]| shards.iter().sum::<usize>() as u64;
    let fullest = |shards: &[usize]| shards.iter().max().copied().unwrap_or(0) as u64;
    [
        ("pid", u64::from(stats.pid)),
        ("uptime_seconds", stats.uptime_seconds),
        ("clients", sum(&stats.clients_per_shard)),
        ("sessions", sum(&stats.sessions_per_shard)),
        ("shards", stats.clients_per_shard.len() as u64),
        ("clients_in_fullest_shard", fullest(&stats.clients_per_shard)),
        ("connections", stats.connections),
        ("connections_closed_by_server", stats.connections_closed),
        ("messages_sent", stats.messages_sent),
        ("messages_skipped", stats.messages_skipped),
        ("writes", stats.writes),
        ("bytes_written", stats.bytes_written),
        ("history_bytes", stats.history_bytes),
    ]
}

fn as_json(stats: &ServerStats) -> serde_json::Value {
    let mut all: serde_json::Map<_, _> =
        rows(stats).into_iter().map(|(name, count)| (name.to_owned(), json!(count))).collect();
    all.insert("by_client".to_owned(), stats.clients.iter().map(client_json).collect());
    all.insert("by_session".to_owned(), stats.sessions.iter().map(session_json).collect());
    all.into()
}

fn client_json(client: &ClientStats) -> serde_json::Value {
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

fn session_json(session: &SessionStats) -> serde_json::Value {
    json!({
        "id": session.session.to_string(),
        "name": session.name.as_str(),
        "history_bytes": session.history_bytes,
        "screen_lag_bytes": session.screen_lag_bytes,
        "screen_waits": session.screen_waits,
        "screen_failed": session.screen_failed,
    })
}

fn state(state: ClientState) -> &'static str {
    match state {
        ClientState::Live => "live",
        ClientState::Behind => "behind",
        ClientState::Gap => "gap",
        ClientState::Closed => "closed",
    }
}

fn table(stats: &ServerStats) -> String {
    let mut counts = super::table(["COUNT", "VALUE"]);
    for (name, count) in rows(stats) {
        counts.add_row([name.to_owned(), count.to_string()]);
    }
    let mut text = counts.trim_fmt() + "\n";
    if !stats.sessions.is_empty() {
        let mut sessions = super::table(["SESSION", "HISTORY", "SCREEN LAG", "SCREEN WAITS", "SCREEN"]);
        for session in &stats.sessions {
            sessions.add_row([
                session.name.to_string(),
                session.history_bytes.to_string(),
                session.screen_lag_bytes.to_string(),
                session.screen_waits.to_string(),
                if session.screen_failed { "failed" } else { "ok" }.to_owned(),
            ]);
        }
        text += &format!("\n{}\n", sessions.trim_fmt());
    }
    let mut clients = super::table([
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
        let session = stats.sessions.iter().find(|session| Some(session.session) == client.session);
        clients.add_row([
            client.client.0.to_string(),
            session.map_or_else(|| "-".to_owned(), |session| session.name.to_string()),
            state(client.state).to_owned(),
            client.lag_bytes.to_string(),
            client.lag_max_bytes.to_string(),
            client.replays.to_string(),
            client.gaps.to_string(),
            client.purges.to_string(),
            client.skipped_bytes.to_string(),
            format!("{:.1}", client.messages as f64 / client.writes.max(1) as f64),
            format!("{:.1} s", client.idle_ms as f64 / 1000.0),
        ]);
    }
    text + &format!("\n{}\n", clients.trim_fmt())
}
