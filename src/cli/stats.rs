//! `stats`: what the server counts, and how each session and client fares.

mod json;
#[cfg(feature = "nodes")]
mod node;
mod prometheus;
mod tables;
mod trend;
mod view;
mod watch;

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use anyhow::bail;
use tokio::time::interval;

use super::{Exit, Globals, block_on, connect::NotConnected, print, print_while_read};
use crate::{
    client::{Backoff, Client, ClientError},
    message::ServerStats,
};

/// How often a watched server is asked.
const EVERY: Duration = Duration::from_secs(1);

/// Shows what the server counts, and how far behind each client is
#[derive(Debug, clap::Args)]
#[command(after_help = "\
LAG is what a client has yet to take, IDLE since when it took nothing. REPLAYS: it missed messages, and read them \
from the history. GAPS: what it needed was no longer held, and the screen stood in for it. PURGES: it interrupted \
the program, and its backlog was dropped. SKIPPED: bytes that it was never sent. MSG/WRITE: messages in a write to it.
In the watched view, q or ctrl-C quits, and j and k move. Its bars are a viewer's lag, as a part of what is held.")]
pub(super) struct Args {
    /// Print a JSON object instead of tables
    #[arg(long, group = "form")]
    json: bool,
    /// Print the exposition format of Prometheus, for a file that its node exporter collects
    #[arg(long, group = "form", conflicts_with = "watch")]
    prometheus: bool,
    /// A view that is drawn again every second; with --json, an object a second
    #[arg(long)]
    watch: bool,
    /// What the node of this machine counts, in place of the server
    #[cfg(feature = "nodes")]
    #[arg(long, conflicts_with = "watch")]
    node: bool,
}

pub(super) fn run(common: &Globals, args: Args) -> anyhow::Result<Exit> {
    #[cfg(feature = "nodes")]
    if args.node {
        return of_node(common, &args);
    }
    if args.watch && !args.json && !io::stdout().is_terminal() {
        bail!(
            "--watch draws on a terminal, and standard output is none; `stats --watch --json` prints an object a \
             second, `stats` and `stats --prometheus` print once"
        );
    }
    block_on(async {
        let (mut client, socket) = common.connect_somewhere().await?;
        if args.watch && !args.json {
            return watch::watch(common, client).await;
        }
        let mut ticks = interval(EVERY);
        loop {
            ticks.tick().await;
            let stats =
                if args.watch { stats_of(common, &mut client).await? } else { client.stats().await? };
            let is_read = if args.json {
                print_while_read(&format!("{}\n", json::of(&stats)))?
            } else if args.prometheus {
                print_while_read(&prometheus::text(&stats, &socket.to_string_lossy()))?
            } else {
                print(&tables::text(&stats)).map(|()| true)?
            };
            if !args.watch || !is_read {
                return Ok(Exit::SUCCESS);
            }
        }
    })
}

#[cfg(feature = "nodes")]
fn of_node(common: &Globals, args: &Args) -> anyhow::Result<Exit> {
    if common.remote.is_some() {
        bail!("a node is asked on the machine that it runs on: leave out --remote");
    }
    let figures = block_on(super::node::figures(common))?;
    let text = match (args.json, args.prometheus) {
        (true, _) => node::json(&figures),
        (_, true) => prometheus::of_node(&figures, &common.socket.to_string_lossy()),
        _ => node::text(&figures),
    };
    print(&text)?;
    Ok(Exit::SUCCESS)
}

/// What the server counts; of another one, where the connection was lost.
async fn stats_of(common: &Globals, client: &mut Client) -> anyhow::Result<ServerStats> {
    let mut backoff = Backoff::default();
    loop {
        match client.stats().await {
            Err(lost @ ClientError::Lost) => {
                let lost = |why: NotConnected| anyhow::Error::from(lost).context(why.to_string());
                *client = common.reconnect(&mut backoff).await.map_err(lost)?;
            }
            stats => return Ok(stats?),
        }
    }
}
