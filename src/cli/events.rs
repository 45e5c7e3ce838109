//! `events`: what happens to sessions, as it does.

use serde_json::{Value, json};

use super::{Exit, Globals, block_on, print_while_read};
use crate::{
    client::Incoming,
    message::{Event, Happened, SessionEvent},
};

/// Prints what happens to sessions, a line each, until the server ends
#[derive(Debug, clap::Args)]
#[command(
    after_help = "created, attached, detached, renamed, bell, gap, ended; lost, if this reads too slowly.\n\
docs/json.md has the fields of --json."
)]
pub(super) struct Args {
    /// Print a JSON object for each
    #[arg(long)]
    json: bool,
}

pub(super) fn run(common: &Globals, args: Args) -> anyhow::Result<Exit> {
    block_on(async {
        let mut client = common.connect().await?;
        client.listen().await?;
        loop {
            let line = match client.next().await? {
                Incoming::Event(Event::Session(event)) if args.json => as_json(&event).to_string(),
                Incoming::Event(Event::Session(event)) => as_text(&event),
                Incoming::Event(Event::Lost(lost)) if args.json => {
                    json!({"event": "lost", "lost": lost}).to_string()
                }
                Incoming::Event(Event::Lost(lost)) => format!("{lost} events lost"),
                _ => continue,
            };
            if !print_while_read(&(line + "\n"))? {
                return Ok(Exit::SUCCESS);
            }
        }
    })
}

fn as_json(event: &SessionEvent) -> Value {
    let mut line = json!({
        "event": word(&event.what),
        "session": event.name.as_str(),
        "id": event.session.to_string(),
    });
    let more = match &event.what {
        Happened::Attached(client) | Happened::Detached(client) => json!({"client": client.0}),
        Happened::Gap { client, bytes } => json!({"client": client.0, "bytes": bytes}),
        Happened::Ended(status) => json!({"exit_code": status.as_exit_code()}),
        Happened::Renamed(before) => json!({"before": before.as_str()}),
        Happened::Created | Happened::Bell => json!({}),
    };
    if let (Value::Object(line), Value::Object(more)) = (&mut line, more) {
        line.extend(more);
    }
    line
}

fn as_text(event: &SessionEvent) -> String {
    let more = match &event.what {
        Happened::Attached(client) | Happened::Detached(client) => format!(" {client}"),
        Happened::Gap { client, bytes } => format!(" {client}, {bytes} bytes"),
        Happened::Ended(status) => format!(" {status}"),
        Happened::Renamed(before) => format!(" from {before}"),
        Happened::Created | Happened::Bell => String::new(),
    };
    format!("{} {}{more}", event.name, word(&event.what))
}

fn word(what: &Happened) -> &'static str {
    match what {
        Happened::Created => "created",
        Happened::Attached(_) => "attached",
        Happened::Detached(_) => "detached",
        Happened::Bell => "bell",
        Happened::Gap { .. } => "gap",
        Happened::Ended(_) => "ended",
        Happened::Renamed(_) => "renamed",
    }
}
