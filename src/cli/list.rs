//! `list`: which sessions there are, and who is attached.

use std::{
    fs,
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use super::{Exit, Globals, block_on, bytes::about, print, print_error, print_while_read, time};
use crate::{
    client::{Backoff, Client, ClientError, Incoming},
    message::{Access, ClientStats, Event, ProviderState, ServerStats, SessionInfo, SessionState},
};

/// How often a table on a terminal is drawn again, if nothing happens.
const REFRESH: Duration = Duration::from_secs(1);

/// Lists the live sessions, then those that ended last
#[derive(Debug, clap::Args)]
#[command(after_help = "\
* is the session used last. NEW says what came since its last terminal left: bytes, and \"bell\".
IDLE is the time since it printed or was typed into. docs/json.md has the fields of --json.")]
pub(super) struct Args {
    /// Print a JSON array instead of a table
    #[arg(long)]
    json: bool,
    /// List who is attached instead: process, terminal, size, access, since when
    #[arg(long)]
    clients: bool,
    /// List the other nodes and their sessions instead, as the node of this machine knows them
    #[cfg(feature = "nodes")]
    #[arg(long, conflicts_with_all = ["clients", "watch"])]
    nodes: bool,
    /// Again whenever something happens: in place at a terminal, else one after the other
    #[arg(long)]
    watch: bool,
}

pub(super) fn run(common: &Globals, args: Args) -> anyhow::Result<Exit> {
    block_on(async {
        #[cfg(feature = "nodes")]
        if args.nodes {
            let nodes = super::node::nodes(common).await?;
            print(&if args.json { super::node::as_json(&nodes) } else { super::node::table(&nodes) })?;
            return Ok(Exit::SUCCESS);
        }
        let mut client = match common.connect().await {
            Ok(client) => client,
            // Nothing runs, so there is nothing to list: an answer, not a failure.
            Err(where_not) if where_not.is_no_server() && !args.watch => {
                print_error(format_args!("{where_not}"));
                print(&if args.json { "[]\n".to_owned() } else { String::new() })?;
                return Ok(Exit::SUCCESS);
            }
            Err(error) => return Err(error.into()),
        };
        if args.watch {
            return watch(common, client, &args).await;
        }
        print(&listing(&mut client, &args).await?)?;
        Ok(Exit::SUCCESS)
    })
}

/// What is printed.
async fn listing(client: &mut Client, args: &Args) -> anyhow::Result<String> {
    Ok(match (args.clients, args.json) {
        (false, false) => table(&client.list().await?),
        (false, true) => {
            let sessions = client.list().await?;
            let latest = latest(&sessions);
            let all = sessions.iter().enumerate().map(|(at, info)| as_json(info, Some(at) == latest));
            Value::Array(all.collect()).to_string() + "\n"
        }
        (true, is_json) => {
            let stats = client.stats().await?;
            let attached = attached(&stats);
            if is_json {
                let all = attached.iter().map(|(client, session)| client_as_json(client, session));
                Value::Array(all.collect()).to_string() + "\n"
            } else {
                client_table(&attached)
            }
        }
    })
}

/// Lists again whenever something happens, by one server after another.
async fn watch(common: &Globals, mut client: Client, args: &Args) -> anyhow::Result<Exit> {
    let mut backoff = Backoff::default();
    loop {
        let begun = Instant::now();
        match watch_server(&mut client, args).await {
            Err(error) if matches!(error.downcast_ref(), Some(ClientError::Lost)) => {
                backoff.lost(begun.elapsed(), false);
                client =
                    common.reconnect(&mut backoff).await.map_err(|why| error.context(why.to_string()))?;
            }
            ended => return ended,
        }
    }
}

/// Lists again whenever something happens; at a terminal also as time passes.
async fn watch_server(client: &mut Client, args: &Args) -> anyhow::Result<Exit> {
    client.listen().await?;
    let in_place = io::stdout().is_terminal() && !args.json;
    let mut ticks = interval(REFRESH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        let listing = listing(client, args).await?;
        // Home, the table with the rest of each line cleared, and what is below it.
        let drawn = format!("\x1b[H{}\x1b[J", listing.replace('\n', "\x1b[K\n"));
        if !print_while_read(if in_place { &drawn } else { &listing })? {
            return Ok(Exit::SUCCESS);
        }
        loop {
            let happened = tokio::select! {
                incoming = client.next() => matches!(incoming?, Incoming::Event(Event::Session(_) | Event::Lost(_))),
                _ = ticks.tick(), if in_place => true,
            };
            if happened {
                break;
            }
        }
    }
}

/// The one used last.
fn latest(sessions: &[SessionInfo]) -> Option<usize> {
    let live = sessions.iter().enumerate().filter(|(_, info)| info.state.is_live());
    live.filter(|(_, info)| info.used_ms.is_some()).min_by_key(|(_, info)| info.used_ms).map(|(at, _)| at)
}

fn as_json(info: &SessionInfo, is_latest: bool) -> Value {
    let (lost, silent) = match info.state {
        SessionState::Provided { provider: ProviderState::Lost { seconds } } => (Some(seconds), None),
        SessionState::Provided { provider: ProviderState::Silent { seconds } } => (None, Some(seconds)),
        _ => (None, None),
    };
    let (pid, ended) = match info.state {
        SessionState::Running { pid } => (pid, None),
        SessionState::Provided { .. } => (None, None),
        SessionState::Ended(status) => (None, Some(status.as_exit_code())),
    };
    json!({
        "name": info.name.as_str(),
        "id": info.id.to_string(),
        "command": info.command,
        "running": ended.is_none(),
        "provided": matches!(info.state, SessionState::Provided { .. }),
        "provider_lost_seconds": lost,
        "silent_seconds": silent,
        "pid": pid,
        "exit_code": ended,
        "clients": info.clients,
        "latest_client": info.latest.map(|client| client.0),
        "used_last": is_latest,
        "size": info.size.to_string(),
        "title": info.title,
        "printed_bytes": info.printed,
        "output_held": info.is_held,
        "unseen_bytes": info.unseen,
        "bell": info.bell,
        "idle_seconds": info.idle_seconds,
        "age_seconds": info.age_seconds,
        "ended_seconds": info.ended_seconds,
    })
}

fn table(sessions: &[SessionInfo]) -> String {
    let mut table =
        super::table(["NAME", "CLIENTS", "STATE", "SIZE", "NEW", "IDLE", "AGE", "TITLE", "COMMAND"]);
    let latest = latest(sessions);
    for (at, info) in sessions.iter().enumerate() {
        let state = match info.state {
            SessionState::Running { pid: Some(pid) } => format!("running, pid {pid}"),
            SessionState::Running { pid: None } => "running".to_owned(),
            SessionState::Provided { provider } => match provider {
                ProviderState::Lost { seconds } => format!("provider lost {} ago", time::age(seconds)),
                ProviderState::Silent { seconds } => format!("provided, silent for {}", time::age(seconds)),
                _ => "provided".to_owned(),
            },
            SessionState::Ended(status) if info.is_held => status.to_string(),
            SessionState::Ended(status) => format!("{status}, output gone"),
        };
        let age = match info.ended_seconds {
            Some(ended) => {
                format!("ran {}, ended {} ago", time::age(info.age_seconds - ended), time::age(ended))
            }
            None => time::age(info.age_seconds),
        };
        let new = match (info.unseen, info.bell) {
            (0, _) => "-".to_owned(),
            (bytes, false) => about(bytes),
            (bytes, true) => format!("{}, bell", about(bytes)),
        };
        let idle = if info.ended_seconds.is_some() { "-".to_owned() } else { time::age(info.idle_seconds) };
        table.add_row([
            format!("{}{}", info.name, if Some(at) == latest { " *" } else { "" }),
            info.clients.to_string(),
            state,
            info.size.to_string(),
            new,
            idle,
            age,
            info.title.clone().unwrap_or_else(|| "-".to_owned()),
            info.command.clone(),
        ]);
    }
    table.trim_fmt() + "\n"
}

/// Those that watch a session, and its name.
fn attached(stats: &ServerStats) -> Vec<(&ClientStats, &str)> {
    let session = |client: &ClientStats| {
        let session = stats.sessions.iter().find(|session| Some(session.session) == client.session)?;
        Some(session.name.as_str())
    };
    stats.clients.iter().filter_map(|client| Some((client, session(client)?))).collect()
}

/// The terminal of a client, which is this user's: as the system tells of its standard input.
fn terminal_of(client: &ClientStats) -> Option<String> {
    let input = fs::read_link(format!("/proc/{}/fd/0", client.pid?)).ok()?;
    let name = input.to_str()?.strip_prefix("/dev/")?.to_owned();
    Some(name).filter(|name| name.starts_with("pts/") || name.starts_with("tty"))
}

fn access(client: &ClientStats) -> &'static str {
    match client.access {
        Access::ReadWrite => "read-write",
        Access::ReadOnly => "read-only",
    }
}

fn client_as_json(client: &ClientStats, session: &str) -> Value {
    json!({
        "client": client.client.0,
        "session": session,
        "pid": client.pid,
        "tty": terminal_of(client),
        "size": client.size.map(|size| size.to_string()),
        "access": access(client),
        "attached_seconds": client.attached_seconds,
    })
}

fn client_table(clients: &[(&ClientStats, &str)]) -> String {
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let mut table = super::table(["CLIENT", "SESSION", "PID", "TTY", "SIZE", "ACCESS", "ATTACHED"]);
    for (client, session) in clients {
        table.add_row([
            client.client.0.to_string(),
            (*session).to_owned(),
            or_none(client.pid.map(|pid| pid.to_string())),
            or_none(terminal_of(client)),
            or_none(client.size.map(|size| size.to_string())),
            access(client).to_owned(),
            or_none(client.attached_seconds.map(time::age)),
        ]);
    }
    table.trim_fmt() + "\n"
}
