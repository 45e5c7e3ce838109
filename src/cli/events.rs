//! `events`: what happens to sessions, as it does.

use std::time::Instant;

use serde_json::{Value, json};

use super::{Exit, Globals, block_on, connect::NotConnected, print_while_read};
use crate::{
    client::{Backoff, Client, ClientError, Incoming},
    message::{Event, Happened, SessionEvent},
};

/// Prints what happens to sessions, a line each, until the server ends
#[derive(Debug, clap::Args)]
#[command(
    after_help = "created, attached, detached, renamed, bell, gap, ended; lost, if this reads too slowly;\n\
reconnected, after a server was killed or restarted.\n\
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
        let mut listener = Listener { common, client, backoff: Backoff::default(), begun: Instant::now() };
        loop {
            let line = match (listener.next().await?, args.json) {
                (Heard::Event(event), true) => as_json(&event).to_string(),
                (Heard::Event(event), false) => as_text(&event),
                (Heard::Lost(lost), true) => json!({"event": "lost", "lost": lost}).to_string(),
                (Heard::Lost(lost), false) => format!("{lost} events lost"),
                (Heard::Reconnected, true) => json!({"event": "reconnected"}).to_string(),
                (Heard::Reconnected, false) => "reconnected; what happened meanwhile is not known".to_owned(),
            };
            if !print_while_read(&(line + "\n"))? {
                return Ok(Exit::SUCCESS);
            }
        }
    })
}

enum Heard {
    Event(Box<SessionEvent>),
    /// So many were dropped.
    Lost(u64),
    /// The connection was lost, and made again.
    Reconnected,
}

/// Listens on one connection after another.
struct Listener<'a> {
    common: &'a Globals,
    client: Client,
    backoff: Backoff,
    /// When this connection was made.
    begun: Instant,
}

impl Listener<'_> {
    async fn next(&mut self) -> anyhow::Result<Heard> {
        loop {
            match self.client.next().await {
                Ok(Incoming::Event(Event::Session(event))) => return Ok(Heard::Event(event)),
                Ok(Incoming::Event(Event::Lost(lost))) => return Ok(Heard::Lost(lost)),
                Ok(_) => {}
                Err(ClientError::Lost) => {
                    self.listen_again().await?;
                    return Ok(Heard::Reconnected);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn listen_again(&mut self) -> anyhow::Result<()> {
        loop {
            self.backoff.lost(self.begun.elapsed(), false);
            let lost = |why: NotConnected| anyhow::Error::from(ClientError::Lost).context(why.to_string());
            self.client = self.common.reconnect(&mut self.backoff).await.map_err(lost)?;
            self.begun = Instant::now();
            match self.client.listen().await {
                Err(ClientError::Lost) => {}
                listening => return Ok(listening?),
            }
        }
    }
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
