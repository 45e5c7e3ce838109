//! `stats`: what the server counts.

use std::time::Duration;

use anyhow::bail;
use serde_json::json;

use super::{Common, Exit, block_on, print, print_json};
use crate::message::{ClientMessage, Reply, ServerStats};

/// Shows what the server counts
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print a JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Again every second, until interrupted
    #[arg(long)]
    watch: bool,
}

pub(super) fn run(common: &Common, args: Args) -> anyhow::Result<Exit> {
    block_on(async {
        let mut client = common.connect().await?;
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        loop {
            ticks.tick().await;
            let stats = match client.request(&ClientMessage::Stats).await? {
                Reply::Stats(stats) => stats,
                other => bail!("the server answered {other:?} to a request for its counts"),
            };
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
    rows(stats).into_iter().map(|(name, count)| (name.to_owned(), json!(count))).collect()
}

fn table(stats: &ServerStats) -> String {
    let mut table = super::table(["COUNT", "VALUE"]);
    for (name, count) in rows(stats) {
        table.add_row([name.to_owned(), count.to_string()]);
    }
    table.trim_fmt() + "\n"
}
